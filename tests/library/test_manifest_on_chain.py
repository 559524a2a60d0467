"""Manifests against the real contract: who may state one, when, and for what."""

import os
import time
from dataclasses import replace

import pytest
from eth_utils import to_checksum_address

from imprimatur.chain import transactions
from imprimatur.chain.interface import Interface
from imprimatur.chain.orders import Right
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.license_id import license_id, number_from_text
from imprimatur.manifest.document import Manifest, ManifestInvalid
from imprimatur.manifest.signature import SignedManifest, digest, sign_manifest
from imprimatur.manifest.verification import (
    ManifestNotOnChain,
    ManifestOfAnotherFile,
    ManifestOfAnotherLicense,
    SignatureRefused,
    SignerNotAllowed,
    verify_manifest,
)
from support.node import ROOT
from tools import compile as compiler

FILE_HASH = "5a" * 32
OTHER_HASH = "c3" * 32
SOON = 3600


@pytest.fixture(scope="module")
def owner(chain):
    return chain.account()


@pytest.fixture(scope="module")
def printer(chain):
    return chain.account()


@pytest.fixture
def manifest(chain, owner, request):
    """Of a license numbered by the test's name."""
    return manifest_for(chain, owner.address, request.node.name)


def manifest_for(chain, owner, number, file_hash=FILE_HASH):
    id = license_id(owner, number_from_text(number[-64:]))
    contract = to_checksum_address(chain.licenses.address)
    return Manifest(chain.chain_id, contract, id, "bracket.gcode", 1000, file_hash)


def order_for(chain, owner, printer, manifest, file_hash=FILE_HASH):
    order = chain.order(owner, printer.address, file_hash, 2, "any", manifest_hash=manifest.hash)
    return replace(order, number=manifest.id & (1 << 96) - 1)


def issue(chain, owner, printer, manifest, file_hash=FILE_HASH):
    order = order_for(chain, owner.address, printer, manifest, file_hash)
    return chain.send(owner, chain.licenses.issue_call(order))


def let(chain, owner, operator, rights, seconds=SOON):
    until = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16) + seconds
    address = operator if isinstance(operator, str) else operator.address
    return chain.send(owner, chain.licenses.set_operator_call(owner.address, address, rights, until))


def verify(chain, signed):
    return verify_manifest(signed, chain.licenses, signed.manifest.id)


def test_owner(chain, owner, printer, manifest):
    signed = sign_manifest(manifest, owner)
    with pytest.raises(ManifestNotOnChain, match="isn't on the chain"):
        verify(chain, signed)
    receipt = issue(chain, owner, printer, manifest)
    verified = verify_manifest(signed.to_bytes(), chain.licenses, manifest.id)
    assert (verified.manifest, verified.signer, verified.right) == (manifest, owner.address, Right.NONE)
    assert verified.event.transaction_hash == receipt["transactionHash"]
    assert verified.event.values["manifestHash"] == manifest.hash


def test_license_without_a_manifest(chain, owner, printer, manifest):
    order = order_for(chain, owner.address, printer, manifest)
    chain.send(owner, chain.licenses.issue_call(replace(order, manifest_hash=bytes(32))))
    with pytest.raises(ManifestNotOnChain, match="doesn't name this manifest"):
        verify(chain, sign_manifest(manifest, owner))


def test_bytes_that_are_no_manifest(chain, owner, printer, manifest):
    issue(chain, owner, printer, manifest)
    with pytest.raises(ManifestInvalid):
        verify_manifest(sign_manifest(manifest, owner).to_bytes() + b" ", chain.licenses, manifest.id)


@pytest.mark.parametrize(
    "change", [{"file_name": "other.gcode"}, {"file_size": 1001}, {"material": "PLA"}, {"layers": 3}]
)
def test_any_other_statement_of_the_owner(chain, owner, printer, manifest, change):
    issue(chain, owner, printer, manifest)
    with pytest.raises(ManifestNotOnChain):
        verify(chain, sign_manifest(replace(manifest, **change), owner))


def test_manifest_of_another_file(chain, owner, printer, manifest):
    issue(chain, owner, printer, manifest, OTHER_HASH)
    with pytest.raises(ManifestOfAnotherFile, match=OTHER_HASH):
        verify(chain, sign_manifest(manifest, owner))


