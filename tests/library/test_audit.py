"""The audit of a real chain: what it says of an honest one, and that nothing can be left out or changed."""

import dataclasses
import itertools
import json
import os
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa
from audited import world as worlds
from audited.lying_proxy import lying_node
from audited.world import EVIDENCE, FILE_HASH, OTHER_HASH
from sqlalchemy.orm import Session

from app.models import Base, Design, Intent, IntentState, License, User
from imprimatur import schemas
from imprimatur.audit import Replay, checks, files, portal, rebuild
from imprimatur.audit.portal import PortalUnreadable
from imprimatur.audit.rebuild import BlockUnknown, NothingToAudit, Rebuilt, newest_block, trusted_block
from imprimatur.audit.replayed_licenses import ReplayedLicenses
from imprimatur.audit.report import NO_PAYMENT, Report
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.events import Indexer, NodeLies, Source, SqliteEventStore
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable, Rpc
from imprimatur.license_id import owner_of
from imprimatur.manifest.document import Manifest
from imprimatur.manifest.signature import SignedManifest, sign_manifest
from support.node import deploy_contracts, running_chain
from support.postgres import running_postgres


@pytest.fixture(scope="module")
def world():
    with running_chain() as chain:
        yield worlds.build(chain)


@pytest.fixture(scope="module")
def head(world):
    return newest_block(world.chain.rpc, "latest")


@pytest.fixture(scope="module")
def rebuilt(world, head):
    return rebuild(world.chain.licenses, world.chain.devices, head)


@pytest.fixture(scope="module")
def comparison(world, rebuilt):
    return checks.compare(world.chain.licenses, world.chain.devices, rebuilt)


@pytest.fixture(scope="module")
def rows(world):
    """All events, in chain order."""
    licenses, devices = world.chain.licenses, world.chain.devices
    with closing(sqlite3.connect("")) as connection:
        store = SqliteEventStore(connection)
        sources = [Source(c.NAME, c.address, c.since) for c in (licenses, devices)]
        Indexer(world.chain.rpc, sources, store).catch_up()
        return list(store.events())


def report_of(world, rebuilt, comparison, **others):
    addresses = {contract.NAME: contract.address for contract in (world.chain.licenses, world.chain.devices)}
    return Report(rebuilt, checksummed(addresses), comparison, **others)


def checksummed(addresses):
    from eth_utils import to_checksum_address

    return {name: to_checksum_address(address) for name, address in addresses.items()}


def answers(report, world, name):
    return next(license for license in report.members()["licenses"] if license["license"] == world.id(name))[
        "answers"
    ]


# --- an honest chain -------------------------------------------------------------------------------------


def test_an_honest_chain_has_no_contradictions(world, rebuilt, comparison):
    report = report_of(world, rebuilt, comparison)
    assert report.contradictions == []
    assert set(rebuilt.replay.licenses) == {world.id(name) for name in world.licenses}
    assert schemas.problem_in(report.members(), "audit.v1") is None
    assert report.members()["consistent"] is True


def test_every_kind_of_event_occurs_in_the_world(rows):
    """Else the other tests would test nothing of it."""
    missing = {
        "LicenseIssued",
        "LicenseUsed",
        "PrintLogged",
        "SerialRegistered",
        "PrintFailed",
        "CopiesGranted",
        "FileApproved",
        "LicenseRevoked",
        "LicenseTransferred",
        "TransferSingle",
        "TransferBatch",
        "UseSkipped",
        "OperatorSet",
        "ControlTransferred",
        "DeviceBound",
        "DeviceUnbound",
        "DeviceAttested",
        "AttestorPresented",
        "AttestorAccepted",
    } - {row.name for row in rows}
    assert not missing


def test_copies_are_neither_lost_nor_made(rebuilt, comparison):
    balance = checks.conservation(rebuilt.replay.licenses.values(), comparison.remaining)
    assert balance.holds
    assert dataclasses.astuple(balance) == (17, 2, 2, 10, 9, 2)


def test_who_owns_it(world, rebuilt, comparison):
    report = report_of(world, rebuilt, comparison)
    printed, sold = answers(report, world, "printed")["owner"], answers(report, world, "sold")["owner"]
    assert printed["owner"] == sold["owner"] == world.owner.address
    # She handed control over at the end; the operator's earlier rights stand beside that.
    assert printed["controller"] == world.operator.address
    assert [operator["rights"] for operator in printed["operators"]] == [["ISSUE", "GRANT"]]
    assert (printed["printer"], sold["printer"]) == (world.shop.address, world.buyer.address)


