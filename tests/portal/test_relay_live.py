"""The relay on a real node: batches, neighbours, strangers, races, reorganisations."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from portal.relay_stage import FILE, RelayStage
from sqlalchemy.orm import sessionmaker

from app.models import Base, Intent, IntentState
from app.services import relay_batches, relay_simulation
from app.services.outbox import Limits
from app.services.relay_limits import RelayLimits
from imprimatur.chain.outbox import Confirmations
from imprimatur.chain.print_license import Right
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Signed, Use
from support.node import Chain

DONE = ("done", None)


@pytest.fixture(params=["sqlite"])
def stage(
    request: pytest.FixtureRequest, anvil: Chain, tmp_path: Path, template_database: bytes
) -> Iterator[RelayStage]:
    (tmp_path / "portal.db").write_bytes(template_database)
    url = f"sqlite:///{tmp_path / 'portal.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    engine = sa.create_engine(url)
    if request.param == "postgresql":
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
    yield RelayStage(anvil, sessionmaker(engine, expire_on_commit=False), anvil.account(), anvil.account())
    engine.dispose()


@pytest.fixture
def still(stage: RelayStage) -> Iterator[RelayStage]:
    """A node that mines when it is told to."""
    stage.chain.rpc.call("evm_setAutomine", [False])
    yield stage
    stage.chain.rpc.call("evm_setAutomine", [True])
    mine(stage)


def mine(stage: RelayStage, blocks: int = 1) -> None:
    for _ in range(blocks):
        stage.chain.rpc.call("evm_mine", [])


def pending(stage: RelayStage) -> int:
    return int(stage.chain.rpc.call("txpool_status", [])["pending"], 16)


def on_chain(stage: RelayStage, signed: Signed[Use]) -> list[str]:
    """Transactions whose event is this use's own."""
    message = signed.message
    return [
        event.transaction_hash
        for event in stage.chain.licenses.events("LicenseUsed", id=message.id)
        if (event.values["copy"], event.values["keyRecipient"]) == (message.copy, message.key_recipient)
    ]


def fresh(stage: RelayStage, count: int) -> list[tuple[KeySigner, Signed[Use]]]:
    """Devices with a use of a license of their own each."""
    devices = [stage.chain.account() for _ in range(count)]
    return [(device, stage.use(device, stage.license(device.address))) for device in devices]


# --- batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["sqlite", "postgresql"], indirect=True)
def test_many_uses_are_one_transaction(stage: RelayStage) -> None:
    uses = fresh(stage, 5)
    for device, signed in uses:
        stage.send(device, signed)
    stage.settle()
    assert stage.states() == [DONE] * 5
    (intent,) = stage.intents()
    assert intent.key.startswith("uses:")
    for number, (_, signed) in enumerate(uses, 1):
        assert on_chain(stage, signed) == [intent.transaction_hash]
        entry = stage.entry(number)
        assert (entry.transaction_hash, entry.block_number) == (intent.transaction_hash, intent.block_number)


def test_failures_are_carried_too(stage: RelayStage) -> None:
    device, other = stage.chain.account(), stage.chain.account()
    ids = [stage.license(d.address, failures_allowed=1) for d in (device, other)]
    for sender, id in zip((device, other), ids, strict=True):
        stage.send(sender, stage.use(sender, id))
    stage.settle()
    for sender, id in zip((device, other), ids, strict=True):
        stage.send(sender, stage.failure(sender, id))
    stage.settle()
    assert stage.states() == [DONE] * 4
    assert [intent.key.partition(":")[0] for intent in stage.intents()] == ["uses", "failures"]
    for id in ids:
        license = stage.chain.licenses.license_of(id)
        assert license is not None
        assert (license.failed, license.remaining) == (1, 4)