def test_manifest_of_another_license(chain, owner, printer, manifest):
    """The same bytes put on the chain for a second license don't count for it."""
    issue(chain, owner, printer, manifest)
    copied = replace(order_for(chain, owner.address, printer, manifest), number=number_from_text("copied"))
    chain.send(owner, chain.licenses.issue_call(copied))
    with pytest.raises(ManifestOfAnotherLicense):
        verify_manifest(sign_manifest(manifest, owner), chain.licenses, copied.id)


def test_another_contract_or_chain(chain, owner, printer, manifest):
    for change in (
        {"contract": to_checksum_address(chain.devices.address)},
        {"chain_id": chain.chain_id + 1},
    ):
        other = replace(manifest, id=manifest.id + len(str(change)), **change)
        issue(chain, owner, printer, other)
        with pytest.raises(ManifestOfAnotherLicense):
            verify(chain, sign_manifest(other, owner))


def test_signature_of_somebody_else(chain, owner, printer, manifest):
    issue(chain, owner, printer, manifest)
    stranger = chain.account()
    with pytest.raises(SignerNotAllowed, match=stranger.address):
        verify(chain, sign_manifest(manifest, stranger))
    with pytest.raises(SignatureRefused):
        verify(chain, replace(sign_manifest(manifest, stranger), signer=owner.address))


def test_flipped_bits_of_the_signature(chain, owner, printer, manifest):
    issue(chain, owner, printer, manifest)
    signed = sign_manifest(manifest, owner)
    number = int.from_bytes(signed.signature, "big")
    for bit in range(0, 65 * 8, 13):
        flipped = replace(signed, signature=(number ^ 1 << bit).to_bytes(65, "big"))
        with pytest.raises(SignatureRefused):
            verify(chain, flipped)


def test_operator_may_at_the_issuing_block(chain, owner, printer, manifest):
    operator = chain.account()
    let(chain, owner, operator, Right.ISSUE)
    order = order_for(chain, owner.address, printer, manifest)
    chain.send(operator, chain.licenses.issue_call(order, as_operator=True))
    signed = sign_manifest(manifest, operator)
    assert verify(chain, signed).right == Right.ISSUE
    # What she could at that block counts, not what she may now.
    let(chain, owner, operator, Right.NONE, 0)
    assert verify(chain, signed).right == Right.ISSUE


def test_operator_without_the_right(chain, owner, printer, manifest):
    operator = chain.account()
    let(chain, owner, operator, Right.GRANT | Right.APPROVE_FILE | Right.REVOKE)
    issue(chain, owner, printer, manifest)
    with pytest.raises(SignerNotAllowed):
        verify(chain, sign_manifest(manifest, operator))
    let(chain, owner, operator, Right.ISSUE)
    with pytest.raises(SignerNotAllowed):
        verify(chain, sign_manifest(manifest, operator))


def test_operator_of_another_owner(chain, owner, printer, manifest):
    other, operator = chain.account(), chain.account()
    let(chain, other, operator, Right.ISSUE)
    issue(chain, owner, printer, manifest)
    with pytest.raises(SignerNotAllowed):
        verify(chain, sign_manifest(manifest, operator))


