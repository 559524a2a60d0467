"""Where a node keeps transactions that wait for a block, by geth's rules."""

from collections.abc import Iterator, Mapping

from library.adversary.signed import REFUSED, Signed, replaces

from imprimatur.chain.rpc import NodeRefused

GAS_LIMIT = 30_000_000
"""Of a block."""
INTRINSIC_GAS = 21_000
SLOTS = 64
"""Transactions that one sender may have waiting."""


def _refuse(message: str) -> NodeRefused:
    return NodeRefused(REFUSED, message)


class Pool:
    """Transactions by sender and nonce, gaps allowed. `floor`: the least tip it now takes, in wei per gas."""

    def __init__(self, chain_id: int) -> None:
        self._chain_id = chain_id
        self._waiting: dict[str, dict[int, Signed]] = {}
        self.floor = 1

    def admit(self, transaction: Signed, nonce: int, balance: int) -> None:
        """Take a transaction in, or the place of another with its nonce.

        Args:
            nonce, balance: of the sender, in the newest block.

        Raises:
            NodeRefused: in geth's words.
        """
        own = self._waiting.get(transaction.sender, {})
        old = own.get(transaction.nonce)
        if transaction.chain_id != self._chain_id:
            raise _refuse("invalid chain id for signer")
        if old is not None and old.hash == transaction.hash:
            raise _refuse("already known")
        if transaction.tip > transaction.fee:
            raise _refuse("max priority fee per gas higher than max fee per gas")
        if transaction.gas > GAS_LIMIT:
            raise _refuse("exceeds block gas limit")
        if transaction.gas < INTRINSIC_GAS + 16 * len(transaction.data):
            raise _refuse("intrinsic gas too low")
        if transaction.nonce < nonce:
            raise _refuse(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        promised = sum(other.cost for other in own.values() if other is not old)
        if balance < promised + transaction.cost:
            missing = promised + transaction.cost - balance
            raise _refuse(
                f"insufficient funds for gas * price + value: balance {balance}, "
                f"queued cost {promised}, tx cost {transaction.cost}, overshot {missing}"
            )
        if old is not None and not replaces(transaction, old):
            raise _refuse("replacement transaction underpriced")
        if transaction.tip < self.floor:
            raise _refuse("transaction underpriced")
        if old is None and len(own) >= SLOTS:
            raise _refuse("txpool is full")
        self._waiting.setdefault(transaction.sender, {})[transaction.nonce] = transaction

    def next_nonce(self, sender: str, nonce: int) -> int:
        """After what waits without a gap, from `nonce` in the newest block."""
        own = self._waiting.get(sender, {})
        while nonce in own:
            nonce += 1
        return nonce

    def executable(self, nonces: Mapping[str, int]) -> Iterator[Signed]:
        """What could be in the next block: by tip, each sender's in order of nonce."""
        heads = {sender: nonces.get(sender, 0) for sender in self._waiting}
        while ready := [
            self._waiting[sender][nonce] for sender, nonce in heads.items() if nonce in self._waiting[sender]
        ]:
            best = max(ready, key=lambda transaction: (transaction.tip, transaction.hash))
            heads[best.sender] += 1
            yield best

    def settle(self, nonces: Mapping[str, int]) -> None:
        """Forget what a new block carried out or made impossible."""
        for sender, own in self._waiting.items():
            for nonce in [nonce for nonce in own if nonce < nonces.get(sender, 0)]:
                del own[nonce]

    def drop(self, transaction: Signed) -> None:
        """Forget one transaction."""
        self._waiting.get(transaction.sender, {}).pop(transaction.nonce, None)

    def press(self, floor: int) -> None:
        """The pool is full of others' transactions: whoever tips less than `floor` has to leave."""
        self.floor = floor
        for transaction in self:
            if transaction.tip < floor:
                self.drop(transaction)

    def clear(self) -> None:
        """Forget all, as a restart without a journal does."""
        self._waiting.clear()

    def __iter__(self) -> Iterator[Signed]:
        for own in self._waiting.values():
            yield from list(own.values())

    def find(self, hash: str) -> Signed | None:
        """What waits under this hash."""
        return next((transaction for transaction in self if transaction.hash == hash), None)