def test_who_is_liable_for_each_copy(world, rebuilt, comparison):
    report = report_of(world, rebuilt, comparison)
    first, second, third, fourth = answers(report, world, "printed")["liable"]
    assert (first["device"], first["wallet"]) == (world.device.address, world.shop.address)
    assert first["attestors"] == [{"attestor": world.attestor.address, "evidence": "0x" + EVIDENCE.hex()}]
    assert (second["device"], second["attestors"], second["replaced"]) == (world.shop.address, [], True)
    assert second["commitment"] is None
    assert third["failed"]["evidence"] == "0x" + EVIDENCE.hex()
    assert fourth["fileHash"] == OTHER_HASH
    assert [copy["copy"] for copy in (first, second, third, fourth)] == [1, 2, 3, 4]
    # Relayed: the operator sent what the device had signed.
    assert [(copy["sender"], copy["device"]) for copy in answers(report, world, "relayed")["liable"]] == [
        (world.operator.address, world.device.address)
    ] * 2
    # Sold in between.
    assert [copy["wallet"] for copy in answers(report, world, "sold")["liable"]] == [
        world.shop.address,
        world.buyer.address,
    ]


def test_how_many_were_printed_and_was_the_owner_paid(world, rebuilt, comparison):
    report = report_of(world, rebuilt, comparison)
    assert answers(report, world, "printed")["printed"] == {
        "announced": 3,
        "consumed": 4,
        "failed": 1,
        "withSerial": 3,
    }
    assert answers(report, world, "revoked")["printed"]["announced"] == 0
    assert {license["answers"]["paid"] for license in report.members()["licenses"]} == {NO_PAYMENT}
    assert NO_PAYMENT == "no payment contract deployed"


def test_since_leaves_out_earlier_copies_only(world, rebuilt, comparison):
    third = rebuilt.replay.licenses[world.id("printed")].copies[2].place.block
    report = report_of(world, rebuilt, comparison, since=third)
    answer = answers(report, world, "printed")
    assert [copy["copy"] for copy in answer["liable"]] == [3, 4]
    assert answer["printed"]["consumed"] == 4


def test_an_earlier_block_shows_the_state_of_then(world, rebuilt):
    before = rebuilt.replay.licenses[world.id("printed")].copies[2].place.block
    then = rebuild(world.chain.licenses, world.chain.devices, before)
    license = then.replay.licenses[world.id("printed")]
    assert (license.used, license.failed, license.remaining) == (3, 0, 1)
    assert then.head.number == before
    assert then.replay.contradictions == []
    assert checks.compare(world.chain.licenses, world.chain.devices, then).contradictions == []


def test_before_the_contracts_there_is_nothing_to_audit(world):
    with pytest.raises(NothingToAudit):
        rebuild(world.chain.licenses, world.chain.devices, 0)


# --- trust -----------------------------------------------------------------------------------------------


def test_a_trusted_block_binds_what_is_below(world, rebuilt, head):
    licenses, devices = world.chain.licenses, world.chain.devices
    trusted = trusted_block(world.chain.rpc, rebuilt.head.hash)
    assert trusted.number == head
    assert not rebuilt.anchored
    assert rebuild(licenses, devices, head, trusted=trusted).anchored
    earlier = rebuild(licenses, devices, head - 5, trusted=trusted)
    assert (earlier.anchored, earlier.head.number) == (True, head - 5)


def test_a_trusted_block_binds_nothing_above(world, head):
    trusted = trusted_block(
        world.chain.rpc, world.chain.rpc.call("eth_getBlockByNumber", ["0x5", False])["hash"]
    )
    with pytest.raises(ValueError, match="below"):
        rebuild(world.chain.licenses, world.chain.devices, head, trusted=trusted)


def test_a_block_that_the_node_doesnt_have_is_no_anchor(world):
    with pytest.raises(BlockUnknown):
        trusted_block(world.chain.rpc, "0x" + "17" * 32)


def test_a_node_cant_pass_another_block_for_the_trusted_one(world, head):
    def lie(method, result):
        return (
            world.chain.rpc.call("eth_getBlockByNumber", ["latest", False])
            if method == "eth_getBlockByHash"
            else result
        )

    with lying_node(world.chain.url, lie) as url:
        licenses, devices = contracts_of(world, url)
        trusted = trusted_block(licenses.rpc, "0x" + "17" * 32)
        with pytest.raises(NodeLies) as told:
            rebuild(licenses, devices, head, trusted=trusted)
    assert told.value.block == head


