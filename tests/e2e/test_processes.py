"""However the launcher ends, nothing of the demo keeps running, and the data is there at the next start.

That SIGTERM and SIGHUP do what SIGINT does is shown in tests/unit/test_launcher.py, without a demo. A whole
start takes long: after the first, the next two are ended while they set up, when the chain is there already.
The one after those is the session's demo, which ends with SIGINT.
"""

import re
import signal

import pytest
import requests

from support.demo import RunningDemo
from support.octoprint import wait_for


def test_killed_it_leaves_no_process(state):
    demo = RunningDemo(state)
    demo.start()
    names = demo.command_lines()
    assert all(part in names for part in ("anvil", "gunicorn", "app.desk", "worker", "octoprint"))
    contract = demo.facts["contract"]
    assert has_code(demo.facts["chain"], contract)
    (state / "contract").write_text(contract)
    demo.end(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_ended_during_set_up_it_leaves_no_process(state, number):
    demo = RunningDemo(state)
    demo.begin()
    wait_for("Brownie works", lambda: "brownie_cli" in demo.command_lines(), 60)
    (port,) = set(re.findall(r"anvil\b.* --port (\d+)", demo.command_lines()))
    assert has_code(f"http://127.0.0.1:{port}", (state / "contract").read_text())
    demo.end(number)


def test_everything_is_there_after_all_of_that(demo):
    contract = demo.facts["contract"]
    assert contract == (demo.state / "contract").read_text(), "a later start deployed the contract again"
    assert has_code(demo.facts["chain"], contract)


def has_code(chain, contract):
    """Whether the chain knows the contract."""
    code = requests.post(
        chain,
        json={"jsonrpc": "2.0", "id": 1, "method": "eth_getCode", "params": [contract, "latest"]},
        timeout=10,
    ).json()["result"]
    return len(code) > 100
