"""What a node says at one moment. Nothing here believes that two answers come from the same node."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from imprimatur.chain.outbox.records import Sender
from imprimatur.chain.outbox.rules import Finality
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc, quantity
from imprimatur.chain.transactions import Fees, fees_from
from imprimatur.errors import ImprimaturError

Block = tuple[int, str]
"""Number and hash."""


class WrongChain(ImprimaturError):
    """The node belongs to another chain than the outbox."""


@dataclass(frozen=True, slots=True)
class View:
    """A look at the chain. Wei, and wei per gas."""

    head: int
    head_hash: str
    timestamp: int
    """Of the newest block, Unix seconds."""
    tagged: Block | None
    """The block with the finality rule's tag."""
    count: int
    """How many transactions of the sender are in blocks: its next nonce."""
    balance: int
    base_fee: int
    fees: Fees
    """To offer now."""


def _answers(rpc: Rpc, calls: list[tuple[str, list[Any]]]) -> list[Any]:
    """Results of a batch in which nothing may be refused."""
    answers = rpc.batch(calls)
    for answer in answers:
        if isinstance(answer, NodeRefused):
            raise answer
    return answers


def look(rpc: Rpc, sender: Sender, finality: Finality) -> View:
    """One batch of questions.

    Raises:
        WrongChain: the node belongs to another chain.
        NodeUnreachable, NodeRefused
    """
    calls: list[tuple[str, list[Any]]] = [
        ("eth_maxPriorityFeePerGas", []),
        ("eth_chainId", []),
        ("eth_getTransactionCount", [sender.address, "latest"]),
        ("eth_getBalance", [sender.address, "latest"]),
        ("eth_getBlockByNumber", ["latest", False]),
    ]
    if finality.tag is not None:
        calls.append(("eth_getBlockByNumber", [finality.tag, False]))
    tip, *answers = rpc.batch(calls)
    for answer in answers:
        if isinstance(answer, NodeRefused):
            raise answer
    chain_id, count, balance, head, *tagged = answers
    if quantity(chain_id) != sender.chain_id:
        raise WrongChain(
            f"The chain node belongs to chain {quantity(chain_id)}; this outbox sends on chain "
            f"{sender.chain_id}. Check the node's address."
        )
    if not isinstance(head, dict):
        raise NodeUnreachable("The chain node has no newest block.")
    return View(
        head=quantity(head.get("number")),
        head_hash=str(head.get("hash")),
        timestamp=quantity(head.get("timestamp")),
        tagged=_block(tagged[0]) if tagged and tagged[0] else None,
        count=quantity(count),
        balance=quantity(balance),
        base_fee=quantity(head.get("baseFeePerGas", "0x0")),
        fees=fees_from(head, tip),
    )


def receipts(rpc: Rpc, hashes: Collection[str]) -> dict[str, dict[str, Any]]:
    """The receipts of those transactions that are in a block, by hash."""
    answers = _answers(rpc, [("eth_getTransactionReceipt", [hash]) for hash in hashes]) if hashes else []
    found = zip(hashes, answers, strict=True)
    return {
        hash: receipt for hash, receipt in found if isinstance(receipt, dict) and receipt.get("blockHash")
    }


def block_of(receipt: dict[str, Any]) -> Block:
    """Where a mined transaction stands."""
    return quantity(receipt.get("blockNumber")), str(receipt.get("blockHash"))


def _block(header: dict[str, Any]) -> Block:
    return quantity(header.get("number")), str(header.get("hash"))


def final_blocks(rpc: Rpc, finality: Finality, view: View, blocks: Iterable[Block]) -> set[Block]:
    """Which of these blocks are final."""
    blocks = set(blocks)
    found = _final_hashes(rpc, finality, view, {number for number, _ in blocks})
    return {(number, hash) for number, hash in blocks if found.get(number) == hash}


def is_replaced(rpc: Rpc, finality: Finality, view: View, block: Block) -> bool:
    """Whether another block is final where this one was."""
    found = _final_hashes(rpc, finality, view, {block[0]}).get(block[0])
    return found is not None and found != block[1]


def _final_hashes(rpc: Rpc, finality: Finality, view: View, numbers: set[int]) -> dict[int, str]:
    """The hashes of those of these blocks that are final.

    A block counts when the headers from its witness down to it hang together by their parents' hashes. Nodes
    behind a balancer may follow different branches; headers that hang together describe one.
    """
    tagged = None if view.tagged is None else view.tagged[0]
    witnesses = {number: finality.witness(number, view.head, tagged) for number in numbers}
    spans = {number: range(number, w + 1) for number, w in witnesses.items() if w is not None}
    needed = sorted({number for span in spans.values() for number in span})
    if not needed:
        return {}
    answers = _answers(rpc, [("eth_getBlockByNumber", [hex(number), False]) for number in needed])
    headers = dict(zip(needed, answers, strict=True))
    if view.tagged is not None:
        top = headers.get(view.tagged[0])
        if top is not None and top.get("hash") != view.tagged[1]:
            return {}  # From a node that doesn't know the tagged block yet.
    return {
        number: headers[number]["hash"] for number, span in spans.items() if _hangs_together(headers, span)
    }


def _hangs_together(headers: dict[int, dict[str, Any] | None], span: range) -> bool:
    expected: str | None = None
    for number in span:
        header = headers[number]
        if not isinstance(header, dict) or (expected is not None and header.get("parentHash") != expected):
            return False
        expected = str(header.get("hash"))
    return True


OLDER_BLOCKS = 512
"""Blocks that are searched one by one when a node has forgotten their states."""


def spender_of(rpc: Rpc, sender: Sender, nonce: int, view: View, since: int) -> tuple[str, Block] | None:
    """The mined transaction that used a nonce, and its block: found, not concluded from what is missing.

    Nodes without an archive have the states of some hundred blocks only; what one refuses to tell is unknown,
    and looked for above.

    Args:
        since: a block number at which the nonce was still free, as far as is known.

    Returns:
        None when no node shows it.
    """
    low, high = since, view.head
    used = _is_used(rpc, sender, nonce, low)
    forgotten = used is None
    if used:
        low = 0
    while low < high:
        middle = (low + high) // 2
        used = _is_used(rpc, sender, nonce, middle)
        forgotten = forgotten or used is None
        low, high = (low, middle) if used else (middle + 1, high)
    # Whatever is found is checked, so that a wrong turn costs time only. Blocks outlive their states.
    older = range(low - 1, max(-1, since - 1, low - 1 - OLDER_BLOCKS), -1) if forgotten else ()
    found = (_spender_in(rpc, sender, nonce, number) for number in (low, *older))
    return next((spender for spender in found if spender is not None), None)


def _is_used(rpc: Rpc, sender: Sender, nonce: int, number: int) -> bool | None:
    """Whether a nonce was used by the end of a block; None when the node has forgotten its state."""
    try:
        return quantity(rpc.call("eth_getTransactionCount", [sender.address, hex(number)])) > nonce
    except NodeRefused:
        return None


def _spender_in(rpc: Rpc, sender: Sender, nonce: int, number: int) -> tuple[str, Block] | None:
    block = rpc.call("eth_getBlockByNumber", [hex(number), True])
    for transaction in (block or {}).get("transactions", ()):
        mine = str(transaction.get("from")).lower() == sender.address.lower()
        if mine and quantity(transaction.get("nonce")) == nonce:
            return str(transaction.get("hash")), _block(block)
    return None