class ForkingRpc(Rpc):
    """Tells of blocks that it remembers, until it is asked for a later one; then of the real chain."""

    def __init__(self, rpc, until):
        self._rpc = rpc
        self._until = until
        self._forking = True
        self._blocks = [rpc.call("eth_getBlockByNumber", [hex(i), False]) for i in range(until + 1)]
        self._by_hash = {block["hash"]: block for block in self._blocks}
        self._receipts = {hash: rpc.call("eth_getBlockReceipts", [hash]) for hash in self._by_hash}

    def call(self, method, params):
        if method == "eth_getBlockByNumber" and params[0].startswith("0x"):
            self._forking &= int(params[0], 16) <= self._until
            if self._forking:
                return self._blocks[int(params[0], 16)]
        remembered = {"eth_getBlockByHash": self._by_hash, "eth_getBlockReceipts": self._receipts}
        if params and isinstance(params[0], str) and params[0] in remembered.get(method, {}):
            return remembered[method][params[0]]
        return self._rpc.call(method, params)


def test_nothing_that_a_trusted_block_doesnt_follow_is_told():
    """A fork with a print that never happened, shown up to the audit's end, and the real chain above it."""
    with running_chain() as chain:
        owner, shop = chain.account(), chain.account()
        id = chain.issue(owner, shop.address, FILE_HASH, 3, "4711")
        before = chain.rpc.call("evm_snapshot", [])
        chain.send(shop, chain.licenses.use_license_call(id, FILE_HASH))
        chain.rpc.call("anvil_mine", ["0x3"])
        until = newest_block(chain.rpc, "latest")
        node = ForkingRpc(chain.rpc, until)
        forged = chain.rpc.call("eth_getBlockByNumber", [hex(until), False])["hash"]
        chain.rpc.call("evm_revert", [before])
        chain.issue(owner, shop.address, FILE_HASH, 1, "4712")
        chain.rpc.call("anvil_mine", ["0x10"])
        real = chain.rpc.call("eth_getBlockByNumber", [hex(until), False])["hash"]
        newest = chain.rpc.call("eth_getBlockByNumber", ["latest", False])
        trusted = trusted_block(chain.rpc, newest["hash"])
        licenses = PrintLicense(node, chain.licenses.address, chain.licenses.since)
        devices = DeviceRegistry(node, chain.devices.address, chain.devices.since)
        found = rebuild(licenses, devices, until, trusted=trusted)
        assert forged != real
        assert (found.anchored, found.head.hash) == (True, real)
        assert [license.used for license in found.replay.licenses.values()] == [0, 0]


class StumblingRpc(Rpc):
    """Gives no answer to one of the batches."""

    def __init__(self, rpc, place):
        self._rpc = rpc
        self.left = place

    def call(self, method, params):
        return self._rpc.call(method, params)

    def batch(self, calls):
        self.left -= 1
        if self.left == -1:
            raise NodeUnreachable("The chain node doesn't answer.")
        return self._rpc.batch(calls)


def test_an_answer_that_is_lost_once_ends_no_audit(world, rebuilt, head):
    """Wherever it is lost, also when the trusted block is compared."""
    trusted = trusted_block(world.chain.rpc, rebuilt.head.hash)
    for place in itertools.count():
        rpc = StumblingRpc(world.chain.rpc, place)
        licenses = PrintLicense(rpc, world.chain.licenses.address, world.chain.licenses.since)
        devices = DeviceRegistry(rpc, world.chain.devices.address, world.chain.devices.since)
        found = rebuild(licenses, devices, head - 5, trusted=trusted)
        assert (found.anchored, found.head.number) == (True, head - 5)
        if rpc.left >= 0:
            break
    assert place > 3


def contracts_of(world, url):
    rpc = HttpRpc(url)
    return tuple(
        kind(rpc, contract.address, contract.since)
        for kind, contract in (
            (PrintLicense, world.chain.licenses),
            (DeviceRegistry, world.chain.devices),
        )
    )


def test_a_hidden_print_is_found_and_its_block_named(world, rebuilt, head):
    copy = rebuilt.replay.licenses[world.id("printed")].copies[1]
    with lying_node(world.chain.url, hide(copy.place.transaction)) as url:
        licenses, devices = contracts_of(world, url)
        with pytest.raises(NodeLies) as told:
            rebuild(licenses, devices, head)
        assert told.value.block == copy.place.block
        # Who believes the node sees it too, because copies are numbered and the contract counts.
        believed = rebuild(licenses, devices, head, verified=False)
        gap = believed.replay.contradictions[0]
        assert (gap.kind, gap.license, gap.block) == ("copy-gap", world.id("printed"), copy.place.block + 1)