def test_orders_and_batches_share_an_outbox(stage: RelayStage) -> None:
    """And an outbox whose intents have keys of nobody's is no trouble either."""
    until = int(time.time()) + 86_400
    stage.chain.send(
        stage.owner,
        stage.chain.licenses.set_operator_call(
            stage.owner.address, stage.operator.address, Right.ISSUE, until
        ),
    )
    ((device, signed),) = fresh(stage, 1)
    stage.send(device, signed)
    with stage.sessions.begin() as session:
        session.add(Intent(key="other:1", to=device.address, data="0x", value="1"))
    stage.settle()
    assert stage.states() == [DONE]
    with stage.sessions() as session:
        states = {intent.key.partition(":")[0]: intent.state for intent in session.scalars(sa.select(Intent))}
    assert (states["uses"], states["other"]) == (IntentState.DONE, IntentState.DONE)


def test_a_batch_has_so_many_entries(stage: RelayStage) -> None:
    stage.options = RelayLimits(batch=2, gather=0)
    stage.restart()
    for device, signed in fresh(stage, 5):
        stage.send(device, signed)
    stage.settle()
    assert stage.states() == [DONE] * 5
    assert len(stage.intents()) == 3


def test_a_batch_never_needs_more_gas_than_half_a_block(
    stage: RelayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as fit, what was reserved isn't exceeded, and the rest goes in the next."""
    for device, signed in fresh(stage, 5):
        stage.send(device, signed)
    entry, empty = relay_simulation.ENTRY_GAS, relay_batches.BATCH_GAS
    real = relay_simulation.head
    small = 2 * (empty + 2 * entry) + 1

    def head(*arguments: Any) -> Any:
        return replace(real(*arguments), gas_limit=small)

    monkeypatch.setattr(relay_simulation, "head", head)
    stage.settle()
    assert stage.states() == [DONE] * 5
    gas = [intent.gas for intent in stage.intents()]
    assert gas == [empty + 2 * entry, empty + 2 * entry, empty + entry]


def test_the_dearest_entries_have_gas_enough(stage: RelayStage) -> None:
    """A bound device, eight attestors of whom the last one counts, another file that was approved."""
    wallet, device = stage.chain.account(), stage.chain.account()
    stage.chain.bind(wallet, device)
    devices, licenses = stage.chain.devices, stage.chain.licenses
    for _ in range(8):
        attestor = stage.chain.account()
        stage.chain.send(attestor, devices.attest_call(device.address, b"\x01" * 32), devices)
        stage.chain.send(device, devices.present_attestor_call(device.address, attestor.address), devices)
    stage.chain.send(stage.owner, devices.accept_attestor_call(attestor.address), devices)
    id = stage.license(wallet.address, flags=4)
    stage.chain.send(stage.owner, licenses.approve_file_call(id, "cd" * 32, bytes(32)))
    stage.send(device, stage.use(device, id, file_hash="cd" * 32))
    stage.settle()
    assert stage.states() == [DONE]
    (intent,) = stage.intents()
    receipt = stage.chain.rpc.call("eth_getTransactionReceipt", [intent.transaction_hash])
    reserved = relay_batches.BATCH_GAS + relay_simulation.ENTRY_GAS + relay_simulation.TRUSTED_GAS
    assert intent.gas == reserved
    assert int(receipt["gasUsed"], 16) < reserved


def test_nothing_is_asked_when_nothing_waits(stage: RelayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    for device, signed in fresh(stage, 2):
        stage.send(device, signed)
    stage.settle()
    asked: list[Any] = []
    node = stage.chain.licenses.rpc
    monkeypatch.setattr(node, "call", lambda *call: asked.append(call))
    monkeypatch.setattr(node, "batch", lambda calls: asked.append(calls))
    assert stage.batches.step() == 0
    assert asked == []


def test_a_lone_use_goes_at_once_and_others_gather(stage: RelayStage) -> None:
    """Those that come soon after share the next transaction; they wait for a moment, or until it is full."""
    moment = [time.time()]
    stage.options = RelayLimits(gather=0.4, batch=3)
    stage.restart()
    stage.batches._clock = lambda: moment[0]
    uses = fresh(stage, 6)
    stage.send(*uses[0])
    assert stage.batches.step() == 1
    for signed in uses[1:3]:
        stage.send(*signed)
        assert stage.batches.step() == 0
    moment[0] += 0.4
    assert stage.batches.step() == 2
    for signed in uses[3:]:
        assert stage.batches.step() == 0
        stage.send(*signed)
    assert stage.batches.step() == 3
    assert len(stage.intents()) == 3


def fresh_while_still(stage: RelayStage, count: int) -> list[tuple[KeySigner, Signed[Use]]]:
    stage.chain.rpc.call("evm_setAutomine", [True])
    uses = fresh(stage, count)
    stage.chain.rpc.call("evm_setAutomine", [False])
    return uses


# --- a bad entry never harms its neighbours ------------------------------------------------------------


def expire(stage: RelayStage, device: KeySigner, signed: Signed[Use]) -> tuple[KeySigner, Signed[Use]]:
    id = signed.message.id
    return device, stage.use(device, id, deadline=int(time.time()) - 5)


def wrong_copy(stage: RelayStage, device: KeySigner, signed: Signed[Use]) -> tuple[KeySigner, Signed[Use]]:
    return device, stage.use(device, signed.message.id, copy=2)


def wrong_signature(
    stage: RelayStage, device: KeySigner, signed: Signed[Use]
) -> tuple[KeySigner, Signed[Use]]:
    return device, stage.use(stage.chain.account(), signed.message.id)


def broken_signature(
    stage: RelayStage, device: KeySigner, signed: Signed[Use]
) -> tuple[KeySigner, Signed[Use]]:
    return device, Signed(signed.message, replace(signed.signature, vs=b"\x7f" + b"\xff" * 31))


def other_file(stage: RelayStage, device: KeySigner, signed: Signed[Use]) -> tuple[KeySigner, Signed[Use]]:
    return device, stage.use(device, signed.message.id, file_hash="cd" * 32)


def revoked(stage: RelayStage, device: KeySigner, signed: Signed[Use]) -> tuple[KeySigner, Signed[Use]]:
    stage.chain.send(stage.owner, stage.chain.licenses.revoke_call(signed.message.id))
    return device, signed


def unbound(stage: RelayStage, device: KeySigner, signed: Signed[Use]) -> tuple[KeySigner, Signed[Use]]:
    stranger = stage.chain.account()
    return stranger, stage.use(stranger, signed.message.id)


Spoil = Callable[[RelayStage, KeySigner, Signed[Use]], tuple[KeySigner, Signed[Use]]]
CASES: list[tuple[Spoil, str]] = [
    (expire, "SignatureExpired"),
    (wrong_copy, "CopyOutOfOrder"),
    (wrong_signature, "NotThePrinter"),
    (broken_signature, "InvalidSignature"),
    (other_file, "FileHashMismatch"),
    (revoked, "LicenseIsRevoked"),
    (unbound, "NotThePrinter"),
]


def with_bad_ones(stage: RelayStage) -> tuple[list[Signed[Use]], list[tuple[str, str | None]]]:
    """Good entries with a bad one of every kind between them; and how they should end."""
    good: list[Signed[Use]] = []
    ends: list[tuple[str, str | None]] = []
    for spoil, reason in CASES:
        ((device, signed),) = fresh(stage, 1)
        stage.send(device, signed)
        good.append(signed)
        other = stage.chain.account()
        use = stage.use(other, stage.license(other.address, flags=2))
        stage.slip_in(*spoil(stage, other, use))
        ends += [DONE, ("refused", reason)]
    return good, ends


def test_bad_entries_are_left_out(stage: RelayStage) -> None:
    good, ends = with_bad_ones(stage)
    stage.settle()
    assert stage.states() == ends
    (intent,) = [i for i in stage.intents() if any(on_chain(stage, g) == [i.transaction_hash] for g in good)]
    assert all(on_chain(stage, signed) == [intent.transaction_hash] for signed in good)


def test_bad_entries_that_no_simulation_found(stage: RelayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world changed between simulation and block: the contract skips them, and says why."""
    good, ends = with_bad_ones(stage)

    def all_well(_licenses: object, messages: Sequence[object]) -> list[relay_simulation.Forecast]:
        return [relay_simulation.Forecast(None) for _ in messages]

    monkeypatch.setattr(relay_simulation, "forecasts", all_well)
    monkeypatch.setattr(stage.batches, "_clock", lambda: 0.0)
    real = relay_simulation.head
    monkeypatch.setattr(relay_simulation, "head", lambda *a: replace(real(*a), timestamp=0))
    stage.settle()
    assert stage.states() == ends
    (intent,) = stage.intents()
    assert all(on_chain(stage, signed) == [intent.transaction_hash] for signed in good)


class TightNode(Rpc):
    """Estimates nothing that holds more than so many bytes: a node with a small cap on gas."""

    def __init__(self, rpc: Rpc, most: int) -> None:
        self._rpc = rpc
        self._most = most
        self.refused = 0

    def call(self, method: str, params: list[Any]) -> Any:
        if method == "eth_estimateGas" and len(params[0]["data"]) > self._most:
            self.refused += 1
            raise NodeRefused(-32000, "gas required exceeds allowance (1000000)")
        return self._rpc.call(method, params)


def test_a_batch_that_runs_out_of_gas_is_split(stage: RelayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fails for the others' sake: halves are tried, with the node's own estimate."""
    uses = fresh(stage, 4)
    for device, signed in uses:
        stage.send(device, signed)
    monkeypatch.setattr(relay_simulation, "ENTRY_GAS", 8_000)
    monkeypatch.setattr(relay_simulation.Forecast.__init__, "__defaults__", (8_000,))
    stage.settle()
    assert stage.states() == [DONE] * 4
    intents = stage.intents()
    assert [(i.state, i.reason) for i in intents] == [
        (IntentState.FAILED, "reverted"),
        (IntentState.DONE, None),
        (IntentState.DONE, None),
    ]
    assert {tuple(on_chain(stage, signed)) for _, signed in uses} == {
        (i.transaction_hash,) for i in intents[1:]
    }


def test_a_batch_that_no_node_takes_is_split_to_the_last(stage: RelayStage) -> None:
    uses = fresh(stage, 3)
    for device, signed in uses:
        stage.send(device, signed)
    assert stage.batches.step() == 3
    with stage.sessions.begin() as session:
        session.execute(sa.update(Intent).where(Intent.key.startswith("uses:")).values(gas=None))
    node = stage.chain.licenses.rpc
    single = len(stage.chain.licenses.use_licenses_signed_call([uses[0][1]]))
    tight = TightNode(node, single)
    stage.chain.licenses.rpc = tight
    try:
        stage.restart()
        stage.settle()
        assert stage.states() == [DONE] * 3
        assert tight.refused
        assert sorted(i.state for i in stage.intents()) == ["done"] * 3 + ["failed"] * 2
        tight._most = 0
        device, signed = fresh(stage, 1)[0]
        stage.send(device, signed)
        stage.batches.step()
        with stage.sessions.begin() as session:
            session.execute(sa.update(Intent).where(Intent.state == IntentState.QUEUED).values(gas=None))
        stage.settle()
        assert stage.states()[-1] == ("refused", "Reverted")
    finally:
        stage.chain.licenses.rpc = node


class MuteNode(Rpc):
    """Says that a call reverts, and never why."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def call(self, method: str, params: list[Any]) -> Any:
        try:
            return self._rpc.call(method, params)
        except NodeRefused:
            raise NodeRefused(3, "execution reverted") from None


def test_a_node_that_gives_no_reasons(stage: RelayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [stage.chain.account() for _ in range(2)]
    ids = [stage.license(device.address, failures_allowed=1) for device in devices]
    stage.chain.send(devices[1], stage.chain.licenses.use_license_call(ids[1], FILE))
    for device, id in zip(devices, ids, strict=True):
        stage.slip_in(device, stage.failure(device, id))
    monkeypatch.setattr(stage.chain.licenses, "rpc", MuteNode(stage.chain.licenses.rpc))
    stage.settle()
    assert stage.states() == [("refused", "Reverted"), DONE]


# --- anybody may submit --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
def test_a_stranger_submits_the_same_bytes(still: RelayStage, when: str) -> None:
    """One consumption, whoever's transaction it is in; the entry ends done with that one."""
    (first, second) = fresh_while_still(still, 2)
    stranger = still.chain.account()
    call = still.chain.licenses.use_licenses_signed_call([first[1]])

    def submit(tip: int) -> str:
        fees = {"maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(tip)}
        still.chain.rpc.call("anvil_impersonateAccount", [stranger.address])
        order = {"from": stranger.address, "to": still.chain.licenses.address, "data": call, **fees}
        return str(still.chain.rpc.call("eth_sendTransaction", [{**order, "gas": hex(300_000)}]))

    still.send(*first)
    still.send(*second)
    stranger_hash = ""
    if when == "before":
        stranger_hash = submit(10**9)
        mine(still)
    assert still.batches.step() == 2
    still.outbox.step()
    if when == "meanwhile":
        stranger_hash = submit(5 * 10**10)
        assert pending(still) == 2
    mine(still)
    if when == "after":
        submit(10**9)
        mine(still)
    still.settle()
    assert still.states() == [DONE, DONE]
    (intent,) = still.intents()
    ours = on_chain(still, second[1])
    assert ours == [intent.transaction_hash]
    expected = intent.transaction_hash if when == "after" else stranger_hash
    assert on_chain(still, first[1]) == [expected]
    assert still.entry(1).transaction_hash == expected
    receipt = still.chain.rpc.call("eth_getTransactionReceipt", [expected])
    assert still.entry(1).block_number == int(receipt["blockNumber"], 16)


def test_a_strangers_event_counts_when_it_is_final(stage: RelayStage) -> None:
    stage.limits = Limits(finality=Confirmations(3))
    stage.restart()
    ((device, signed),) = fresh(stage, 1)
    stage.send(device, signed)
    receipt = stage.chain.send(stage.chain.account(), stage.chain.licenses.use_licenses_signed_call([signed]))
    moment = [time.time()]
    stage.batches._clock = lambda: moment[0]
    for blocks in (0, 1, 1):
        mine(stage, blocks)
        moment[0] += relay_batches.LOOK_AGAIN
        assert stage.batches.step() == 0
        assert stage.states() == [("waiting", None)]
    mine(stage)
    moment[0] += relay_batches.LOOK_AGAIN
    assert stage.batches.step() == 1
    assert stage.entry(1).transaction_hash == receipt["transactionHash"]
    assert stage.states() == [DONE]
    assert stage.intents() == []


# --- races ---------------------------------------------------------------------------------------------


def test_two_devices_race_for_a_copy(stage: RelayStage) -> None:
    """One gets it; the other is told, has lost nothing, and takes the next copy."""
    wallet, one, two = (stage.chain.account() for _ in range(3))
    for device in (one, two):
        stage.chain.bind(wallet, device)
    id = stage.license(wallet.address)
    stage.send(one, stage.use(one, id))
    stage.send(two, stage.use(two, id))
    stage.settle()
    assert stage.states() == [DONE, ("refused", "CopyOutOfOrder")]
    assert stage.uses_of(id) == [(1, one.address)]
    stage.send(two, stage.use(two, id, copy=2))
    stage.settle()
    assert stage.uses_of(id) == [(1, one.address), (2, two.address)]


def test_copies_of_one_license_go_one_after_the_other(still: RelayStage) -> None:
    """The next copy's use isn't sent before the one before is in a block, but then at once."""
    ((device, first),) = fresh_while_still(still, 1)
    still.send(device, first)
    still.batches.step()
    still.outbox.step()
    still.slip_in(device, still.use(device, first.message.id, copy=2))
    assert still.batches.step() == 0
    mine(still)
    still.outbox.step()
    assert still.batches.step() == 1
    still.outbox.step()
    mine(still)
    still.settle()
    assert [copy for copy, _ in still.uses_of(first.message.id)] == [1, 2]


def test_two_workers_by_mistake(stage: RelayStage, monkeypatch: pytest.MonkeyPatch) -> None:
    for device, signed in fresh(stage, 2):
        stage.send(device, signed)
    other = relay_batches.RelayBatches(stage.sessions, stage.chain.licenses)
    real = relay_simulation.head
    calls: list[int] = []

    def head(*arguments: Any) -> Any:
        if not calls:
            calls.append(1)
            assert other.step() == 2
        return real(*arguments)

    monkeypatch.setattr(relay_simulation, "head", head)
    assert stage.batches.step() == 0
    assert len(stage.intents()) == 1
    stage.settle()
    assert stage.states() == [DONE, DONE]


def test_two_devices_report_the_same_copy(stage: RelayStage) -> None:
    wallet, one, two = (stage.chain.account() for _ in range(3))
    for device in (one, two):
        stage.chain.bind(wallet, device)
    id = stage.license(wallet.address, failures_allowed=2)
    stage.send(one, stage.use(one, id))
    stage.settle()
    stage.send(one, stage.failure(one, id, evidence=b"\x01" * 32))
    stage.send(two, stage.failure(two, id, evidence=b"\x02" * 32))
    stage.settle()
    assert stage.states()[1:] == [DONE, ("refused", "CopyNotRefundable")]


# --- chains that change their mind ---------------------------------------------------------------------


def test_a_refused_use_may_come_again(stage: RelayStage) -> None:
    """The block with the other device's use was replaced: the very same message does it now."""
    wallet, one, two = (stage.chain.account() for _ in range(3))
    for device in (one, two):
        stage.chain.bind(wallet, device)
    id = stage.license(wallet.address)
    own = stage.use(two, id)
    stage.send(two, own)
    before = stage.chain.rpc.call("evm_snapshot", [])
    stage.chain.send(
        stage.chain.account(), stage.chain.licenses.use_licenses_signed_call([stage.use(one, id)])
    )
    stage.settle()
    assert stage.states() == [("refused", "CopyOutOfOrder")]
    entry, new = stage.send(two, own)
    assert (entry.state, entry.reason, new) == ("refused", "CopyOutOfOrder", False)
    assert stage.chain.rpc.call("evm_revert", [before])
    entry, new = stage.send(two, own)
    assert (entry.state, entry.reason, new) == ("waiting", None, False)
    stage.settle()
    assert stage.states() == [DONE]
    assert stage.uses_of(id) == [(1, two.address)]


def test_a_batch_in_a_replaced_block(stage: RelayStage) -> None:
    """The same bytes again; entries aren't done before their block is final."""
    stage.limits = Limits(finality=Confirmations(2))
    stage.restart()
    uses = fresh(stage, 2)
    for device, signed in uses:
        stage.send(device, signed)
    stage.batches.step()
    before = stage.chain.rpc.call("evm_snapshot", [])
    for _ in range(3):
        stage.outbox.step()
    assert [state for state, _ in stage.states()] == ["sent", "sent"]
    assert stage.chain.rpc.call("evm_revert", [before])
    assert not any(on_chain(stage, signed) for _, signed in uses)
    mine(stage)
    stage.restart()
    for _ in range(4):
        stage.outbox.step()
        mine(stage)
    stage.settle()
    assert stage.states() == [DONE, DONE]
    (intent,) = stage.intents()
    assert all(on_chain(stage, signed) == [intent.transaction_hash] for _, signed in uses)


def test_a_chain_that_loses_a_final_batch(stage: RelayStage) -> None:
    """What was done is told again: one entry's license was revoked meanwhile, the others happen anew."""
    uses = fresh(stage, 2)
    device = stage.chain.account()
    fragile = stage.use(device, stage.license(device.address, flags=2))
    before = stage.chain.rpc.call("evm_snapshot", [])
    for sender, signed in [*uses, (device, fragile)]:
        stage.send(sender, signed)
    stage.settle()
    assert stage.states() == [DONE] * 3
    assert stage.chain.rpc.call("evm_revert", [before])
    stage.chain.send(stage.owner, stage.chain.licenses.revoke_call(fragile.message.id))
    stage.restart()  # It looks at the chain at once.
    stage.settle()
    assert stage.states() == [DONE, DONE, ("refused", "LicenseIsRevoked")]
    (intent,) = stage.intents()
    assert all(on_chain(stage, signed) == [intent.transaction_hash] for _, signed in uses)
    assert stage.entry(3).transaction_hash is None


def test_a_cancelled_batch_waits_again(stage: RelayStage) -> None:
    uses = fresh(stage, 2)
    for device, signed in uses:
        stage.send(device, signed)
    stage.batches.step()
    (intent,) = stage.intents()
    with stage.outbox._ledger.transactions() as store:
        stage.outbox.cancel(store, intent.key)
    assert stage.states() == [("waiting", None)] * 2
    stage.settle()
    assert stage.states() == [DONE] * 2
    assert [i.state for i in stage.intents()] == [IntentState.CANCELLED, IntentState.DONE]


def test_a_refusal_of_a_node_that_lags_is_not_believed(
    stage: RelayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((device, signed),) = fresh(stage, 1)
    stage.send(device, signed)
    moment = [time.time()]
    monkeypatch.setattr(stage.batches, "_clock", lambda: moment[0])
    rules = stage.batches._chain_rules()
    stage.batches._rules = replace(rules, refused_after=15.0)
    real = relay_simulation.forecasts
    refusals = [relay_simulation.Forecast("CopyOutOfOrder")]
    monkeypatch.setattr(relay_simulation, "forecasts", lambda *_: refusals)
    assert stage.batches.step() == 0
    moment[0] += 5
    assert stage.batches.step() == 0
    assert stage.states() == [("waiting", None)]
    monkeypatch.setattr(relay_simulation, "forecasts", real)
    moment[0] += 5
    assert stage.batches.step() == 1
    stage.settle()
    assert stage.states() == [DONE]


def test_the_worker_is_killed_between_any_two_steps(stage: RelayStage) -> None:
    """Every part forgets all that isn't committed; nothing is lost or doubled."""

    class Stop(Exception):
        pass

    for fatal in ("signed", "committed", "sent", "looked", "recorded"):
        uses = fresh(stage, 2)
        for device, signed in uses:
            stage.send(device, signed)

        def stop(name: str, fatal: str = fatal) -> None:
            if name == fatal:
                raise Stop

        stage.checkpoint = stop
        stage.restart()
        stage.batches.step()
        with pytest.raises(Stop):
            stage.settle()
        stage.checkpoint = lambda _name: None
        stage.restart()
        stage.settle()
        assert set(stage.states()) == {DONE}
        assert all(len(on_chain(stage, signed)) == 1 for _, signed in uses)
    assert len(stage.intents()) == 5


def test_what_a_node_wont_look_up_keeps_nobody_waiting(
    stage: RelayStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many nodes refuse to search all blocks, which only a refused message makes necessary."""
    (bad, (good, signed)) = fresh(stage, 2)
    stage.slip_in(*wrong_copy(stage, *bad))
    stage.send(good, signed)

    def refuse(*_: object) -> None:
        raise NodeRefused(-32005, "query exceeds max block range")

    monkeypatch.setattr(relay_simulation, "places", refuse)
    with pytest.raises(NodeRefused):
        stage.batches.step()
    assert stage.states() == [("waiting", None), ("sent", None)]
    assert stage.batches.step() == 0  # The other one waits a moment until it is looked up again.
    monkeypatch.undo()
    stage.settle()
    assert stage.states()[1] == DONE
