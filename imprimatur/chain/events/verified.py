"""Reading that believes headers only: events come from receipts that lead to the header's `receiptsRoot`.

Per block: the header's fields have the block's hash. Its bloom filter, which the hash covers, says whether
the block can hold an event of ours; if not, it holds none. Otherwise all receipts of the block are fetched
and the root of their trie is compared with the header's. So relative to the headers a node can neither
hide, add nor change an event, its order, block or time. Only the transaction's hash stays the node's word:
receipts don't contain it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from imprimatur.chain import trie
from imprimatur.chain.events.errors import NodeInconsistent, NodeLies
from imprimatur.chain.events.layout import TOPIC_LENGTH, LogMalformed
from imprimatur.chain.events.page import (
    HASH_LENGTH,
    METHOD_NOT_FOUND,
    Head,
    Page,
    check_chained,
    head_of,
    header_calls,
    present,
)
from imprimatur.chain.events.row import Row
from imprimatur.chain.events.source import Sources
from imprimatur.chain.headers import Header, HeaderInvalid, header_of
from imprimatur.chain.receipts import ReceiptInvalid, encode_receipt
from imprimatur.chain.rpc import NodeRefused, Rpc

MOST_SUSPECTS = 50
"""Blocks whose receipts are asked for at once."""
ADDRESS_LENGTH = 42
"""Characters of an address with its 0x."""

Answer = dict[str, Any]


class Fetched(NamedTuple):
    """Successive blocks as a node told them, and the receipts of those that may hold our events."""

    heads: list[Head]
    blocks: Sequence[Answer]
    receipts: dict[int, list[Answer]]


def fetch(rpc: Rpc, sources: Sources, first: int, last: int) -> Fetched:
    """Ask for the blocks `first` to `last`, or the part of them that the node has. Nothing is verified yet.

    Raises:
        RangeRefused: the range is too large for the node.
        NodeUnreachable: no usable answer.
        NodeRefused: the node can't tell receipts at all.
        NodeInconsistent: the answer is incomplete.
    """
    blocks = present(rpc.batch(header_calls(first, last)))
    heads = [head_of(number, block) for number, block in enumerate(blocks, first)]
    # What the bloom filter says is checked with the header.
    suspects = [
        (head, block) for head, block in zip(heads, blocks, strict=True) if sources.may_be_in(head.bloom)
    ]
    if len(suspects) > MOST_SUSPECTS:
        # All receipts of a page are in memory at once: the rest is for the next page.
        end = suspects[MOST_SUSPECTS][0].number - first
        heads, blocks, suspects = heads[:end], blocks[:end], suspects[:MOST_SUSPECTS]
    receipts = {
        head.number: found for (head, _), found in zip(suspects, _receipts(rpc, suspects), strict=True)
    }
    return Fetched(heads, blocks, receipts)


def digest(sources: Sources, fetched: Fetched) -> Page:
    """The rows in what was fetched, verified.

    Raises:
        NodeInconsistent: the answer is incomplete.
        NodeLies: the answer contradicts a header's hash.
        LogMalformed: the contract isn't what it is said to be.
    """
    heads, blocks, receipts = fetched
    rows: list[Row] = []
    previous: Head | None = None
    for head, block in zip(heads, blocks, strict=True):
        header = checked_header(head, block)
        if previous is not None:
            check_chained(previous, head)
        previous = head
        if head.number in receipts:
            check_receipts(head, header, receipts[head.number])
            rows += _rows(sources, head, block, receipts[head.number])
    return Page(heads, rows)


def checked_header(head: Head, block: Answer) -> Header:
    """The header behind a node's block.

    Raises:
        NodeLies: it has another hash than the node says.
    """
    try:
        header = header_of(block)
    except HeaderInvalid as error:
        raise NodeLies(head.number, str(error)) from error
    # From the hashed bytes, not from the JSON: its hexadecimal could be read in more than one way.
    hashed = Head(
        header.number,
        "0x" + header.hash.hex(),
        "0x" + header.parent_hash.hex(),
        header.timestamp,
        int.from_bytes(header.logs_bloom, "big"),
    )
    if hashed != head:
        raise NodeLies(head.number, "its header's fields don't have the hash that it names")
    return header


def check_receipts(head: Head, header: Header, receipts: Sequence[Answer]) -> None:
    """Raises NodeLies if the receipts aren't all of the block's, unchanged and in order."""
    try:
        root = trie.root([encode_receipt(receipt) for receipt in receipts])
    except ReceiptInvalid as error:
        raise NodeLies(head.number, str(error)) from error
    if root != header.receipts_root:
        raise NodeLies(head.number, "its receipts don't lead to the header's receiptsRoot")


def _receipts(rpc: Rpc, blocks: Sequence[tuple[Head, Answer]]) -> list[list[Answer]]:
    """The receipts of each block, by its hash: a reorganisation in between can't mix two blocks."""
    if not blocks:
        return []
    answers = rpc.batch([("eth_getBlockReceipts", [head.hash]) for head, _ in blocks])
    refused = next((answer for answer in answers if isinstance(answer, NodeRefused)), None)
    if refused is not None and refused.code == METHOD_NOT_FOUND:
        return _receipts_one_by_one(rpc, blocks)
    found = []
    for (head, _), answer in zip(blocks, answers, strict=True):
        if isinstance(answer, NodeRefused):
            raise NodeInconsistent(head.number, f"it can't tell the receipts: {answer.message}")
        found.append(_list_of_receipts(head, answer))
    return found