def hide(transaction):
    """A node that hides what a transaction logged."""

    def lie(method, result):
        if method == "eth_getLogs":
            return [log for log in result if log["transactionHash"] != transaction]
        if method == "eth_getBlockReceipts":
            return [r | {"logs": []} if r["transactionHash"] == transaction else r for r in result]
        return result

    return lie


# --- nothing can be left out or changed ------------------------------------------------------------------

STATEFUL = {
    "LicenseIssued",
    "LicenseUsed",
    "PrintFailed",
    "CopiesGranted",
    "LicenseRevoked",
    "LicenseTransferred",
    "TransferSingle",
    "TransferBatch",
    "DeviceBound",
    "DeviceAttested",
    "AttestorPresented",
    "AttestorAccepted",
}
COMPARED = {"FileApproved", "OperatorSet", "ControlTransferred", "DeviceUnbound"}
"""Those that change no copies: the contracts' own state shows that one is missing."""


def changed(row, **values):
    return row._replace(text=json.dumps(row.values | values))


def problems(world, rebuilt, rows, comparing=True):
    """Kinds of contradictions when these are the events."""
    replay = Replay()
    for row in rows:
        replay.apply(row)
    replay.finish()
    claimed: Rebuilt = dataclasses.replace(rebuilt, replay=replay)
    comparison = checks.compare(world.chain.licenses, world.chain.devices, claimed)
    found = [*replay.contradictions, *(comparison.contradictions if comparing else [])]
    return {c.kind for c in found + checks.unbalanced(replay.licenses.values(), comparison.remaining)}


def test_every_event_that_changes_copies_is_missed(world, rebuilt, rows):
    """Left out alone, each of them is a contradiction, whatever the order of the others."""
    assert problems(world, rebuilt, rows) == set()
    for i, row in enumerate(rows):
        if row.name in STATEFUL | COMPARED:
            found = problems(world, rebuilt, [*rows[:i], *rows[i + 1 :]])
            assert found, f"{row.name} of block {row.block_number} can be left out"


def test_every_such_event_twice_is_found(world, rebuilt, rows):
    for i, row in enumerate(rows):
        if row.name in STATEFUL - {"DeviceAttested", "AttestorAccepted"}:
            found = problems(world, rebuilt, [*rows[: i + 1], row, *rows[i + 1 :]])
            assert found, f"{row.name} of block {row.block_number} can be doubled"


@pytest.mark.parametrize("name", sorted(COMPARED))
def test_the_contracts_say_who_acts_for_whom_and_which_files_are_allowed(world, rebuilt, rows, name):
    without = [row for row in rows if row.name != name]
    assert "contract-differs" in problems(world, rebuilt, without)


def test_too_many_failures_are_told_once(world, rebuilt, rows, comparison):
    replay = Replay()
    for row in rows:
        forged = row.name == "LicenseIssued" and row.license == world.id("revoked")
        replay.apply(changed(row, failuresAllowed=0) if forged else row)
    claimed = dataclasses.replace(rebuilt, replay=replay)
    found = report_of(world, claimed, comparison).contradictions
    assert [c.kind for c in found if c.license == world.id("revoked")].count("too-many-failures") == 1


def test_a_print_by_nobodys_device_is_found(world, rebuilt, rows):
    stranger = "0x" + "99" * 20
    for i, row in enumerate(rows):
        if row.name == "LicenseUsed":
            forged = changed(row, device=stranger)
            found = problems(world, rebuilt, [*rows[:i], forged, *rows[i + 1 :]])
            assert "device-not-bound" in found


def test_a_print_of_another_file_is_found(world, rebuilt, rows):
    for i, row in enumerate(rows):
        if row.name == "LicenseUsed":
            forged = changed(row, fileHash="0x" + "99" * 32)
            assert "other-file" in problems(world, rebuilt, [*rows[:i], forged, *rows[i + 1 :]])


def test_a_print_after_the_end_is_found(world, rebuilt, rows):
    """An expiry that was shortened, and a print that moved behind the revocation."""
    hurried = [changed(row, validUntil=1) if row.name == "LicenseIssued" else row for row in rows]
    assert "expired" in problems(world, rebuilt, hurried, comparing=False)
    id = world.id("revoked")
    moved = [row for row in rows if row.license == id]
    use = [row for row in moved if row.name == "LicenseUsed"]
    others = [row for row in moved if row.name in ("LicenseIssued", "LicenseRevoked")]
    assert "after-revocation" in problems(world, rebuilt, others + use, comparing=False)


