"""Sending transactions exactly once: through crashes, lost answers, fee spikes and reorganisations.

`records` says what is remembered, `store` who remembers it, `rules` when a chain counts as settled, `view`
what the node says now, `outbox` what is done about it.
"""

from imprimatur.chain.outbox.alarms import Alarm, AlarmKind, Metrics
from imprimatur.chain.outbox.outbox import Draft, Outbox, Overtaken
from imprimatur.chain.outbox.purpose import PlainCalls, Purpose, Verdict
from imprimatur.chain.outbox.records import Attempt, Call, CallMalformed, Intent, KeyTaken, Sender, State
from imprimatur.chain.outbox.rules import (
    Confirmations,
    Finality,
    Finalized,
    Rules,
    UnknownFinality,
    parse_finality,
)
from imprimatur.chain.outbox.sqlite import SqliteStore, create_tables, sqlite_transactions
from imprimatur.chain.outbox.store import Store, Transactions

__all__ = [
    "Alarm",
    "AlarmKind",
    "Attempt",
    "Call",
    "CallMalformed",
    "Confirmations",
    "Draft",
    "Finality",
    "Finalized",
    "Intent",
    "KeyTaken",
    "Metrics",
    "Outbox",
    "Overtaken",
    "PlainCalls",
    "Purpose",
    "Rules",
    "Sender",
    "SqliteStore",
    "State",
    "Store",
    "Transactions",
    "UnknownFinality",
    "Verdict",
    "create_tables",
    "parse_finality",
    "sqlite_transactions",
]
