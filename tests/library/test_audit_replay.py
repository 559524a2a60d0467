"""Replaying any honest history finds nothing and gives the state; what the contracts can't do is found.

Honest histories come from the contracts' readable twin (`tests/reference`), which is tested against the real
contracts.
"""

from collections import Counter
from random import Random
from typing import Any

import pytest
from audited.history import ARGUMENTS, FILES, FLAGS, IDS, WALLETS, History, state_of, with_devices
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.licenses import TRUSTED_DEVICE

from imprimatur.audit import Replay, checks
from imprimatur.audit.pinned import PinnedRpc
from imprimatur.chain.rpc import Rpc
from imprimatur.license_id import format_id

WEIGHTED = [*ARGUMENTS, *["use"] * 14, *["fail"] * 8, "grant", "transfer"]
SEEDS = st.integers(0, 2**32)


def history_of(seed: int) -> History:
    """A history of 30 to 60 operations, most of which aren't refused."""
    random, history = Random(seed), with_devices()
    for id in IDS:
        terms = random.randint(2, 5), random.choice((0, 0, 90)), random.choice(FLAGS), random.randint(0, 4)
        history.do(1, "issue", id, random.choice(WALLETS), *terms)
    for _ in range(random.randint(30, 60)):
        kind = random.choice(WEIGHTED)
        history.do(random.randint(0, 3), kind, *ARGUMENTS[kind](random))
    return history


def replay_of(rows):
    replay = Replay()
    for row in rows:
        replay.apply(row)
    replay.finish()
    return replay


def replayed_state(replay):
    return {
        id: (
            license.printer,
            int(license.flags),
            license.used,
            license.remaining,
            license.failed,
            license.window,
        )
        for id, license in replay.licenses.items()
    }


@settings(max_examples=250, deadline=None)
@given(SEEDS)
def test_an_honest_history_has_no_contradiction_and_gives_the_state(seed):
    history = history_of(seed)
    replay = replay_of(history.rows)
    assert replay.contradictions == []
    assert replayed_state(replay) == state_of(history)
    remaining = {format_id(id): license.remaining for id, license in history.licenses.licenses.items()}
    assert checks.unbalanced(replay.licenses.values(), remaining) == []
    assert checks.conservation(replay.licenses.values(), remaining).holds
    assert replay.parties.wallets == history.devices.wallets


def test_the_histories_hold_what_they_are_about():
    """Else the property above says little."""
    seen: Counter[str] = Counter()
    for seed in range(100):
        history = history_of(seed)
        seen.update(row.name for row in history.rows)
        for license in history.licenses.licenses.values():
            seen["trusted print"] += bool(license.flags & TRUSTED_DEVICE and license.used)
            seen["lost"] += license.lost
            seen["sold in between"] += license.closed_up_to > 0
    assert {name: seen[name] for name in (*COUNTED, *OTHERS) if seen[name] < 20} == {}
    assert seen["LicenseUsed"] > 300
    assert seen["lost"] > 3


OTHERS = ("FileApproved", "SerialRegistered", "DeviceUnbound", "trusted print", "sold in between")
COUNTED = {
    "LicenseIssued",
    "LicenseUsed",
    "PrintFailed",
    "CopiesGranted",
    "LicenseRevoked",
    "LicenseTransferred",
    "TransferSingle",
}


@settings(max_examples=250, deadline=None)
@given(SEEDS)
def test_no_event_that_counts_can_be_left_out(seed):
    """By the rules, or because the state differs from the contract's."""
    history = history_of(seed)
    place = Random(seed).choice([i for i, row in enumerate(history.rows) if row.name in COUNTED])
    row = history.rows[place]
    if row.name == "TransferSingle" and not changes_anything(row):
        return
    replay = replay_of([*history.rows[:place], *history.rows[place + 1 :]])
    remaining = {format_id(id): license.remaining for id, license in history.licenses.licenses.items()}
    assert (
        replay.contradictions
        or replayed_state(replay) != state_of(history)
        or checks.unbalanced(replay.licenses.values(), remaining)
    )


def changes_anything(row):
    """Not a transfer of nothing, or to oneself."""
    values = row.values
    return int(values["value"], 16) > 0 and values["from"] != values["to"]


@pytest.mark.parametrize("name", ["PrintLogged", "SerialRegistered"])
def test_a_serial_belongs_to_its_print(name):
    history = History()
    history.do(1, "issue", IDS[0], WALLETS[0], 3, 0, 0, 0)
    history.do(1, "use", IDS[0], 0, FILES[0], True)
    rows = [row for row in history.rows if row.name != "LicenseUsed"]
    assert "serial-alone" in {found.kind for found in replay_of(rows).contradictions}
    alone = [row for row in history.rows if row.name == name]
    assert "serial-alone" in {found.kind for found in replay_of(alone).contradictions}


def test_one_gap_is_one_contradiction():
    """A missing copy isn't told again at every later one."""
    history = History()
    history.do(1, "issue", IDS[0], WALLETS[0], 4, 0, 0, 0)
    for _ in range(4):
        history.do(1, "use", IDS[0], 0, FILES[0], False)
    rows = [row for row in history.rows if row.block_number != 3]
    (gap,) = replay_of(rows).contradictions
    assert (gap.kind, gap.block) == ("copy-gap", 4)
    assert "copy 3 was consumed where copy 2 comes next" in gap.message


def test_a_contract_that_counts_otherwise_is_found():
    history = History()
    history.do(1, "issue", IDS[0], WALLETS[0], 4, 0, 0, 0)
    id = format_id(IDS[0])
    licenses = replay_of(history.rows).licenses
    assert checks.unbalanced(licenses.values(), {id: 4}) == []
    (found,) = checks.unbalanced(licenses.values(), {id: 5})
    assert (found.kind, found.license) == ("conservation", id)
    assert not checks.conservation(licenses.values(), {id: 5}).holds


class Recorder(Rpc):
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def call(self, method: str, params: list[Any]) -> Any:
        self.asked.append((method, params))


def test_a_pinned_chain_ends_where_it_was_pinned():
    recorder = Recorder()
    pinned = PinnedRpc(recorder, 20)
    pinned.call("eth_getBlockByNumber", ["latest", False])
    pinned.batch([("eth_getLogs", [{"toBlock": "latest", "fromBlock": "0x1"}]), ("eth_chainId", [])])
    assert recorder.asked == [
        ("eth_getBlockByNumber", ["0x14", False]),
        ("eth_getLogs", [{"toBlock": "0x14", "fromBlock": "0x1"}]),
        ("eth_chainId", []),
    ]