def test_a_device_that_nobody_vouches_for_is_found(world, rebuilt, rows):
    without = [row for row in rows if row.name != "AttestorAccepted"]
    assert "device-not-trusted" in problems(world, rebuilt, without)


def test_a_serial_without_its_print_is_found(world, rebuilt, rows):
    for i, row in enumerate(rows):
        if row.name in ("PrintLogged", "SerialRegistered"):
            moved = row._replace(log_index=row.log_index + 7)
            assert "serial-alone" in problems(world, rebuilt, [*rows[:i], moved, *rows[i + 1 :]])


def test_one_commitment_for_two_parts_is_found(world):
    """The contract can't know: whoever prints chooses the commitment. So the audit has to look."""
    with running_chain() as chain:
        other = worlds.World(chain, *(chain.account() for _ in range(6)))
        id = worlds.issue(other, "cloned", 3)
        for copy in (1, 2):
            worlds.consume(other, other.shop, id, copy, b"\x17" * 32)
        found = rebuild(chain.licenses, chain.devices, newest_block(chain.rpc, "latest"))
        (contradiction,) = found.replay.contradictions
        assert contradiction.kind == "commitment-twice"
        assert "copy 1" in contradiction.message
        assert contradiction.license == other.id("cloned")


def test_a_strangers_copy_of_a_commitment_is_no_contradiction(world):
    """Everybody can copy it from the chain, or see it coming and be first. That hides no doubled one."""
    with running_chain() as chain:
        other = worlds.World(chain, *(chain.account() for _ in range(6)))
        stranger = chain.account()
        copied = chain.issue(stranger, stranger.address, FILE_HASH, 1, "1")
        worlds.consume(other, stranger, copied, 1, b"\x17" * 32)
        id = worlds.issue(other, "copied", 3)
        worlds.consume(other, other.shop, id, 1, b"\x17" * 32)
        found = rebuild(chain.licenses, chain.devices, newest_block(chain.rpc, "latest"))
        comparison = checks.compare(chain.licenses, chain.devices, found)
        report = Report(found, {}, comparison)
        assert report.members()["consistent"]
        (remark,) = report.members()["remarks"]
        assert (remark["kind"], remark["license"]) == ("commitment-copied", other.id("copied"))
        assert worlds.format_id(copied) in remark["message"]
        worlds.consume(other, other.shop, id, 2, b"\x17" * 32)
        found = rebuild(chain.licenses, chain.devices, newest_block(chain.rpc, "latest"))
        assert [(c.kind, c.license) for c in found.replay.contradictions] == [
            ("commitment-twice", other.id("copied"))
        ]
        assert len(found.replay.remarks) == 1


class AnsweringRpc(Rpc):
    """A node that answers to some methods as it likes."""

    def __init__(self, rpc, **answers):
        self._rpc = rpc
        self._answers = answers

    def call(self, method, params):
        answer = self._answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        return self._rpc.call(method, params) if answer is None else answer


FORGOTTEN = NodeRefused(-32000, "missing trie node 1234 (path ) state 0x1234 is not available")


@pytest.mark.parametrize(
    ("answers", "kinds", "complete"),
    [
        ({"eth_call": FORGOTTEN}, set(), False),
        ({"eth_call": FORGOTTEN, "eth_getCode": FORGOTTEN}, set(), False),
        ({"eth_call": FORGOTTEN, "eth_getCode": "0x6001"}, {"foreign-code"}, False),
        ({"eth_call": NodeRefused(3, "execution reverted", "0x")}, {"contract-differs"}, True),
        ({"eth_call": NodeRefused(-32015, "VM execution error: reverted")}, {"contract-differs"}, True),
        ({"eth_call": "0x", "eth_getCode": "0x6001"}, {"foreign-code", "contract-differs"}, True),
    ],
)
def test_what_a_node_doesnt_tell_takes_nothing_back(world, rebuilt, answers, kinds, complete):
    """A contract that refuses to say what it must is a contradiction; a forgotten state says nothing."""
    rpc = AnsweringRpc(world.chain.rpc, **answers)
    licenses, devices = (
        kind(rpc, contract.address, contract.since)
        for kind, contract in ((PrintLicense, world.chain.licenses), (DeviceRegistry, world.chain.devices))
    )
    found = checks.compare(licenses, devices, rebuilt)
    assert {contradiction.kind for contradiction in found.contradictions} == kinds
    assert (found.unavailable is None) is complete
    report = report_of(world, rebuilt, found)
    assert report.members()["comparedWithContract"] is complete
    assert schemas.problem_in(report.members(), "audit.v1") is None


