"""Signing the consumption of a copy, and finding out what became of it.

Sending the same bytes again is always safe: their nonce happens once.
"""

import logging
from dataclasses import dataclass
from enum import Enum

from imprimatur.chain import node, transactions
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from octoprint_imprimatur.connection import Connection, node_trouble
from octoprint_imprimatur.journal import Job
from octoprint_imprimatur.messages import Refused

_log = logging.getLogger("octoprint.plugins.imprimatur.settlement")


_REVERTS = {
    "LicenseExhausted": "no_copies_left",
    "LicenseExpired": "expired",
    "LicenseNotFound": "unknown_license",
    "NotThePrinter": "other_printer",
}


def sign_use(connection: Connection, job: Job) -> transactions.SignedTransaction:
    """Sign the transaction that consumes a copy for the job. Nothing is sent.

    Raises:
        Refused: the contract would refuse, the account can't pay, or the node doesn't help.
    """
    call = connection.licenses.use_license_call(job.license_id, job.file_hash)
    try:
        return transactions.sign(connection.rpc, connection.signer, connection.licenses.address, call)
    except ContractReverted as error:
        if key := _REVERTS.get(error.name):
            raise Refused(key) from error
        raise Refused("contract_refused", name=error.name) from error
    except transactions.NotEnoughFunds as error:
        raise Refused("no_funds", address=connection.signer.address) from error
    except (NodeUnreachable, NodeRefused) as error:
        raise node_trouble(error) from error


class Outcome(Enum):
    """What the chain says about a job's transaction."""

    OPEN = "open"
    """Not mined, and still possible."""
    CONSUMED = "consumed"
    NOTHING = "nothing"
    """Mined without our event: it consumed nothing."""
    OVERTAKEN = "overtaken"
    """Another transaction has its nonce: it can never be mined."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """`sent` when a node has the bytes; `copy` when one was consumed."""

    outcome: Outcome
    sent: bool = True
    copy: int | None = None


def _look(connection: Connection, job: Job) -> Settlement | None:
    """What the receipt says, or None when there is none."""
    receipt = transactions.receipt(connection.rpc, job.transaction or "")
    if receipt is None:
        return None
    for use in connection.licenses.uses_in(receipt):
        ours = (job.license_id, connection.signer.address, int(job.file_hash, 16), job.transaction)
        found = (use.values["id"], use.values["device"], use.values["fileHash"], use.transaction_hash)
        if ours == found:
            return Settlement(Outcome.CONSUMED, copy=use.values["copy"])
    return Settlement(Outcome.NOTHING)


def settle(connection: Connection, job: Job) -> Settlement:
    """Look for the job's transaction; if it isn't mined, send its bytes (again)."""
    try:
        # The count first: if it shows our nonce taken, our receipt exists by now or never will.
        mined = node.mined_count(connection.rpc, connection.signer.address)
        if found := _look(connection, job):
            return found
        if job.nonce is not None and mined > job.nonce:
            return Settlement(Outcome.OVERTAKEN)
        transactions.broadcast(connection.rpc, job.raw or b"")
        return _look(connection, job) or Settlement(Outcome.OPEN)
    except NodeUnreachable:
        return Settlement(Outcome.OPEN, sent=False)
    except NodeRefused as error:
        # The node may have it from an earlier try, or take it later: only the chain decides.
        _log.warning("The node doesn't take the transaction of job %s: %s", job.id, error)
        return Settlement(Outcome.OPEN, sent=False)
