"""Certificates of real prints: built from a node, verified without one, and all that must be refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import pytest

from imprimatur import address_book, canonical_json, schemas
from imprimatur.certificate import (
    Anchor,
    BlockNotTrusted,
    CertificateInvalid,
    ForeignContract,
    NodeInconsistent,
    OtherChain,
    Outcome,
    PrintNotFound,
    anchor_from,
    build,
    document,
    explain,
    verify,
)
from imprimatur.certificate.license_state import storage_slot, unpack
from imprimatur.certificate.verifying import establish
from imprimatur.chain import rlp_codec, trie
from imprimatur.chain.headers import FIELDS, Header
from imprimatur.chain.orders import Terms
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.typed_data import Use, sign_use
from imprimatur.serials.tag import Tag, TagInvalid
from imprimatur.serials.tag_key import TagKey, commitment_of
from support.node import FOR_EVER, ROOT, deploy_contracts

FILE_HASH = hashlib.sha256(b"G28\n").hexdigest()
SERIAL = "123456AA0987654321"
TAG_ADDRESS = "0x" + "7a" * 20


@pytest.fixture(scope="module")
def owner(chain):
    return chain.account()


@pytest.fixture(scope="module")
def printer(chain):
    return chain.account()


def tag_of(id, copy=1):
    return Tag(id, copy, SERIAL, TAG_ADDRESS)


def issue(chain, owner, printer, number, copies=3, **terms):
    return chain.issue(owner, printer.address, FILE_HASH, copies, number, **terms)


def consume(chain, printer, id, copy, licenses=None):
    """Print one copy with its log entries; the receipt."""
    licenses = licenses or chain.licenses
    commitment = commitment_of(id, copy, SERIAL, TAG_ADDRESS)
    data = licenses.use_license_and_log_call(
        id, FILE_HASH, copy, bytes([copy]) * 32, b"\x02" * 32, commitment
    )
    return chain.send(printer, data, licenses)


@pytest.fixture(scope="module")
def printed(chain, owner, printer):
    """A license with one print."""
    id = issue(chain, owner, printer, "certified", failures_allowed=2)
    consume(chain, printer, id, 1)
    return id


def anchored(chain, book, data):
    """Verified with the hashes of the chain's own node."""
    blocks = verify(data, book).blocks
    return verify(data, book, anchor_from(chain.rpc, blocks, newest="latest"))


# --- honest certificates -----------------------------------------------------------------------------------


def test_print_with_tag_and_state(chain, book, owner, printer, printed):
    data = build(chain.licenses, printed, 1, state_at="latest", tag=tag_of(printed))
    verified = anchored(chain, book, data)
    assert verified.anchored
    print = verified.print
    assert (print.id, print.copy, print.file_hash.hex()) == (printed, 1, FILE_HASH)
    assert f"0x{print.device.hex()}" == f"0x{print.printer.hex()}" == printer.address.lower()
    assert (print.key_recipient, print.encrypted_serial) == (b"\x01" * 32, b"\x02" * 32)
    assert verified.state.outcome is Outcome.NOT_FAILED
    jsonschema.validate(json.loads(data), schemas.load("certificate.v1"))
    assert owner.address in str(explain(verified))


def test_print_without_serial(chain, book, owner, printer):
    id = issue(chain, owner, printer, "plain use")
    chain.send(printer, chain.licenses.use_license_call(id, FILE_HASH))
    data = build(chain.licenses, id, 1)
    verified = anchored(chain, book, data)
    assert verified.print.commitment is None
    jsonschema.validate(json.loads(data), schemas.load("certificate.v1"))
    with pytest.raises(CertificateInvalid, match="commitment"):
        build(chain.licenses, id, 1, tag=tag_of(id))


