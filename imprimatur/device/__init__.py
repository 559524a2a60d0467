"""The printer's side of delivery, without a printer host: what talks to portal and key desk, and what keeps
account of each print. Hosts such as OctoPrint are adapters around it."""

from imprimatur.device.delivery import Delivery
from imprimatur.device.desk import Desk, DeskAnswer
from imprimatur.device.errors import (
    AddressRefused,
    PortalBusy,
    PortalConfused,
    PortalError,
    PortalRefused,
    PortalUnreachable,
)
from imprimatur.device.job import Job, State
from imprimatur.device.journal import Journal, JournalUnusable, WrongState
from imprimatur.device.messages import Ending, Enrolment, Outcome, PortalInfo, Relayed, RelayState
from imprimatur.device.offers import Offer, Skipped
from imprimatur.device.portal import Download, Portal
from imprimatur.device.reasons import Reason, Refused, Waiting, Withheld, why

__all__ = [
    "AddressRefused",
    "Delivery",
    "Desk",
    "DeskAnswer",
    "Download",
    "Ending",
    "Enrolment",
    "Job",
    "Journal",
    "JournalUnusable",
    "Offer",
    "Outcome",
    "Portal",
    "PortalBusy",
    "PortalConfused",
    "PortalError",
    "PortalInfo",
    "PortalRefused",
    "PortalUnreachable",
    "Reason",
    "Refused",
    "RelayState",
    "Relayed",
    "Skipped",
    "State",
    "Waiting",
    "Withheld",
    "WrongState",
    "why",
]
