"""Building a certificate from a node. The node's answers are checked, and what comes out is read again."""

from typing import Any

from imprimatur.certificate import document
from imprimatur.certificate.errors import CertificateInvalid, NodeInconsistent, PrintNotFound, understanding
from imprimatur.certificate.license_state import storage_slot
from imprimatur.certificate.parts import Opening, Parts, ReceiptProof, StateProof
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
from imprimatur.serials.tag import Tag

_NAMES = ("latest", "safe", "finalized", "earliest")
"""Of blocks that have a hash."""


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
        tag: the part's; it opens the commitment in the file. Whoever reads it then knows the serial. The
            tag's key isn't in it.

    Raises:
        PrintNotFound: no such copy was consumed.
        NodeInconsistent: the node's answers contradict each other, for instance because a block was replaced
            meanwhile, or aren't answers at all.
        NodeUnreachable, NodeRefused: no usable answer.
        CertificateInvalid: the tag or `state_at` doesn't fit the print, or the certificate gets too large.
        ProofInvalid: the node's state proof doesn't lead to the license.
    """
    if tag and (tag.id, tag.copy) != (id, copy):
        raise CertificateInvalid(f"the tag is that of copy {tag.copy} of the license {format_id(tag.id)}.")
    rpc = licenses.rpc
    event = _event(licenses, id, copy)
    header = _header(rpc, "eth_getBlockByHash", event.block_hash)
    index, log, encoded = _receipts(rpc, header, event)
    if trie.root(encoded) != header.receipts_root:
        raise NodeInconsistent("The node's receipts don't lead to their block's receiptsRoot. Ask again.")
    parts = Parts(
        chain_id=chain_id(rpc),
        contract=_raw(licenses.address),
        header=header,
        proof=ReceiptProof(index, log, trie.proof(encoded, index)),
        state=None if state_at is None else _state(licenses, id, state_at),
        opening=Opening(tag.serial, tag.address) if tag else None,
    )
    return _written(parts, id, copy)


def _written(parts: Parts, id: int, copy: int) -> bytes:
    """The file, once it was read again and proves what was asked for."""
    data = document.write(parts, establish(parts))
    parts = document.read(data)
    again = establish(parts)
    if document.write(parts, again) != data:
        raise NodeInconsistent("What the node answered makes no certificate. Ask again, or another node.")
    if (again.print.id, again.print.copy) != (id, copy):
        raise NodeInconsistent(
            f"The node showed copy {again.print.copy} of the license {format_id(again.print.id)} instead of "
            f"copy {copy} of {format_id(id)}. Ask another node."
        )
    return data


def _event(licenses: PrintLicense, id: int, copy: int) -> DecodedEvent:
    with understanding("the license's prints"):
        for event in licenses.events("LicenseUsed", id=id):
            if event.values["copy"] == copy:
                return event
    raise PrintNotFound(f"Copy {copy} of the license {format_id(id)} hasn't been consumed.")


def _header(rpc: Rpc, method: str, block: str) -> Header:
    found = rpc.call(method, [block, False])
    if found is None:
        raise NodeInconsistent(f"The node doesn't have the block {block}. Ask again, or another node.")
    with understanding(f"the block {block}"):
        header, hash = header_of(found), found["hash"]
    if document.hexadecimal(header.hash) != hash or (len(block) == len(hash) and block != hash):
        raise NodeInconsistent(
            f"The header of block {header.number} doesn't have the hash that the node says. Does this chain "
            "hash its headers in a way of its own?"
        )
    return header


def _receipts(rpc: Rpc, header: Header, event: DecodedEvent) -> tuple[int, int, list[bytes]]:
    """Index of the event's transaction in its block, index of its log in the receipt, and all receipts."""
    with understanding(f"the receipts of block {header.number}"):
        receipts = _asked_for_receipts(rpc, header)
        index, log = _place(receipts, event)
        return index, log, [encode_receipt(receipt) for receipt in receipts]


def _asked_for_receipts(rpc: Rpc, header: Header) -> list[dict[str, Any]]:
    try:
        found = rpc.call("eth_getBlockReceipts", [hex(header.number)])
    except NodeRefused:
        # Nodes without this method say so in many ways. Was it something else, the next question fails too.
        block = rpc.call("eth_getBlockByHash", [document.hexadecimal(header.hash), False])
        found = [rpc.call("eth_getTransactionReceipt", [hash]) for hash in block["transactions"]]
    receipts: list[dict[str, Any]] = found or []
    if None in receipts:
        raise NodeInconsistent("The node lost a receipt while it was asked. Ask again.")
    return receipts


def _place(receipts: list[dict[str, Any]], event: DecodedEvent) -> tuple[int, int]:
    for index, receipt in enumerate(receipts):
        if receipt["transactionHash"] == event.transaction_hash:
            for log, found in enumerate(receipt["logs"]):
                if int(found["logIndex"], 16) == event.log_index:
                    return index, log
    raise NodeInconsistent("The node's receipts don't hold the event that it told before. Ask again.")


def _state(licenses: PrintLicense, id: int, state_at: int | str) -> StateProof:
    if state_at not in _NAMES and not (isinstance(state_at, int) and state_at >= 0):
        raise CertificateInvalid(f"{state_at} isn't a block: a number, {', '.join(_NAMES)}.")
    name = hex(state_at) if isinstance(state_at, int) else state_at
    header = _header(licenses.rpc, "eth_getBlockByNumber", name)
    slot = document.hexadecimal(storage_slot(id))
    found = licenses.rpc.call("eth_getProof", [licenses.address, [slot], hex(header.number)])
    with understanding(f"the state of block {header.number}"):
        storage = found["storageProof"][0]["proof"]
        return StateProof(header, _referenced(found["accountProof"]), _referenced(storage))


def _referenced(nodes: list[str]) -> list[bytes]:
    """The nodes that are named by a hash; some nodes also list those that stand inside their parent."""
    raw = [_raw(node) for node in nodes]
    return raw[:1] + [node for node in raw[1:] if len(node) >= DIGEST_SIZE]


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