def test_relayed_batch_among_other_transactions(chain, book, owner, printer):
    """Several prints in one receipt, which isn't the only one of its block: a proof of more than one node."""
    ids = [issue(chain, owner, printer, f"batch {n}") for n in range(3)]
    device = chain.account()
    chain.bind(printer, device)
    uses = [
        Use(
            id=id,
            file_hash=FILE_HASH,
            copy=1,
            key_recipient=bytes([n]) * 32,
            encrypted_serial=b"\x02" * 32,
            commitment=commitment_of(id, 1, SERIAL, TAG_ADDRESS),
            deadline=FOR_EVER,
        )
        for n, id in enumerate(ids)
    ]
    signed = [sign_use(device, chain.license_domain, use) for use in uses]
    rpc = chain.rpc
    accounts = rpc.call("eth_accounts", [])
    rpc.call("evm_setAutomine", [False])
    try:
        for n in range(30):
            transfer = {"from": accounts[n % 9], "to": owner.address, "value": "0x1"}
            rpc.call("eth_sendTransaction", [transfer])
        relay = {"from": accounts[9], "to": chain.licenses.address, "gas": hex(1_000_000)}
        relay["data"] = chain.licenses.use_licenses_signed_call(signed)
        hash = rpc.call("eth_sendTransaction", [relay])
        rpc.call("evm_mine", [])
    finally:
        rpc.call("evm_setAutomine", [True])
    receipt = rpc.call("eth_getTransactionReceipt", [hash])
    assert len(chain.licenses.uses_in(receipt)) == 3
    for n, id in enumerate(ids):
        data = build(chain.licenses, id, 1, tag=tag_of(id))
        assert len(json.loads(data)["proof"]["nodes"]) > 1
        verified = anchored(chain, book, data)
        assert (verified.print.id, verified.print.key_recipient) == (id, bytes([n]) * 32)
        assert f"0x{verified.print.device.hex()}" == device.address.lower()
        assert f"0x{verified.print.printer.hex()}" == printer.address.lower()


def test_state_is_what_the_contract_says(chain, book, owner, printer):
    """Also shows that the slot and the layout of the word are those of the compiled contract."""
    flags = Terms.TRANSFERABLE | Terms.REVOCABLE
    terms = {"failures_allowed": 5, "valid_until": 4_000_000_000, "flags": int(flags)}
    id = issue(chain, owner, printer, "every field", copies=9, **terms)
    for copy in (1, 2, 3):
        consume(chain, printer, id, copy)
    chain.send(printer, chain.licenses.report_failure_call(id, 2, b"\x07" * 32))
    state = anchored(chain, book, build(chain.licenses, id, 3, state_at="latest")).state.license
    expected = asdict(chain.licenses.license_of(id))
    expected["printer"] = bytes.fromhex(expected["printer"][2:])
    del expected["id"], expected["file_hash"]
    assert asdict(state) == expected
    word = chain.rpc.call(
        "eth_getStorageAt", [chain.licenses.address, "0x" + storage_slot(id).hex(), "latest"]
    )
    assert state == unpack(int(word, 16))


# --- what became of the print ------------------------------------------------------------------------------


def test_failed_copy_shows_in_the_state(chain, book, owner, printer):
    id = issue(chain, owner, printer, "fails", failures_allowed=1)
    used_in = int(consume(chain, printer, id, 1)["blockNumber"], 16)
    consume(chain, printer, id, 2)
    chain.send(printer, chain.licenses.report_failure_call(id, 1, b"\x07" * 32))
    outcomes = {
        copy: anchored(chain, book, build(chain.licenses, id, copy, state_at="latest")).state.outcome
        for copy in (1, 2)
    }
    assert outcomes == {1: Outcome.CLOSED, 2: Outcome.NOT_FAILED}
    # As of its own block the print hadn't failed yet; one header, and one trusted hash, are enough.
    early = anchored(chain, book, build(chain.licenses, id, 1, state_at=used_in))
    assert early.state.outcome is Outcome.NOT_FAILED
    assert len(early.blocks) == 1


def test_replaced_transferred_and_revoked(chain, book, owner, printer):
    buyer = chain.account()
    id = issue(chain, owner, printer, "moves", flags=int(Terms.TRANSFERABLE | Terms.REVOCABLE))
    consume(chain, printer, id, 1)
    chain.send(owner, chain.licenses.grant_copies_call(id, 1, 1))

    def state():
        return anchored(chain, book, build(chain.licenses, id, 1, state_at="latest")).state

    assert state().outcome is Outcome.NEVER_REPORTED
    chain.send(printer, chain.licenses.transfer_license_call(id, buyer.address))
    assert state().license.printer == bytes.fromhex(buyer.address[2:])
    chain.send(owner, chain.licenses.revoke_call(id))
    assert (state().license.revoked, state().license.remaining) == (True, 0)


def test_state_from_before_the_print(chain, owner, printer):
    id = issue(chain, owner, printer, "early state")
    before = int(chain.rpc.call("eth_blockNumber", []), 16)
    consume(chain, printer, id, 1)
    with pytest.raises(CertificateInvalid, match="doesn't come after"):
        build(chain.licenses, id, 1, state_at=before)


# --- what is refused ---------------------------------------------------------------------------------------


