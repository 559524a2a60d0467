"""Blocks, the state after each of them, and branches."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from library.adversary.pool import GAS_LIMIT
from library.adversary.signed import Signed

COUNTER = "0x" + "42" * 20
"""A contract that counts calls by their argument, and counts again when it is called again."""
CALL_GAS = 30_000
"""What a call of the counter takes beside the intrinsic gas."""
REVERTING = 1 << 255
"""An argument from here on makes the counter revert."""
LEAST_BASE_FEE = 7


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A transaction in a block: whether it succeeded, the gas it took and what it paid per gas."""

    transaction: Signed
    succeeded: bool
    gas_used: int
    price: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block and the state after it. Fees in wei per gas."""

    number: int
    hash: str
    parent: str
    timestamp: int
    base_fee: int
    gas_used: int
    inclusions: tuple[Inclusion, ...]
    nonces: dict[str, int]
    balances: dict[str, int]

    def next_base_fee(self) -> int:
        """Of the block after this one (EIP-1559)."""
        target = GAS_LIMIT // 2
        change = self.base_fee * abs(self.gas_used - target) // target // 8
        return max(LEAST_BASE_FEE, self.base_fee + (max(1, change) if self.gas_used > target else -change))


def job_of(transaction: Signed) -> int | None:
    """The argument with which a transaction calls the counter."""
    if transaction.to != COUNTER or len(transaction.data) != 32:
        return None
    return int.from_bytes(transaction.data, "big")


def gas_needed(to: str, data: bytes) -> int:
    """Gas of a call."""
    return 21_000 + 16 * len(data) + (CALL_GAS if to == COUNTER else 0)


def reverts(to: str, data: bytes) -> bool:
    """Whether a call reverts."""
    return to == COUNTER and int.from_bytes(data, "big") >= REVERTING


class Ledger:
    """All blocks ever made, and the branch that counts."""

    def __init__(self, salt: str, timestamp: float, base_fee: int, balances: dict[str, int]) -> None:
        self._salt = salt
        self._made = 0
        first = self._sealed(0, "0x" + "0" * 64, int(timestamp), base_fee, GAS_LIMIT // 2, (), {}, balances)
        self._blocks = {first.hash: first}
        self._main = [first]
        self._places: dict[str, list[tuple[Block, int]]] = {}

    def _sealed(
        self,
        number: int,
        parent: str,
        timestamp: int,
        base_fee: int,
        gas_used: int,
        inclusions: tuple[Inclusion, ...],
        nonces: dict[str, int],
        balances: dict[str, int],
    ) -> Block:
        # Never the same hash twice, also when a branch repeats a block.
        self._made += 1
        hash = "0x" + hashlib.sha256(f"{self._salt}/{self._made}/{number}".encode()).hexdigest()
        return Block(
            number, hash, parent, timestamp, base_fee, gas_used, inclusions, dict(nonces), dict(balances)
        )

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._main[-1]

    def fund(self, address: str, wei: int) -> None:
        """Give an account some coins, as if it had always had them."""
        for block in self._blocks.values():
            block.balances[address] = block.balances.get(address, 0) + wei

    def extend(
        self, timestamp: float, transactions: Sequence[Signed], other_gas: int, base_fee: int | None = None
    ) -> Block:
        """Put a block on top. What can't be carried out there any more is left out.

        Args:
            other_gas: taken by other people's transactions.
            base_fee: instead of the one that EIP-1559 demands.
        """
        parent = self.head
        fee = parent.next_base_fee() if base_fee is None else base_fee
        nonces, balances = dict(parent.nonces), dict(parent.balances)
        inclusions = []
        for transaction in transactions:
            sender = transaction.sender
            if transaction.nonce != nonces.get(sender, 0) or transaction.fee < fee:
                continue
            if balances.get(sender, 0) < transaction.cost:
                continue
            need = gas_needed(transaction.to, transaction.data)
            succeeded = transaction.gas >= need and not reverts(transaction.to, transaction.data)
            used = min(need, transaction.gas)
            price = min(transaction.fee, fee + transaction.tip)
            nonces[sender] = transaction.nonce + 1
            balances[sender] -= used * price
            if succeeded:
                balances[sender] -= transaction.value
                balances[transaction.to] = balances.get(transaction.to, 0) + transaction.value
            inclusions.append(Inclusion(transaction, succeeded, used, price))
        gas = min(GAS_LIMIT, other_gas + sum(inclusion.gas_used for inclusion in inclusions))
        moment = max(parent.timestamp + 1, int(timestamp))
        block = self._sealed(
            parent.number + 1, parent.hash, moment, fee, gas, tuple(inclusions), nonces, balances
        )
        self._blocks[block.hash] = block
        self._main.append(block)
        for index, inclusion in enumerate(block.inclusions):
            self._places.setdefault(inclusion.transaction.hash, []).append((block, index))
        return block

    def rewind(self, depth: int) -> list[Block]:
        """Take the newest `depth` blocks off the branch that counts; they, oldest first."""
        depth = min(depth, len(self._main) - 1)
        if depth == 0:
            return []
        taken = self._main[-depth:]
        del self._main[-depth:]
        return taken

    def seen_from(self, head: Block, number: int) -> Block | None:
        """The block of this number on the branch that ends at `head`."""
        if not 0 <= number <= head.number:
            return None
        block = head
        while block.number > number and not self._is_main(block):
            block = self._blocks[block.parent]
        return self._main[number] if self._is_main(block) else block

    def _is_main(self, block: Block) -> bool:
        return block.number < len(self._main) and self._main[block.number] is block

    def place_of(self, hash: str, head: Block) -> tuple[Block, int] | None:
        """Block and index of a transaction on the branch that ends at `head`."""
        for block, index in self._places.get(hash, []):
            if self.seen_from(head, block.number) is block:
                return block, index
        return None

    def executed(self) -> Iterator[tuple[int, Block]]:
        """Each successful call of the counter on the branch that counts: argument and block."""
        for block in self._main:
            for inclusion in block.inclusions:
                job = job_of(inclusion.transaction)
                if job is not None and inclusion.succeeded:
                    yield job, block