def test_another_registry_and_other_code_are_found(world, rebuilt, head):
    licenses, devices = world.chain.licenses, world.chain.devices
    _, second = deploy_contracts(world.chain.rpc)
    later = newest_block(world.chain.rpc, "latest")
    with_other = rebuild(licenses, second, later)
    kinds = {c.kind for c in checks.compare(licenses, second, with_other).contradictions}
    assert "other-registry" in kinds
    assert "device-not-bound" in {c.kind for c in with_other.replay.contradictions}
    code = world.chain.rpc.call("eth_getCode", [devices.address, "latest"])
    world.chain.rpc.call("anvil_setCode", [devices.address, code[:-2] + "00"])
    try:
        now = newest_block(world.chain.rpc, "latest")
        kinds = {
            c.kind for c in checks.compare(licenses, devices, rebuild(licenses, devices, now)).contradictions
        }
        assert kinds == {"foreign-code"}
    finally:
        world.chain.rpc.call("anvil_setCode", [devices.address, code])


# --- files -----------------------------------------------------------------------------------------------


class ForgetfulRpc:
    """A node without old states, which knows code and logs."""

    def __init__(self, rpc):
        self._rpc = rpc

    def call(self, method, params):
        if method == "eth_call":
            raise NodeRefused(-32000, "missing trie node 1234 (path ) state 0x1234 is not available")
        return self._rpc.call(method, params)


def test_a_file_that_the_node_cant_check_ends_no_audit(world, rebuilt, comparison, tmp_path):
    """Signed by a contract account, of which an old state would have to be asked."""
    world.write_files(tmp_path)
    honest = SignedManifest.from_bytes(world.manifest)
    changed = dataclasses.replace(honest, signature=bytes(65))
    (tmp_path / "changed.json").write_bytes(changed.to_bytes())
    licenses = PrintLicense(
        ForgetfulRpc(world.chain.rpc), world.chain.licenses.address, world.chain.licenses.since
    )
    found = files.compare(tmp_path, rebuilt, licenses)
    assert [problem.kind for problem in found.contradictions] == ["manifest-refused"]
    assert found.not_checkable == []
    code = world.chain.rpc.call("eth_getCode", [licenses.address, "latest"])
    world.chain.rpc.call("anvil_setCode", [world.owner.address, code])
    try:
        found = files.compare(tmp_path, rebuilt, licenses)
    finally:
        world.chain.rpc.call("anvil_setCode", [world.owner.address, "0x"])
    assert (found.contradictions, found.not_checkable) == ([], ["changed.json"])
    report = report_of(world, rebuilt, comparison, files=found)
    assert schemas.problem_in(report.members(), "audit.v1") is None


def test_manifests_are_checked_against_the_replayed_events(world, rebuilt, tmp_path):
    """A node that hides logs, or turns its clock, has no say in it."""
    world.write_files(tmp_path)
    rpc = AnsweringRpc(world.chain.rpc, eth_getLogs=[], eth_getBlockByHash=FORGOTTEN)
    licenses = PrintLicense(rpc, world.chain.licenses.address, world.chain.licenses.since)
    found = files.compare(tmp_path, rebuilt, licenses)
    assert (found.contradictions, found.not_checkable) == ([], [])
    assert found.by_license[world.id("printed")].signer == world.owner.address


def test_the_replayed_events_are_those_of_the_contract(world, rebuilt):
    licenses = world.chain.licenses
    replayed = ReplayedLicenses(licenses, rebuilt)
    subjects = {*world.licenses.values(), *(int(owner_of(id), 16) for id in world.licenses.values())}
    seen = set()
    for names in (("LicenseIssued", "FileApproved"), ("ControlTransferred",), ("OperatorSet",)):
        for subject in subjects:
            for account in (None, world.operator.address, world.shop.address):
                if account is not None and names != ("OperatorSet",):
                    continue
                ours = list(replayed.events(*names, id=subject, account=account))
                assert ours == list(licenses.events(*names, id=subject, account=account))
                seen |= {event.name for event in ours}
                for event in ours:
                    asked = ("eth_getBlockByHash", [event.block_hash, False])
                    assert replayed.rpc.call(*asked)["timestamp"] == licenses.rpc.call(*asked)["timestamp"]
    assert seen == {"LicenseIssued", "FileApproved", "ControlTransferred", "OperatorSet"}