def accepted_flips(data, book, step):
    """Which single flipped bits still verify; of every `step`-th one."""
    accepted = []
    for bit in range(0, 8 * len(data), step):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            verify(bytes(flipped), book)
            accepted.append(bit)
        except CertificateInvalid:
            continue
    return accepted


def test_every_flipped_bit(chain, book, printed):
    data = build(chain.licenses, printed, 1)
    assert verify(data, book)
    assert accepted_flips(data, book, 1) == []


def test_flipped_bits_of_tag_and_state(chain, book, printed):
    """13 and 8 have no common divisor: each of a byte's bits gets its turn."""
    data = build(chain.licenses, printed, 1, state_at="latest", tag=tag_of(printed))
    assert verify(data, book)
    assert accepted_flips(data, book, 13) == []


def test_rehashed_forgery(chain, book, printed):
    """Another file's hash in the log, and every hash above it calculated anew: consistent, never anchored."""
    data = build(chain.licenses, printed, 1)
    trusted = anchor_from(chain.rpc, verify(data, book).blocks, newest="latest")
    parts = document.read(data)
    (leaf,) = parts.proof.nodes
    path, receipt = rlp_codec.decode_list(leaf)
    assert receipt.count(bytes.fromhex(FILE_HASH)) == 1
    receipt = receipt.replace(bytes.fromhex(FILE_HASH), b"\x66" * 32)
    fields = list(parts.header.fields)
    fields[[name for name, _ in FIELDS].index("receiptsRoot")] = trie.root([receipt])
    proof = replace(parts.proof, nodes=[rlp_codec.encode([path, receipt])])
    parts = replace(parts, header=Header(tuple(fields)), proof=proof)
    forged = document.write(parts, establish(parts))
    claimed = verify(forged, book)
    assert (claimed.anchored, claimed.print.file_hash) == (False, b"\x66" * 32)
    assert claimed.block.number == verify(data, book).block.number
    with pytest.raises(BlockNotTrusted):
        verify(forged, book, trusted)
    with pytest.raises(BlockNotTrusted):
        anchored(chain, book, forged)


def test_clone_contract(chain, book, owner, printer):
    """The same code at another address logs the same events; the reader's address book tells them apart."""
    clone, _ = deploy_contracts(chain.rpc)
    order = chain.order(owner.address, printer.address, FILE_HASH, 3, "cloned")
    for licenses in (chain.licenses, clone):
        chain.send(owner, licenses.issue_call(order), licenses)
        consume(chain, printer, order.id, 1, licenses)
    real, cloned = (build(licenses, order.id, 1) for licenses in (chain.licenses, clone))
    assert anchored(chain, book, real).anchored
    with pytest.raises(ForeignContract):
        verify(cloned, book)
    # Nor does the clone's proof hold under our contract's name.
    members = json.loads(cloned) | {"contract": chain.licenses.address.lower()}
    with pytest.raises(CertificateInvalid, match="isn't a LicenseUsed of the contract"):
        verify(canonical_json.dumps(members), book)


def test_other_chain(chain, book, printed, tmp_path):
    data = build(chain.licenses, printed, 1)
    elsewhere = canonical_json.dumps(json.loads(data) | {"chainId": 10})
    with pytest.raises(ForeignContract, match="chain 10"):
        verify(elsewhere, book)
    # Even where the same address is ours on both chains: our node is of one of them.
    for id in (chain.chain_id, 10):
        entry = replace(address_book.load(book, chain.chain_id, "PrintLicense"), chain_id=id)
        address_book.store(tmp_path, entry)
    blocks = verify(elsewhere, tmp_path).blocks
    with pytest.raises(OtherChain):
        verify(elsewhere, tmp_path, anchor_from(chain.rpc, blocks, newest="latest"))


def test_block_that_isnt_final_isnt_trusted(chain, book, printed):
    data = build(chain.licenses, printed, 1)
    blocks = verify(data, book).blocks
    final = int(chain.rpc.call("eth_getBlockByNumber", ["finalized", False])["number"], 16)
    assert blocks[0].number > final, "anvil calls a block final when 64 others follow"
    with pytest.raises(BlockNotTrusted):
        verify(data, book, anchor_from(chain.rpc, blocks))


def test_unknown_copy(chain, printed):
    with pytest.raises(PrintNotFound, match="Copy 2"):
        build(chain.licenses, printed, 2)


