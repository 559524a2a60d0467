"""Several purposes in one outbox: the beginning of an intent's key says which one it serves."""

from collections.abc import Mapping
from typing import Any

from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.outbox import Call, Intent, PlainCalls, Purpose, Store, Verdict
from imprimatur.chain.rpc import NodeRefused


class Purposes:
    """Routes by what stands before the colon; the rest, such as the outbox's own `fill:`, are plain calls."""

    def __init__(self, by_prefix: Mapping[str, Purpose]) -> None:
        self._by_prefix = dict(by_prefix)
        self._plain = PlainCalls()

    def _of(self, intent: Intent) -> Purpose:
        return self._by_prefix.get(intent.key.partition(":")[0], self._plain)

    def call(self, intent: Intent) -> Call:
        return self._of(intent).call(intent)

    def judge(self, intent: Intent, receipt: dict[str, Any]) -> Verdict:
        return self._of(intent).judge(intent, receipt)

    def refused(self, intent: Intent, error: ContractReverted | NodeRefused, alone: bool) -> Verdict | None:
        return self._of(intent).refused(intent, error, alone)

    def settled(self, store: Store, intent: Intent) -> None:
        self._of(intent).settled(store, intent)