def test_operator_until_a_second(chain, owner, printer, manifest):
    """The last second of the right counts, as in the contract; the next doesn't."""
    operator = chain.account()
    now = int(chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
    until = max(now, int(time.time())) + 1000
    call = chain.licenses.set_operator_call(owner.address, operator.address, Right.ISSUE, until)
    chain.send(owner, call)
    for second, number in ((until, 0), (until + 1, 1)):
        at_second = replace(manifest, id=manifest.id + number)
        order = replace(order_for(chain, owner.address, printer, at_second), deadline=until + SOON)
        chain.rpc.call("evm_setNextBlockTimestamp", [second])
        chain.send(owner, chain.licenses.issue_call(order))
    assert verify(chain, sign_manifest(manifest, operator)).right == Right.ISSUE
    with pytest.raises(SignerNotAllowed):
        verify(chain, sign_manifest(at_second, operator))


@pytest.mark.parametrize("allowed", [True, False])
def test_order_within_a_block_counts(chain, owner, printer, manifest, allowed):
    """Given before or after the license was issued, in the same block."""
    operator = chain.account()
    until = 2**40
    give = chain.licenses.set_operator_call(owner.address, operator.address, Right.ISSUE, until)
    order = replace(order_for(chain, owner.address, printer, manifest), deadline=until)
    calls = [give, chain.licenses.issue_call(order)]
    chain.rpc.call("evm_setAutomine", [False])
    try:
        nonce = transactions.next_nonce(chain.rpc, owner.address)
        hashes = []
        for step, call in enumerate(calls if allowed else reversed(calls)):
            signed = transactions.sign(chain.rpc, owner, chain.licenses.address, call, nonce + step)
            transactions.broadcast(chain.rpc, signed.raw)
            hashes.append(signed.hash)
        chain.rpc.call("evm_mine", [])
    finally:
        chain.rpc.call("evm_setAutomine", [True])
    receipts = [transactions.wait_for_receipt(chain.rpc, hash, poll=0.02) for hash in hashes]
    assert receipts[0]["blockHash"] == receipts[1]["blockHash"]
    assert [receipt["status"] for receipt in receipts] == ["0x1", "0x1"]
    if allowed:
        assert verify(chain, sign_manifest(manifest, operator)).right == Right.ISSUE
    else:
        with pytest.raises(SignerNotAllowed):
            verify(chain, sign_manifest(manifest, operator))


def test_who_took_control_signs(chain, printer, request):
    owner, successor = chain.account(), chain.account()
    before = manifest_for(chain, owner.address, "before")
    after = manifest_for(chain, owner.address, "after")
    issue(chain, owner, printer, before)
    chain.send(owner, chain.licenses.offer_control_call(owner.address, successor.address))
    chain.send(successor, chain.licenses.accept_control_call(owner.address))
    chain.send(successor, chain.licenses.issue_call(order_for(chain, owner.address, printer, after)))
    assert verify(chain, sign_manifest(before, owner)).right == Right.NONE
    assert verify(chain, sign_manifest(after, successor)).right == Right.NONE
    for manifest, signer in ((before, successor), (after, owner)):
        with pytest.raises(SignerNotAllowed):
            verify(chain, sign_manifest(manifest, signer))


# --- files approved later ------------------------------------------------------------------------------


def approve(chain, sender, manifest, approved=True):
    call = chain.licenses.approve_file_call(manifest.id, manifest.file_hash, manifest.hash, approved)
    return chain.send(sender, call)


def test_approved_file(chain, owner, printer, manifest):
    issue(chain, owner, printer, manifest)
    other = replace(manifest, file_hash=OTHER_HASH, file_name="resliced.gcode")
    signed = sign_manifest(other, owner)
    with pytest.raises(ManifestNotOnChain):
        verify(chain, signed)
    approve(chain, owner, other)
    assert verify(chain, signed).event.name == "FileApproved"
    assert verify(chain, sign_manifest(manifest, owner)).event.name == "LicenseIssued"
    # A newer manifest for the same file takes the place of the older one.
    newer = replace(other, material="PETG")
    approve(chain, owner, newer)
    assert verify(chain, sign_manifest(newer, owner)).event.name == "FileApproved"
    with pytest.raises(ManifestNotOnChain):
        verify(chain, signed)
    approve(chain, owner, newer, approved=False)
    with pytest.raises(ManifestNotOnChain, match="no longer"):
        verify(chain, sign_manifest(newer, owner))


def test_a_mistaken_approval_hides_nothing(chain, owner, printer, manifest):
    """The right manifest's hash beside the wrong file, then beside its own."""
    issue(chain, owner, printer, manifest)
    other = replace(manifest, file_hash=OTHER_HASH)
    for named in (manifest, other):
        call = chain.licenses.approve_file_call(manifest.id, "d4" * 32, named.hash, True)
        chain.send(owner, call)
    assert verify(chain, sign_manifest(manifest, owner)).event.name == "LicenseIssued"
    with pytest.raises(ManifestOfAnotherFile, match="d4" * 32):
        verify(chain, sign_manifest(other, owner))
    approve(chain, owner, other)
    event = verify(chain, sign_manifest(other, owner)).event
    assert (event.name, event.values["fileHash"]) == ("FileApproved", int(OTHER_HASH, 16))
    approve(chain, owner, other, approved=False)
    with pytest.raises(ManifestOfAnotherFile):
        verify(chain, sign_manifest(other, owner))


def test_operator_approves_a_file(chain, owner, printer, manifest):
    issuer, approver = chain.account(), chain.account()
    let(chain, owner, issuer, Right.ISSUE)
    let(chain, owner, approver, Right.APPROVE_FILE)
    issue(chain, owner, printer, manifest)
    other = replace(manifest, file_hash=OTHER_HASH)
    approve(chain, approver, other)
    assert verify(chain, sign_manifest(other, approver)).right == Right.APPROVE_FILE
    with pytest.raises(SignerNotAllowed):
        verify(chain, sign_manifest(other, issuer))


# --- contract accounts (ERC-1271) ----------------------------------------------------------------------


class SmartAccount:
    """The contract of tests/contracts/sources, deployed."""

    def __init__(self, chain, keeper):
        output = _compiled()["tests/contracts/sources/Accounts.sol"]["SmartAccount"]
        self._interface = Interface(output["abi"])
        self._chain, self._keeper = chain, keeper
        sender = chain.rpc.call("eth_accounts", [])[0]
        code = "0x" + output["evm"]["bytecode"]["object"]
        hash = chain.rpc.call("eth_sendTransaction", [{"from": sender, "data": code}])
        receipt = transactions.wait_for_receipt(chain.rpc, hash, poll=0.02)
        self.address = to_checksum_address(receipt["contractAddress"])

    def agree(self, digest):
        self._chain.send(self._keeper, self._interface.encode_call("agree", digest), self)

    def act(self, data):
        call = self._interface.encode_call("act", self._chain.licenses.address, bytes.fromhex(data[2:]))
        self._chain.send(self._keeper, call, self)


def _compiled():
    with pytest.MonkeyPatch.context() as patch:
        if "SOLCX_BINARY_PATH" not in os.environ:
            patch.setenv("SOLCX_BINARY_PATH", str(ROOT / "tools" / "solcx"))
        return compiler.compile_sources("tests/contracts/sources")


@pytest.fixture(scope="module")
def smart_owner(chain):
    return SmartAccount(chain, chain.account())


def test_contract_owns(chain, printer, smart_owner):
    manifest = manifest_for(chain, smart_owner.address, "owned by a contract")
    smart_owner.agree(digest(manifest))
    smart_owner.act(chain.licenses.issue_call(order_for(chain, smart_owner.address, printer, manifest)))
    for signature in (b"", b"\x12\x34", bytes(65), bytes(500)):
        signed = SignedManifest(manifest, smart_owner.address, signature)
        assert verify_manifest(signed.to_bytes(), chain.licenses, manifest.id).right == Right.NONE


def test_contract_agreed_too_late(chain, printer, smart_owner):
    manifest = manifest_for(chain, smart_owner.address, "too late")
    smart_owner.act(chain.licenses.issue_call(order_for(chain, smart_owner.address, printer, manifest)))
    signed = SignedManifest(manifest, smart_owner.address, b"\x12\x34")
    with pytest.raises(SignatureRefused):
        verify(chain, signed)
    smart_owner.agree(digest(manifest))
    with pytest.raises(SignatureRefused):
        verify(chain, signed)


def test_contract_as_operator(chain, owner, printer, manifest, smart_owner):
    let(chain, owner, smart_owner, Right.ISSUE)
    smart_owner.agree(digest(manifest))
    issue(chain, owner, printer, manifest)
    signed = SignedManifest(manifest, smart_owner.address, b"")
    assert verify(chain, signed).right == Right.ISSUE


def test_contract_that_knows_no_signatures(chain, owner, printer, manifest):
    contract = to_checksum_address(chain.licenses.address)
    let(chain, owner, contract, Right.ISSUE)
    issue(chain, owner, printer, manifest)
    with pytest.raises(SignatureRefused):
        verify(chain, SignedManifest(manifest, contract, bytes(65)))


def deployed(chain, code):
    """Address of a contract of these few bytes."""
    sender = chain.rpc.call("eth_accounts", [])[0]
    # PUSH1 size, DUP1, PUSH1 11, PUSH1 0, CODECOPY, PUSH1 0, RETURN: what follows is the contract.
    start = bytes([0x60, len(code), 0x80, 0x60, 11, 0x60, 0, 0x39, 0x60, 0, 0xF3])
    hash = chain.rpc.call("eth_sendTransaction", [{"from": sender, "data": "0x" + (start + code).hex()}])
    receipt = transactions.wait_for_receipt(chain.rpc, hash, poll=0.02)
    return to_checksum_address(receipt["contractAddress"])


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("fe", id="invalid opcode"),
        pytest.param("0c", id="unknown opcode"),
        pytest.param("5b600056", id="endless loop"),
        pytest.param("01", id="empty stack"),
        pytest.param("5b6000600056", id="full stack"),
        pytest.param("600356", id="jump to nowhere"),
        pytest.param("60016000556000", id="write where none is allowed"),
        pytest.param("60006000fd", id="revert"),
        pytest.param("00", id="no answer"),
    ],
)
def test_contract_that_breaks_doesnt_agree(chain, owner, printer, manifest, code):
    contract = deployed(chain, bytes.fromhex(code))
    let(chain, owner, contract, Right.ISSUE)
    issue(chain, owner, printer, manifest)
    with pytest.raises(SignatureRefused):
        verify(chain, SignedManifest(manifest, contract, b""))


