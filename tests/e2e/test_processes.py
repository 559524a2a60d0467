"""However the launcher ends, nothing of the demo keeps running, and the data is there at the next start.

That SIGTERM and SIGHUP do what SIGINT does is shown in tests/unit/test_launcher.py, without a demo. The
session's demo is the next start of the one that was ended here, and ends with SIGTERM itself.
"""

import signal

import psutil
import pytest
import requests

from support.demo import RunningDemo
from support.octoprint import wait_for


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_no_process_is_left(state, number):
    demo = RunningDemo(state)
    demo.start()
    processes = demo.processes()
    names = demo.command_lines()
    assert all(part in names for part in ("anvil", "gunicorn", "app.desk", "worker", "octoprint"))
    is_the_deployed_one(demo)

    demo.signal(number)
    _gone, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


def test_killed_during_set_up_leaves_nothing(state):
    demo = RunningDemo(state)
    demo.begin()
    wait_for("Brownie works", lambda: "brownie_cli" in demo.command_lines(), 60)
    processes = demo.processes()
    demo.signal(signal.SIGKILL)
    _gone, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive


def test_everything_is_there_after_all_of_that(demo):
    is_the_deployed_one(demo)


def is_the_deployed_one(demo):
    """The contract has code, and it is the one that the first start deployed."""
    contract = demo.facts["contract"]
    code = requests.post(
        demo.facts["chain"],
        json={"jsonrpc": "2.0", "id": 1, "method": "eth_getCode", "params": [contract, "latest"]},
        timeout=10,
    ).json()["result"]
    assert len(code) > 100
    known = demo.state / "contract"
    if known.exists():
        assert known.read_text() == contract, "a later start deployed the contract again"
    known.write_text(contract)