class Between:
    """A node's answers, some of them changed on the way."""

    def __init__(self, rpc, **changes):
        self._rpc = rpc
        self._changes = changes

    def call(self, method, params):
        answer = self._rpc.call(method, params)
        return self._changes[method](answer) if method in self._changes else answer

    def batch(self, calls):
        return [self.call(*call) for call in calls]


def through(chain, **changes):
    return PrintLicense(Between(chain.rpc, **changes), chain.licenses.address, chain.licenses.since)


def refuse(answer):
    raise NodeRefused(-32601, "the method doesn't exist")


def refuse_otherwise(answer):
    raise NodeRefused(-32600, "Unsupported method")


@pytest.mark.parametrize("refuse", [refuse, refuse_otherwise])
def test_node_without_block_receipts(chain, printed, refuse):
    assert build(through(chain, eth_getBlockReceipts=refuse), printed, 1) == build(chain.licenses, printed, 1)


def test_node_that_lists_nodes_inside_their_parent_too(chain, printed):
    """What has no hash of its own stands in the node above; a second time would be a node too many."""

    def longer(proof):
        (storage,) = proof["storageProof"]
        return proof | {"storageProof": [storage | {"proof": [*storage["proof"], "0xc22001"]}]}

    built = build(through(chain, eth_getProof=longer), printed, 1, state_at="latest")
    assert built == build(chain.licenses, printed, 1, state_at="latest")


def test_a_sealed_print_without_a_serial(chain, book, owner, printer):
    id = issue(chain, owner, printer, "no serial")
    zero = bytes(32)
    chain.send(printer, chain.licenses.use_license_and_log_call(id, FILE_HASH, 1, b"\x09" * 32, zero, zero))
    verified = anchored(chain, book, build(chain.licenses, id, 1))
    assert "No serial was logged with it." in explain(verified).proven


@pytest.mark.parametrize("other", [{"copy": 2}, {"id": 5}, {"serial": "A"}, {"address": "0x" + "7b" * 20}])
def test_tag_of_another_part(chain, printed, other):
    with pytest.raises(CertificateInvalid, match="tag"):
        build(chain.licenses, printed, 1, tag=replace(tag_of(printed), **other))


@pytest.mark.parametrize("address", ["nonsense", "0x" + "00" * 12 + TAG_ADDRESS[2:], TAG_ADDRESS[2:]])
def test_a_tag_that_is_none(printed, address):
    with pytest.raises(TagInvalid):
        Tag(printed, 1, SERIAL, address)


def test_a_tag_may_have_its_key(chain, book, owner, printer):
    """It isn't in the file."""
    id = issue(chain, owner, printer, "with a key")
    key = TagKey.generate()
    tag = Tag(id, 1, SERIAL, key.address, key)
    data = chain.licenses.use_license_and_log_call(
        id, FILE_HASH, 1, b"\x01" * 32, b"\x02" * 32, tag.commitment
    )
    chain.send(printer, data)
    built = build(chain.licenses, id, 1, tag=tag)
    assert verify(built, book).tag == tag.public
    assert tag.url("https://parts.example").split("#")[1].encode() not in built


@pytest.mark.parametrize("state_at", ["pending", "", "0x1", -1, 1.5])
def test_a_block_that_is_none(chain, printed, state_at):
    with pytest.raises(CertificateInvalid, match="isn't a block"):
        build(chain.licenses, printed, 1, state_at=state_at)


def test_a_block_of_the_future(chain, printed):
    with pytest.raises(NodeInconsistent, match="doesn't have the block"):
        build(chain.licenses, printed, 1, state_at=10**9)


def test_node_that_shows_another_copy(chain, owner, printer):
    """Its log says copy 3; the receipt, which leads to the block, says 1."""
    id = issue(chain, owner, printer, "shown", copies=4)
    consume(chain, printer, id, 1)

    def lie(logs):
        return [log | {"data": f"0x{3:064x}" + log["data"][66:]} for log in logs]

    with pytest.raises(NodeInconsistent, match="copy 1"):
        build(through(chain, eth_getLogs=lie), id, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"eth_getBlockReceipts": lambda receipts: []},
        {"eth_getBlockReceipts": lambda receipts: [receipts[0] | {"cumulativeGasUsed": "0x1"}]},
        {"eth_getBlockByHash": lambda block: block | {"stateRoot": "0x" + "11" * 32}},
        {"eth_getBlockByHash": lambda block: block | {"hash": "0x" + "11" * 32}},
        {"eth_getBlockByHash": lambda block: None},
        {"eth_getBlockByNumber": lambda block: block | {"stateRoot": "0x" + "11" * 32}},
        {"eth_getBlockByNumber": lambda block: None},
        {"eth_getBlockReceipts": refuse, "eth_getTransactionReceipt": lambda receipt: None},
    ],
)
def test_node_that_contradicts_itself(chain, printed, changes):
    with pytest.raises(NodeInconsistent):
        build(through(chain, **changes), printed, 1, state_at="latest")


