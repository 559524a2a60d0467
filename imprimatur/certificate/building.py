"""Building a certificate from a node. The node's answers are checked; what comes out verifies."""

from typing import Any

from imprimatur.certificate import document
from imprimatur.certificate.errors import NodeInconsistent, PrintNotFound
from imprimatur.certificate.license_state import storage_slot
from imprimatur.certificate.parts import Parts, ReceiptProof, StateProof, Tag
from imprimatur.certificate.verifying import establish
from imprimatur.chain import trie
from imprimatur.chain.headers import Header, header_of
from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.keccak import DIGEST_SIZE
from imprimatur.chain.node import chain_id
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.receipts import encode_receipt
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.license_id import format_id

_METHOD_NOT_FOUND = -32601
"""JSON-RPC 2.0."""


def build(
    licenses: PrintLicense, id: int, copy: int, state_at: int | str | None = None, tag: Tag | None = None
) -> bytes:
    """The certificate of one copy, as the bytes of its file.

    Args:
        licenses: the contract, and the node to ask.
        id: of the license.
        copy: number of the consumed copy.
        state_at: block, or its name (`finalized`, `latest`), as of which the license's state is proven too;
            the print's block or a later one. A state other than at the print's block needs a trusted hash of
            its own.
        tag: opens the commitment in the file. Whoever reads it then knows the serial.

    Raises:
        PrintNotFound: no such copy was consumed.
        NodeInconsistent: the node's answers contradict each other, for instance because a block was replaced
            meanwhile.
        CertificateInvalid: the tag or `state_at` doesn't fit the print.
        ProofInvalid: the node's state proof doesn't lead to the license.
    """
    rpc = licenses.rpc
    event = _event(licenses, id, copy)
    header = _header(rpc, hex(event.block_number))
    receipts = _receipts(rpc, header)
    encoded = [encode_receipt(receipt) for receipt in receipts]
    if trie.root(encoded) != header.receipts_root:
        raise NodeInconsistent("The node's receipts don't lead to their block's receiptsRoot. Ask again.")
    index, log = _place(receipts, event)
    parts = Parts(
        chain_id=chain_id(rpc),
        contract=_raw(licenses.address),
        header=header,
        proof=ReceiptProof(index, log, trie.proof(encoded, index)),
        state=None if state_at is None else _state(licenses, id, state_at),
        tag=tag,
    )
    return document.write(parts, establish(parts))


def _event(licenses: PrintLicense, id: int, copy: int) -> DecodedEvent:
    for event in licenses.events("LicenseUsed", id=id):
        if event.values["copy"] == copy:
            return event
    raise PrintNotFound(f"Copy {copy} of the license {format_id(id)} hasn't been consumed.")


def _header(rpc: Rpc, block: str) -> Header:
    found = rpc.call("eth_getBlockByNumber", [block, False])
    if found is None:
        raise NodeInconsistent(f"The node doesn't have the block {block}. Ask again, or another node.")
    header = header_of(found)
    if document.hexadecimal(header.hash) != found["hash"]:
        raise NodeInconsistent(
            f"The header of block {header.number} doesn't have the hash that the node says. Does this chain "
            "hash its headers in a way of its own?"
        )
    return header


def _receipts(rpc: Rpc, header: Header) -> list[dict[str, Any]]:
    try:
        found = rpc.call("eth_getBlockReceipts", [hex(header.number)])
    except NodeRefused as error:
        if error.code != _METHOD_NOT_FOUND:
            raise
        block = rpc.call("eth_getBlockByNumber", [hex(header.number), False])
        found = [rpc.call("eth_getTransactionReceipt", [hash]) for hash in block["transactions"]]
    receipts: list[dict[str, Any]] = found or []
    if None in receipts:
        raise NodeInconsistent("The node lost a receipt while it was asked. Ask again.")
    return receipts


def _place(receipts: list[dict[str, Any]], event: DecodedEvent) -> tuple[int, int]:
    """Index of the event's transaction in its block and of its log in the receipt."""
    for index, receipt in enumerate(receipts):
        if receipt["transactionHash"] == event.transaction_hash:
            for log, found in enumerate(receipt["logs"]):
                if int(found["logIndex"], 16) == event.log_index:
                    return index, log
    raise NodeInconsistent("The node's receipts don't hold the event that it told before. Ask again.")


def _state(licenses: PrintLicense, id: int, state_at: int | str) -> StateProof:
    header = _header(licenses.rpc, hex(state_at) if isinstance(state_at, int) else state_at)
    slot = document.hexadecimal(storage_slot(id))
    found = licenses.rpc.call("eth_getProof", [licenses.address, [slot], hex(header.number)])
    storage = found["storageProof"][0]["proof"]
    return StateProof(header, _referenced(found["accountProof"]), _referenced(storage))


def _referenced(nodes: list[str]) -> list[bytes]:
    """The nodes that are named by a hash; some nodes also list those that stand inside their parent."""
    raw = [_raw(node) for node in nodes]
    return raw[:1] + [node for node in raw[1:] if len(node) >= DIGEST_SIZE]


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