@pytest.mark.parametrize(
    ("code", "message", "data"),
    [
        (-32000, "out of gas", None),
        (-32000, "invalid opcode: INVALID", None),
        (-32000, "invalid jump destination", None),
        (-32000, "stack underflow (0 <=> 2)", None),
        (-32000, "stack limit reached 1024 (1023)", None),
        (-32000, "execution reverted", "0x"),
        (-32000, "VM execution error", "Bad instruction fe"),
        (-32015, "VM execution error.", "OutOfGas"),
        (-32000, "Invalid opcode: 0xfe", None),
        (-32003, "EVM error: InvalidFEOpcode", None),
        (-32003, "EVM error: StackUnderflow", None),
    ],
)
def test_how_nodes_say_that_a_contract_broke(
    chain, owner, printer, manifest, smart_owner, code, message, data
):
    let(chain, owner, smart_owner, Right.ISSUE)
    issue(chain, owner, printer, manifest)
    rpc = ForgetfulRpc(chain.rpc, NodeRefused(code, message, data))
    licenses = PrintLicense(rpc, chain.licenses.address, chain.licenses.since)
    with pytest.raises(SignatureRefused):
        verify_manifest(SignedManifest(manifest, smart_owner.address, b""), licenses, manifest.id)


FORGOTTEN = NodeRefused(-32000, "missing trie node 1234 (path ) state 0x1234 is not available")