def test_a_block_that_was_replaced_meanwhile(chain, owner, printer, printed):
    """The block at the height isn't the one of the event any more: by its hash it is told apart."""
    other = chain.rpc.call("eth_getBlockByNumber", ["0x1", False])
    with pytest.raises(NodeInconsistent, match="hash"):
        build(through(chain, eth_getBlockByHash=lambda block: other), printed, 1)


def without(answer, *names):
    return {name: value for name, value in answer.items() if name not in names}


@pytest.mark.parametrize(
    "changes",
    [
        {"eth_getProof": lambda proof: {}},
        {"eth_getProof": lambda proof: None},
        {"eth_getProof": lambda proof: proof | {"storageProof": []}},
        {"eth_getProof": lambda proof: proof | {"accountProof": ["0xzz"]}},
        {"eth_getBlockReceipts": lambda found: [without(receipt, "transactionHash") for receipt in found]},
        {
            "eth_getBlockReceipts": lambda found: [
                receipt | {"logs": [without(log, "logIndex") for log in receipt["logs"]]} for receipt in found
            ]
        },
        {"eth_getBlockReceipts": lambda found: "x"},
        {"eth_getBlockReceipts": lambda found: {"a": 1}},
        {"eth_getBlockReceipts": lambda found: [1]},
        {"eth_getBlockReceipts": lambda found: [receipt | {"cumulativeGasUsed": "zz"} for receipt in found]},
        {"eth_getBlockReceipts": refuse, "eth_getBlockByHash": lambda block: without(block, "transactions")},
        {"eth_getBlockByHash": lambda block: without(block, "hash")},
        {"eth_getBlockByHash": lambda block: block | {"hash": 5}},
        {"eth_getBlockByHash": lambda block: [1]},
        {"eth_getBlockByNumber": lambda block: [1]},
        {"eth_getLogs": lambda logs: None},
        {"eth_getLogs": lambda logs: [without(log, "blockHash") for log in logs]},
        {"eth_getLogs": lambda logs: [1]},
    ],
)
def test_node_that_answers_something_else(chain, printed, changes):
    with pytest.raises(NodeInconsistent):
        build(through(chain, **changes), printed, 1, state_at="latest")


@pytest.mark.parametrize("answer", [[1], {}, {"number": "zz"}, {"number": "0x7fffffff"}, {"number": 5}, "x"])
def test_anchor_from_a_node_that_answers_something_else(chain, book, printed, answer):
    blocks = verify(build(chain.licenses, printed, 1), book).blocks
    rpc = Between(chain.rpc, eth_getBlockByNumber=lambda block: answer)
    with pytest.raises(NodeInconsistent):
        anchor_from(rpc, blocks)


# --- without network ---------------------------------------------------------------------------------------

OFFLINE = """
import socket, sys
from pathlib import Path
def refuse(*arguments, **options):
    raise AssertionError("verification asked for the network")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from imprimatur.certificate import Anchor, verify
data, book, hash = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), bytes.fromhex(sys.argv[3])
verified = verify(data, book, Anchor(int(sys.argv[4]), frozenset({hash})))
print(verified.anchored, verified.print.copy)
"""


def without_network():
    """Commands that run another one with networking off; the second one where the system allows it."""
    yield []
    unshare = shutil.which("unshare")
    for options in ("-n", "-rn"):
        if unshare and not subprocess.run([unshare, options, "true"], capture_output=True).returncode:
            yield [unshare, options]
            return


def test_networking_off(chain, book, printed, tmp_path):
    data = build(chain.licenses, printed, 1)
    path = Path(tmp_path / "part.json")
    path.write_bytes(data)
    hash = verify(data, book).block.hash.hex()
    for prefix in without_network():
        command = [*prefix, sys.executable, "-c", OFFLINE, path, book, hash, str(chain.chain_id)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "True 1\n"), done.stderr


def test_anchor_is_of_one_chain(chain, book, printed):
    data = build(chain.licenses, printed, 1)
    hashes = frozenset(block.hash for block in verify(data, book).blocks)
    with pytest.raises(OtherChain):
        verify(data, book, Anchor(chain.chain_id + 1, hashes))
