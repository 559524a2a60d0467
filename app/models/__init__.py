"""The portal's tables."""

from app.models.base import Base
from app.models.chain import (
    ChainBinding,
    ChainBlock,
    ChainClaim,
    ChainEvent,
    ChainLicense,
    ChainUse,
)
from app.models.delivery import KeyAudit, Outcome
from app.models.design import Design
from app.models.device import Device, DeviceNonce, Invitation
from app.models.license import License
from app.models.outbox import Attempt, Intent
from app.models.printer import Printer
from app.models.relay import RelayEntry, RelayKind, RelayState
from app.models.user import User
from app.models.worker import WorkerStatus
from imprimatur.chain.outbox.records import State as IntentState

__all__ = [
    "Attempt",
    "Base",
    "ChainBinding",
    "ChainBlock",
    "ChainClaim",
    "ChainEvent",
    "ChainLicense",
    "ChainUse",
    "Design",
    "Device",
    "DeviceNonce",
    "Intent",
    "IntentState",
    "Invitation",
    "KeyAudit",
    "License",
    "Outcome",
    "Printer",
    "RelayEntry",
    "RelayKind",
    "RelayState",
    "User",
    "WorkerStatus",
]
