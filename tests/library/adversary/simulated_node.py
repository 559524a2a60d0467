"""A chain node in this process, without a network, driven by a virtual clock and one seed."""

from collections.abc import Callable
from random import Random
from typing import Any

from library.adversary.clock import VirtualClock
from library.adversary.ledger import Block, Inclusion, Ledger, gas_needed, reverts
from library.adversary.market import NORMAL_BASE_FEE, Market
from library.adversary.pool import GAS_LIMIT, Pool
from library.adversary.signed import REFUSED, Signed, read

from imprimatur.chain.rpc import NodeRefused, Rpc

CHAIN_ID = 4711
METHOD_NOT_FOUND = -32601
REVERTED = 3
"""Code of a refused estimate (geth)."""
KEPT_STATES = 128
"""Blocks whose state a node without an archive still has (geth)."""
REMEMBERED = 50
"""Heads that are remembered for nodes that lag behind."""

Trace = Callable[[str], None]


def _no_trace(_line: str) -> None:
    return


class SimulatedNode(Rpc):
    """Nonces, pool, fees, blocks, branches and the finalized tag as a node has them.

    Args:
        seed: of everything that isn't decided by the caller.
        depth: the most blocks that ever leave the chain again.
        block_time: seconds between two blocks, on average; 0: blocks come when `mine` is called.
        epoch: the finalized block moves on by so many blocks at a time, and never less than `depth` behind.
    """

    def __init__(
        self,
        clock: VirtualClock,
        seed: int = 0,
        balances: dict[str, int] | None = None,
        depth: int = 3,
        block_time: float = 0.0,
        epoch: int = 4,
        trace: Trace = _no_trace,
    ) -> None:
        self.clock = clock
        self.depth = depth
        self.dice = Random(f"node {seed}")
        self.pool = Pool(CHAIN_ID)
        self.market = Market(Random(f"market {seed}"))
        known = {address.lower(): wei for address, wei in (balances or {}).items()}
        self.ledger = Ledger(str(seed), clock(), NORMAL_BASE_FEE, known)
        self.known: list[Signed] = []
        """Every transaction that was ever let in: its bytes may come back from anywhere."""
        self.lazy = 0.0
        """How likely a block leaves out what waits."""
        self._heads: list[tuple[float, Block]] = [(clock(), self.ledger.head)]
        self._finalized: dict[str, int] = {self.ledger.head.hash: 0}
        self._block_time = block_time
        self._epoch = epoch
        self._trace = trace
        if block_time:
            self._schedule()

    # --- the chain goes on

    def _schedule(self) -> None:
        self.clock.after(self._block_time * self.dice.uniform(0.5, 1.5), self._tick)

    def _tick(self) -> None:
        self.mine()
        self._schedule()

    def mine(self, base_fee: int | None = None) -> Block:
        """Make a block of what waits and pays enough."""
        fee = self.ledger.head.next_base_fee() if base_fee is None else base_fee
        other_gas = self.market.next_block(fee)
        least = self.market.tip if other_gas >= GAS_LIMIT else 1
        chosen: list[Signed] = []
        if self.dice.random() >= self.lazy:
            chosen = [t for t in self.pool.executable(self.ledger.head.nonces) if _pays(t, fee, least)]
        return self._grow(chosen, other_gas, base_fee)

    def _grow(self, chosen: list[Signed], other_gas: int, base_fee: int | None = None) -> Block:
        block = self.ledger.extend(self.clock(), chosen, other_gas, base_fee)
        self.pool.settle(block.nonces)
        self._moved()
        nonces = [inclusion.transaction.nonce for inclusion in block.inclusions]
        if nonces:
            self._trace(f"block {block.number} {block.hash[:8]} has nonces {nonces}")
        return block

    def _moved(self) -> None:
        settled = self.ledger.head.number - self.depth
        self._believe(max(self._finalized[self._heads[-1][1].hash], settled - settled % self._epoch))

    def _believe(self, finalized: int) -> None:
        head = self.ledger.head
        self._finalized[head.hash] = finalized
        self._heads = [*self._heads[-REMEMBERED:], (self.clock(), head)]

    def reorganise(self, depth: int, returned: float = 1.0, included: float = 0.5) -> None:
        """Another branch, longer by one block, takes the place of the newest `depth` blocks.

        Args:
            returned: share of their transactions that come back to the pool; the others are lost.
            included: how likely a block of the new branch holds what then waits.
        """
        if depth > self.depth:
            raise ValueError(f"{depth} blocks are more than were promised ({self.depth}).")
        taken = self.ledger.rewind(depth)
        if not taken:
            return
        self._trace(f"reorganisation: {len(taken)} blocks below {taken[-1].number}")
        for transaction in (inclusion.transaction for block in taken for inclusion in block.inclusions):
            if self.dice.random() < returned:
                self.submit(transaction)
        for _ in range(len(taken) + 1):
            waiting = list(self.pool.executable(self.ledger.head.nonces))
            fee = self.ledger.head.next_base_fee()
            chosen = [t for t in waiting if _pays(t, fee, 1)] if self.dice.random() < included else []
            block = self.ledger.extend(self.clock(), chosen, self.market.next_block(fee))
            self.pool.settle(block.nonces)
            nonces = [inclusion.transaction.nonce for inclusion in block.inclusions]
            self._trace(f"  instead: block {block.number} {block.hash[:8]} has nonces {nonces}")
        self._moved()

    def restore(self, depth: int) -> None:
        """The node comes back from a backup: `depth` blocks, promised or not, and its pool are gone."""
        self._trace(f"restored without {len(self.ledger.rewind(depth))} blocks and without its pool")
        self.pool.clear()
        settled = max(0, self.ledger.head.number - self.depth)
        self._believe(settled - settled % self._epoch)

    def restart(self, keep: float = 0.0) -> None:
        """The node comes back with only a part of its pool."""
        for transaction in self.pool:
            if self.dice.random() >= keep:
                self.pool.drop(transaction)

    def submit(self, transaction: Signed) -> bool:
        """A peer hands a transaction over; whether it is of use."""
        try:
            self._admit(transaction)
        except NodeRefused:
            return False
        return True

    def _admit(self, transaction: Signed) -> None:
        head = self.ledger.head
        nonce, balance = head.nonces.get(transaction.sender, 0), head.balances.get(transaction.sender, 0)
        self.pool.admit(transaction, nonce, balance)
        self.known.append(transaction)

    # --- what it answers

    def call(self, method: str, params: list[Any]) -> Any:
        return self.answer(method, params, self.ledger.head)

    def head_before(self, seconds: float) -> Block:
        """The newest block as it was so many seconds ago, also when it left the chain since."""
        moment = self.clock() - seconds
        return next((block for at, block in reversed(self._heads) if at <= moment), self._heads[0][1])

    def answer(self, method: str, params: list[Any], head: Block) -> Any:
        """What a node says that believes in `head`.

        Raises:
            NodeRefused: as geth words it.
        """
        found: Callable[..., Any] | None = getattr(self, "_" + method, None)
        if found is None:
            raise NodeRefused(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        return found(head, *params)

    def _eth_chainId(self, _head: Block) -> str:
        return hex(CHAIN_ID)

    def _eth_blockNumber(self, head: Block) -> str:
        return hex(head.number)

    def _eth_getBalance(self, head: Block, address: str, tag: str) -> str:
        return hex(self._at(head, tag).balances.get(address.lower(), 0))

    def _eth_getTransactionCount(self, head: Block, address: str, tag: str) -> str:
        sender = address.lower()
        if tag.startswith("0x") and int(tag, 16) < head.number - KEPT_STATES:
            raise NodeRefused(REFUSED, "missing trie node (path ) state is not available")
        nonce = self._at(head, tag).nonces.get(sender, 0)
        # A node that lags behind has its own, older pool.
        current = tag == "pending" and head is self.ledger.head
        return hex(self.pool.next_nonce(sender, nonce) if current else nonce)

    def _eth_sendRawTransaction(self, head: Block, raw: str) -> str:
        transaction = read(bytes.fromhex(raw.removeprefix("0x")))
        behind = head is not self.ledger.head and head.nonces.get(transaction.sender, 0) <= transaction.nonce
        try:
            self._admit(transaction)
        except NodeRefused as refused:
            # To a node that lags behind it looks good; nothing comes of it.
            if not (behind and refused.message.startswith("nonce too low")):
                raise
        return transaction.hash

    def _eth_getTransactionReceipt(self, head: Block, hash: str) -> dict[str, Any] | None:
        place = self.ledger.place_of(hash, head)
        if place is None:
            return None
        block, index = place
        return _receipt(block, index, block.inclusions[index])

    def _eth_getTransactionByHash(self, head: Block, hash: str) -> dict[str, Any] | None:
        place = self.ledger.place_of(hash, head)
        if place is not None:
            return _transaction(place[0].inclusions[place[1]].transaction, place[0])
        waiting = self.pool.find(hash) if head is self.ledger.head else None
        return None if waiting is None else _transaction(waiting, None)

    def _eth_getBlockByNumber(self, head: Block, tag: str, full: bool) -> dict[str, Any] | None:
        named = not tag.startswith("0x")
        block = self._at(head, tag) if named else self.ledger.seen_from(head, int(tag, 16))
        return None if block is None else _block(block, full)

    def _eth_estimateGas(self, head: Block, call: dict[str, Any], _tag: str = "latest") -> str:
        to, data = call["to"].lower(), bytes.fromhex(call.get("data", "0x").removeprefix("0x"))
        if reverts(to, data):
            raise NodeRefused(REVERTED, "execution reverted", "0x")
        if int(call.get("value", "0x0"), 16) > head.balances.get(call["from"].lower(), 0):
            raise NodeRefused(REFUSED, "insufficient funds for transfer")
        return hex(gas_needed(to, data))

    def _eth_maxPriorityFeePerGas(self, _head: Block) -> str:
        return hex(self.market.suggestion)

    def _at(self, head: Block, tag: str) -> Block:
        if tag in ("latest", "pending"):
            return head
        number = self._finalized[head.hash] if tag in ("finalized", "safe") else int(tag, 16)
        block = self.ledger.seen_from(head, number)
        if block is None:
            raise NodeRefused(REFUSED, "header not found")
        return block


def _pays(transaction: Signed, base_fee: int, least: int) -> bool:
    return min(transaction.tip, transaction.fee - base_fee) >= least


def _receipt(block: Block, index: int, inclusion: Inclusion) -> dict[str, Any]:
    earlier = sum(other.gas_used for other in block.inclusions[: index + 1])
    return {
        "type": "0x2",
        "status": "0x1" if inclusion.succeeded else "0x0",
        "transactionHash": inclusion.transaction.hash,
        "transactionIndex": hex(index),
        "blockHash": block.hash,
        "blockNumber": hex(block.number),
        "from": inclusion.transaction.sender,
        "to": inclusion.transaction.to,
        "contractAddress": None,
        "gasUsed": hex(inclusion.gas_used),
        "cumulativeGasUsed": hex(earlier),
        "effectiveGasPrice": hex(inclusion.price),
        "logs": [],
        "logsBloom": "0x" + "0" * 512,
    }


def _transaction(transaction: Signed, block: Block | None) -> dict[str, Any]:
    return {
        "type": "0x2",
        "hash": transaction.hash,
        "chainId": hex(transaction.chain_id),
        "from": transaction.sender,
        "to": transaction.to,
        "nonce": hex(transaction.nonce),
        "value": hex(transaction.value),
        "input": "0x" + transaction.data.hex(),
        "gas": hex(transaction.gas),
        "maxFeePerGas": hex(transaction.fee),
        "maxPriorityFeePerGas": hex(transaction.tip),
        "blockHash": None if block is None else block.hash,
        "blockNumber": None if block is None else hex(block.number),
    }


def _block(block: Block, full: bool) -> dict[str, Any]:
    transactions = [inclusion.transaction for inclusion in block.inclusions]
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "timestamp": hex(block.timestamp),
        "baseFeePerGas": hex(block.base_fee),
        "gasLimit": hex(GAS_LIMIT),
        "gasUsed": hex(block.gas_used),
        "transactions": [_transaction(t, block) if full else t.hash for t in transactions],
    }
