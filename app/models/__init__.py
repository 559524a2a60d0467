"""The portal's tables."""

from app.models.base import Base
from app.models.design import Design
from app.models.device import DeviceNonce
from app.models.license import License
from app.models.outbox import Attempt, Intent
from app.models.printer import Printer
from app.models.user import User
from app.models.worker import WorkerStatus
from imprimatur.chain.outbox.records import State as IntentState

__all__ = [
    "Attempt",
    "Base",
    "Design",
    "DeviceNonce",
    "Intent",
    "IntentState",
    "License",
    "Printer",
    "User",
    "WorkerStatus",
]