def test_manifests_are_checked_as_of_the_audits_block(world, rebuilt, tmp_path):
    chain = world.chain
    id = world.licenses["printed"]
    file_hash = "5a" * 32
    contract = checksummed({"": chain.licenses.address})[""]
    manifest = Manifest(chain.chain_id, contract, id, "other.gcode", 1, file_hash)
    (tmp_path / "later.json").write_bytes(sign_manifest(manifest, world.operator).to_bytes())
    before = chain.rpc.call("evm_snapshot", [])
    try:
        chain.send(world.operator, chain.licenses.approve_file_call(id, file_hash, manifest.hash))
        (early,) = files.compare(tmp_path, rebuilt, chain.licenses).contradictions
        later = rebuild(chain.licenses, chain.devices, newest_block(chain.rpc, "latest"))
        found = files.compare(tmp_path, later, chain.licenses)
    finally:
        chain.rpc.call("evm_revert", [before])
    assert early.kind == "manifest-refused"
    assert found.contradictions == []
    assert found.by_license[world.id("printed")].manifest == "later.json"


def test_a_file_that_cant_be_read_ends_no_audit(world, rebuilt, comparison, tmp_path):
    world.write_files(tmp_path)
    # Opening works, reading is an error of the device.
    (tmp_path / "broken").symlink_to("/proc/self/mem")
    (tmp_path / "nowhere").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    found = files.compare(tmp_path, rebuilt, world.chain.licenses)
    assert (found.files, found.unreadable) == (4, ["broken"])
    assert found.by_license[world.id("printed")].print_file == "part.gcode"
    report = report_of(world, rebuilt, comparison, files=found)
    assert schemas.problem_in(report.members(), "audit.v1") is None


def test_files_are_found_by_hash(world, rebuilt, comparison, tmp_path):
    world.write_files(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "torn.json").write_bytes(world.manifest[:-10])
    found = files.compare(tmp_path, rebuilt, world.chain.licenses)
    assert found.contradictions == []
    assert (found.files, found.unreadable) == (5, ["folder/torn.json"])
    report = report_of(world, rebuilt, comparison, files=found)
    assert answers(report, world, "printed")["intact"]["found"] == {
        "file": "part.gcode",
        "sealedFile": "part.age",
        "manifest": "manifest.json",
        "signer": world.owner.address,
    }
    assert schemas.problem_in(report.members(), "audit.v1") is None


def test_a_changed_file_isnt_found(world, rebuilt, tmp_path):
    (tmp_path / "part.gcode").write_bytes(worlds.PART + b"\n")
    found = files.compare(tmp_path, rebuilt, world.chain.licenses)
    assert {license.print_file for license in found.by_license.values()} == {None}


def test_a_manifest_that_the_chain_doesnt_name_is_a_contradiction(world, rebuilt, tmp_path):
    manifest = SignedManifest.from_bytes(world.manifest).manifest
    other = sign_manifest(dataclasses.replace(manifest, material="gold"), world.owner)
    (tmp_path / "manifest.json").write_bytes(other.to_bytes())
    (contradiction,) = files.compare(tmp_path, rebuilt, world.chain.licenses).contradictions
    assert (contradiction.kind, contradiction.license) == ("manifest-refused", world.id("printed"))


# --- a portal --------------------------------------------------------------------------------------------