def _receipts_one_by_one(rpc: Rpc, blocks: Sequence[tuple[Head, Answer]]) -> list[list[Answer]]:
    hashes = [_transactions(head, block) for head, block in blocks]
    answers = iter(rpc.batch([("eth_getTransactionReceipt", [hash]) for some in hashes for hash in some]))
    found = []
    for (head, _), some in zip(blocks, hashes, strict=True):
        receipts = [next(answers) for _ in some]
        for receipt in receipts:
            if isinstance(receipt, NodeRefused):
                raise receipt
            if isinstance(receipt, dict) and receipt.get("blockHash") != head.hash:
                raise NodeInconsistent(head.number, "a transaction has moved to another block")
        found.append(_list_of_receipts(head, receipts))
    return found


def _list_of_receipts(head: Head, answer: Any) -> list[Answer]:
    if not isinstance(answer, list) or not all(isinstance(receipt, dict) for receipt in answer):
        raise NodeInconsistent(head.number, "its receipts are missing")
    return answer


def _transactions(head: Head, block: Answer) -> list[str]:
    hashes = block.get("transactions")
    if not isinstance(hashes, list) or not all(
        isinstance(hash, str) and len(hash) == HASH_LENGTH for hash in hashes
    ):
        raise NodeInconsistent(head.number, "its transactions are missing")
    return hashes


def _rows(sources: Sources, head: Head, block: Answer, receipts: Sequence[Answer]) -> list[Row]:
    rows: list[Row] = []
    index = 0
    transactions = _transactions(head, block)
    if len(transactions) != len(receipts):
        raise NodeLies(head.number, "it has another number of transactions than of receipts")
    for transaction, receipt in zip(transactions, receipts, strict=True):
        for log in receipt["logs"]:
            row = _row(sources, head, transaction, log, index)
            index += 1
            if row is not None:
                rows.append(row)
    return rows


def _row(sources: Sources, head: Head, transaction: str, log: Answer, index: int) -> Row | None:
    address, topics = log["address"], log["topics"]
    # The root was made of the bytes behind this text. What `bytes.fromhex` skips, or a length that moves a
    # border between two parts, would let one text have the bytes of another log.
    text = "".join([address, *topics])
    lengths = {len(topic) for topic in topics}
    if len(address) != ADDRESS_LENGTH or not lengths <= {TOPIC_LENGTH} or not text.isalnum():
        raise NodeLies(head.number, f"address or topics of log {index} aren't hexadecimal")
    source = sources.by_digits.get(address[2:].lower())
    layout = source[2].get(topics[0][2:].lower()) if source and topics else None
    if source is None or layout is None or head.number < source[1]:
        return None
    try:
        text, license = layout.read(topics, log["data"])
    except LogMalformed as error:
        # The receipts are the block's, so it isn't the node: another contract lives at this address.
        raise LogMalformed(f"{error} Block {head.number}, log {index} of {source[0]}.") from error
    return Row(
        source[0],
        layout.name,
        text,
        license,
        head.number,
        head.hash,
        head.timestamp,
        transaction,
        index,
    )
