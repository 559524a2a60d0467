"""The simulated node with the license contract on its chain."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from crashes.simulation import contract
from crashes.simulation.contract import ADDRESS, Contract, Log, Terms, checksum
from library.adversary.clock import VirtualClock
from library.adversary.ledger import Block
from library.adversary.market import NORMAL_BASE_FEE, Market
from library.adversary.pool import GAS_LIMIT, INTRINSIC_GAS
from library.adversary.signed import Signed
from library.adversary.simulated_node import CHAIN_ID, SimulatedNode

from imprimatur.chain.interface import interface_of
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.rpc import NodeRefused

GWEI = 10**9
BLOCK_TIME = 2.0
DEPTH = 2
"""Blocks that stand on one that is final."""
IDLE = 900.0
"""Seconds between two blocks while nothing happens."""


@dataclass(frozen=True)
class After:
    """The contract after a block, and every log up to it, in order."""

    contract: Contract
    logs: tuple[Log, ...]


class QuietMarket(Market):
    """Nobody else wants anything: every plan pays the same."""

    def next_block(self, base_fee: int) -> int:
        del base_fee
        return GAS_LIMIT // 2

    @property
    def suggestion(self) -> int:
        return self.tip


class LicenseNode(SimulatedNode):
    """A chain that carries one license contract, with a block whenever something waits or isn't final.

    `on_block` is told after each block: what the scenario does to the chain.
    """

    def __init__(self, clock: VirtualClock, wallets: dict[str, str], rich: list[str]) -> None:
        super().__init__(clock, balances=dict.fromkeys(rich, 10**21), depth=DEPTH, epoch=1)
        self.market = QuietMarket(self.dice)
        genesis = self.ledger.head
        self._after = {genesis.hash: After(Contract(CHAIN_ID, wallets), ())}
        self.on_block: Callable[[], None] = lambda: None
        self.replaced: set[str] = set()
        """Devices whose uses stood in blocks that were replaced (checksum)."""
        self._last = clock()
        self._busy_until = 0

    def issue(self, id: int, terms: Terms, manifest_hash: bytes) -> None:
        """A license that was always there."""
        genesis = self.ledger.seen_from(self.ledger.head, 0)
        assert genesis is not None
        after = self._after[genesis.hash]
        log = self._placed(
            contract.issued(id, terms, manifest_hash), genesis, "0x" + "11" * 32, len(after.logs)
        )
        self._after[genesis.hash] = After(after.contract.with_license(id, terms), (*after.logs, log))

    def reorganise(self, depth: int, returned: float = 1.0, included: float = 0.5) -> None:
        before = self.uses()
        super().reorganise(depth, returned, included)
        left = {event.block_hash for event in self.uses()}
        self.replaced |= {event.values["device"] for event in before if event.block_hash not in left}

    # --- time

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the blocks that come meanwhile."""
        until = self.clock() + seconds
        while (due := max(self.clock(), self._last + self._gap())) <= until:
            self.clock.advance(due - self.clock())
            self._last = due
            self.mine(NORMAL_BASE_FEE)
            self.on_block()
        self.clock.advance(until - self.clock())

    def _gap(self) -> float:
        return BLOCK_TIME if self._is_busy() else IDLE

    def _is_busy(self) -> bool:
        head = self.ledger.head
        if next(iter(self.pool), None) is not None:
            self._busy_until = head.number + 1 + DEPTH
        return head.number < self._busy_until

    # --- the contract

    def after(self, block: Block) -> After:
        """The contract after a block of any branch."""
        found = self._after.get(block.hash)
        if found is None:
            parent = self.ledger.seen_from(block, block.number - 1)
            assert parent is not None
            found = self._applied(self.after(parent), block)
            self._after[block.hash] = found
        return found

    def _applied(self, before: After, block: Block) -> After:
        state, logs = before.contract, list(before.logs)
        for inclusion in block.inclusions:
            transaction = inclusion.transaction
            if transaction.to == ADDRESS.lower():
                state, written = state.after(checksum(transaction.sender), transaction.data, block.timestamp)
                logs += [self._placed(log, block, transaction.hash, len(logs)) for log in written if log]
        return After(state, tuple(logs))

    @staticmethod
    def _placed(log: Log, block: Block, transaction: str, index: int) -> Log:
        return {
            **log,
            "blockNumber": hex(block.number),
            "blockHash": block.hash,
            "transactionHash": transaction,
            "logIndex": hex(index),
        }

    @property
    def contract(self) -> Contract:
        """The contract now."""
        return self.after(self.ledger.head).contract

    def final_block(self) -> Block:
        """The newest block that no reorganisation takes away."""
        head = self.ledger.head
        found = self.ledger.seen_from(head, max(0, head.number - DEPTH))
        assert found is not None
        return found

    def uses(self, final: bool = False) -> list[Any]:
        """`LicenseUsed` events on the chain, or on its final part."""
        block = self.final_block() if final else self.ledger.head
        return [event for event in self.events(block) if event.name == "LicenseUsed"]

    def events(self, block: Block) -> list[Any]:
        """Everything that the contract wrote up to a block."""
        found = [interface_of(CONTRACT).decode_event(log) for log in self.after(block).logs]
        return [event for event in found if event is not None]

    def submit_call(self, sender: str, data: str, fee: int = 2000 * GWEI) -> str:
        """A transaction of somebody whose wallet is none of ours; its hash."""
        raw = bytes.fromhex(data[2:])
        nonce = self.pool.next_nonce(sender.lower(), self.ledger.head.nonces.get(sender.lower(), 0))
        hash = "0x" + sha256(f"{sender} {nonce} {data} {self.ledger.head.hash}".encode()).hexdigest()
        gas = INTRINSIC_GAS + 16 * len(raw)
        self.submit(
            Signed(b"", hash, sender.lower(), CHAIN_ID, nonce, GWEI, fee, gas, ADDRESS.lower(), 0, raw)
        )
        return hash

    # --- what it answers beside what every node does

    def _eth_call(self, head: Block, call: dict[str, Any], tag: Any) -> str:
        block = head if tag == "latest" else self._named(head, tag)
        return "0x" + self.after(block).contract.read(bytes.fromhex(call["data"][2:])).hex()

    def _named(self, head: Block, tag: Any) -> Block:
        for number in range(head.number, -1, -1):
            block = self.ledger.seen_from(head, number)
            if block is not None and block.hash == tag["blockHash"]:
                return block
        raise NodeRefused(-32000, "header not found")

    def _eth_getLogs(self, head: Block, query: dict[str, Any]) -> list[Log]:
        names, *indexed = [*query["topics"], None, None]
        first = int(query["fromBlock"], 16)
        return [
            log
            for log in self.after(head).logs
            if (not names or log["topics"][0] in names)
            and int(log["blockNumber"], 16) >= first
            and all(
                wanted is None or log["topics"][place] == wanted
                for place, wanted in enumerate(indexed, start=1)
                if wanted is not None and place < len(log["topics"])
            )
        ]
