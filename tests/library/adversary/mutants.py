"""Outboxes with one rule left out. A simulation is worth what it refuses: each must be found out."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from imprimatur.chain.outbox import Call, Confirmations, Intent, Outbox, Rules, Store
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import Signer


class WithoutKey(Outbox):
    """Queues the same wish again when it is asked again."""

    def enqueue(self, store: Store, key: str, call: Call | None = None) -> Intent:
        return super().enqueue(store, f"{key}#{secrets.token_hex(4)}", call)


class BroadcastFirst(Outbox):
    """Lets the network have the bytes before they are committed."""

    def __init__(self, rpc: Rpc, signer: Signer, *others: Any, **named: Any) -> None:
        super().__init__(rpc, _EagerSigner(rpc, signer), *others, **named)


class _EagerSigner:
    """Sends what it has signed at once. What becomes of it, the outbox looks after."""

    def __init__(self, rpc: Rpc, signer: Signer) -> None:
        self._rpc = rpc
        self._signer = signer
        self.address = signer.address

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        raw, hash = self._signer.sign_transaction(transaction)
        self._rpc.batch([("eth_sendRawTransaction", ["0x" + raw.hex()])])
        return raw, hash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._signer, name)


class OneConfirmation(Outbox):
    """Believes in a block as soon as one stands on it, whatever was promised."""

    def __init__(
        self,
        rpc: Rpc,
        signer: Signer,
        transactions: Callable[[], AbstractContextManager[Store]],
        rules: Rules,
        *others: Any,
        **named: Any,
    ) -> None:
        super().__init__(
            rpc, signer, transactions, replace(rules, finality=Confirmations(1)), *others, **named
        )


MUTANTS: Sequence[type[Outbox]] = (WithoutKey, BroadcastFirst, OneConfirmation)