class ForgetfulRpc:
    """A node that has thrown old states away, as geth does after 128 blocks; anvil keeps all of them."""

    def __init__(self, rpc, refusal=FORGOTTEN):
        self._rpc, self._refusal = rpc, refusal

    def call(self, method, params):
        if method == "eth_call":
            raise self._refusal
        return self._rpc.call(method, params)


def test_no_archive_is_needed_for_keys(chain, owner, printer, manifest, smart_owner):
    operator = chain.account()
    let(chain, owner, operator, Right.ISSUE)
    let(chain, owner, smart_owner, Right.ISSUE)
    issue(chain, owner, printer, manifest)
    licenses = PrintLicense(ForgetfulRpc(chain.rpc), chain.licenses.address, chain.licenses.since)
    for signer in (owner, operator):
        assert (
            verify_manifest(sign_manifest(manifest, signer), licenses, manifest.id).signer == signer.address
        )
    # A wrong signature of an account with a key is wrong without any old state.
    signed = sign_manifest(manifest, owner)
    with pytest.raises(SignatureRefused):
        verify_manifest(replace(signed, signature=bytes(65)), licenses, manifest.id)
    # "Unknown" isn't "refused": the signature may be good.
    with pytest.raises(NodeRefused):
        verify_manifest(SignedManifest(manifest, smart_owner.address, b""), licenses, manifest.id)
