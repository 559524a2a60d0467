"""However the launcher ends, nothing of the demo keeps running, and the data is there at the next start."""

import signal

import psutil
import pytest
import requests

from support.demo import RunningDemo
from support.octoprint import wait_for


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("ended")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name
)
def test_no_process_is_left(state, number):
    demo = RunningDemo(state)
    demo.start()
    processes = demo.processes()
    names = demo.command_lines()
    assert all(part in names for part in ("anvil", "gunicorn", "app.desk", "worker", "octoprint"))
    contract = demo.facts["contract"]
    code = requests.post(
        demo.facts["chain"],
        json={"jsonrpc": "2.0", "id": 1, "method": "eth_getCode", "params": [contract, "latest"]},
        timeout=10,
    ).json()["result"]
    assert len(code) > 100

    demo.signal(number)
    _gone, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive

    known = state / "contract"
    if known.exists():
        assert known.read_text() == contract, "the second start deployed the contract again"
    known.write_text(contract)


def test_killed_during_set_up_leaves_nothing(state):
    demo = RunningDemo(state)
    demo.begin()
    wait_for("Brownie works", lambda: "brownie_cli" in demo.command_lines(), 60)
    processes = demo.processes()
    demo.signal(signal.SIGKILL)
    _gone, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