def fill(engine, world, rebuilt):
    """A portal's database that says what the chain says, of three licenses; and an order that waits."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        owner = User(email="a@b", fs_uniquifier="1", name="A", account=world.owner.address, active=True)
        design = Design(owner=owner, file_name="part.gcode", storage_key="k", size=1, sha256=FILE_HASH)
        session.add_all([owner, design])
        for name in ("printed", "sold", "relayed", "waiting"):
            history = rebuilt.replay.licenses.get(world.licenses.get(name) and world.id(name))
            state = IntentState.DONE if history else IntentState.QUEUED
            session.add(
                License(
                    id=history.id if history else "0x" + "ab" * 32,
                    owner=owner,
                    design=design,
                    number=f"4711-{name}",
                    printer_name="shop",
                    printer_address=world.shop.address,
                    file_hash=FILE_HASH,
                    copies=history.issued_copies if history else 1,
                    intent=Intent(key=name, state=state),
                )
            )
        session.commit()


@pytest.fixture
def database(world, rebuilt, tmp_path):
    path = tmp_path / "portal.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    fill(engine, world, rebuilt)
    engine.dispose()
    return path


def change(path, statement, *arguments):
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, arguments).rowcount == 1


def test_an_honest_portal_agrees(world, rebuilt, database):
    for name in (str(database), f"sqlite:///{database}", f"sqlite+pysqlite:///{database}"):
        found = portal.compare(name, rebuilt)
        assert found.contradictions == []
        assert found.licenses == 4
        assert found.waiting == ["0x" + "ab" * 32]
        assert set(found.not_in_portal) == {
            world.id(name) for name in ("trusted", "revoked", "batch-1", "batch-2")
        }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("copies", 40),
        ("file_hash", OTHER_HASH),
        ("printer_address", "0x" + "99" * 20),
        ("valid_until", 1),
        ("number", "4711-other"),
    ],
)
def test_a_portal_that_shows_other_terms_is_found(world, rebuilt, database, column, value):
    change(database, f"UPDATE license SET {column} = ? WHERE number = '4711-printed'", value)
    (contradiction,) = portal.compare(str(database), rebuilt).contradictions
    assert (contradiction.kind, contradiction.license) == ("portal-differs", world.id("printed"))
    assert str(value) in contradiction.message


def test_a_license_that_only_the_portal_has_is_found(rebuilt, database):
    change(database, "UPDATE intent SET state = 'done' WHERE key = 'waiting'")
    (contradiction,) = portal.compare(str(database), rebuilt).contradictions
    assert (contradiction.kind, contradiction.license) == ("only-in-portal", "0x" + "ab" * 32)


def test_a_license_that_the_portal_hides_is_told(world, rebuilt, database):
    change(database, "DELETE FROM license WHERE number = '4711-sold'")
    assert world.id("sold") in portal.compare(str(database), rebuilt).not_in_portal


def test_the_portals_database_is_only_read(rebuilt, database):
    before = database.read_bytes()
    database.chmod(0o400)
    portal.compare(str(database), rebuilt)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.db",
        "sqlite:///nowhere.db",
        "mysql://user:secret@host/portal",
        "postgresql:/user:secret@host/portal",
        "postgresql:user:secret",
        "sqlite:///user:secret@host/portal",
        "user:secret@host://portal",
        "secret@host",
        "README.md",
    ],
)
def test_what_is_no_portals_database_is_refused(rebuilt, name):
    with pytest.raises(PortalUnreadable) as told:
        portal.compare(name, rebuilt)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE license SET id = 'abc' WHERE number = '4711-printed'",
        "UPDATE license SET copies = 'many' WHERE number = '4711-printed'",
        "UPDATE license SET copies = 1.5 WHERE number = '4711-printed'",
        "UPDATE license SET file_hash = x'00' WHERE number = '4711-printed'",
        "UPDATE license SET valid_until = -1 WHERE number = '4711-printed'",
        "UPDATE intent SET block_number = 'soon' WHERE key = 'printed'",
        'UPDATE "user" SET account = 17',
    ],
)
def test_a_damaged_portal_is_said_to_be_so(rebuilt, database, statement):
    change(database, statement)
    with pytest.raises(PortalUnreadable, match="holds values that a portal doesn't write"):
        portal.compare(str(database), rebuilt)


def test_empty_values_in_a_portal_are_damage(rebuilt, database):
    """Such as in tables that were restored without their rules."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ALTER TABLE license RENAME TO strict")
        connection.execute("CREATE TABLE license AS SELECT * FROM strict")
        connection.execute("UPDATE license SET copies = NULL")
    with pytest.raises(PortalUnreadable, match="table license"):
        portal.compare(str(database), rebuilt)


def test_a_portal_on_postgresql(world, rebuilt):
    with running_postgres() as url:
        engine = sa.create_engine(url)
        fill(engine, world, rebuilt)
        assert portal.compare(url, rebuilt).contradictions == []
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE license SET copies = 99 WHERE number = '4711-printed'"))
        engine.dispose()
        (contradiction,) = portal.compare(url, rebuilt).contradictions
        assert contradiction.license == world.id("printed")
        wrong = sa.make_url(url).set(password="wrong-secret")
        with pytest.raises(PortalUnreadable) as told:
            portal.compare(wrong.render_as_string(hide_password=False), rebuilt)
        assert "wrong-secret" not in str(told.value)
