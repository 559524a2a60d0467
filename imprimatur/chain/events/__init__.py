"""Reading events: an index of our contracts' events that no crash, reorganisation or node can falsify."""

from imprimatur.chain.events.anchor import Anchor, TrustedBlock, TrustedNode
from imprimatur.chain.events.errors import (
    CursorMoved,
    NodeInconsistent,
    NodeLies,
    OtherIndex,
    ReorgTooDeep,
)
from imprimatur.chain.events.indexer import Indexer, Progress
from imprimatur.chain.events.layout import LogMalformed, decoded
from imprimatur.chain.events.row import Block, Row
from imprimatur.chain.events.source import Source
from imprimatur.chain.events.sqlite_store import SqliteEventStore
from imprimatur.chain.events.store import EventStore

__all__ = [
    "Anchor",
    "Block",
    "CursorMoved",
    "EventStore",
    "Indexer",
    "LogMalformed",
    "NodeInconsistent",
    "NodeLies",
    "OtherIndex",
    "Progress",
    "ReorgTooDeep",
    "Row",
    "Source",
    "SqliteEventStore",
    "TrustedBlock",
    "TrustedNode",
    "decoded",
]
