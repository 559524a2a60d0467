"""What the chain says about a signed use or a failure report. Nothing is concluded from what a node doesn't
know: a use is given up only when a final block shows why it can't happen any more."""

import bisect
from dataclasses import dataclass
from enum import Enum
from typing import Any

from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.outbox import Finality, Sender
from imprimatur.chain.outbox.view import View, final_blocks, look
from imprimatur.chain.print_license import License, PrintLicense, Terms
from imprimatur.chain.rpc import quantity
from imprimatur.chain.typed_data import Domain, Use, license_domain
from imprimatur.device.job import Job
from imprimatur.serials.tag_key import checked_address

MARGIN = 1024
"""Blocks below the one at which a use was signed that are searched too: a reorganisation may bring it there.
"""
FAILURE_WINDOW = 16
"""So many of the last copies can be reported as failed (PrintLicense.WINDOW)."""


class Fate(Enum):
    """What becomes of a signed use."""

    OPEN = "open"
    """It isn't in a block, and may still come into one."""
    INCLUDED = "included"
    """It is in a block that could still be replaced."""
    CONSUMED = "consumed"
    """Its own event is final."""
    RACED = "raced"
    """A final block shows this copy taken by another use."""
    EXPIRED = "expired"
    """A final block is past its deadline, and the copy wasn't taken until then."""
    CLOSED = "closed"
    """A final block shows the license revoked or expired, and the copy wasn't taken until then."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The fate of a use; `event` is the `LicenseUsed` that shows it, where there is one, and `final` the
    number of the newest final block then."""

    fate: Fate
    event: DecodedEvent | None = None
    final: int | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """Whose uses are looked for, and when a block counts.

    Args:
        licenses: the contract to believe, searched from the block of its deployment.
        chain_id: of the chain that it is on.
        device: address of the key that signs uses (checksum).
    """

    licenses: PrintLicense
    chain_id: int
    device: str
    finality: Finality

    @property
    def contract(self) -> str:
        """Address of the contract with its checksum, as it is signed for."""
        return checked_address(self.licenses.address)

    @property
    def domain(self) -> Domain:
        return license_domain(self.chain_id, self.contract)

    def knows(self, job: Job) -> bool:
        """Whether a job is about this contract."""
        return (job.chain_id, job.contract) == (self.chain_id, self.contract)

    def look(self) -> View:
        """The chain now.

        Raises:
            WrongChain, NodeUnreachable, NodeRefused: here and below.
        """
        return look(self.licenses.rpc, Sender(self.chain_id, self.device), self.finality)

    def fate_of(self, use: Use, since: int) -> Finding:
        """What became of a signed use; `since` is the newest block's number when it was signed."""
        # All blocks only where the newer ones don't explain it: one of the nodes behind an address may have
        # lagged when the use was signed.
        for first in (max(self.licenses.since, since - MARGIN), self.licenses.since):
            if finding := self._finding(use, first):
                return finding
        return Finding(Fate.OPEN)

    def _finding(self, use: Use, first: int) -> Finding | None:
        """The fate of a use as the blocks from `first` on tell it; None when its copy was taken before."""
        view = self.look()
        events = [
            event
            for event in self.licenses.events("LicenseUsed", id=use.id, since=first)
            if event.values["copy"] == use.copy
        ]
        final = self._final(view, events)
        ours = next((event for event in events if self._is(use, event)), None)
        if ours is not None and ours in final:
            return Finding(Fate.CONSUMED, ours)
        if other := next((event for event in final if not self._is(use, event)), None):
            return Finding(Fate.RACED, other)
        if ours is not None:
            return Finding(Fate.INCLUDED, ours, newest_final(self.finality, view))
        if events:
            return Finding(Fate.OPEN)
        fate = self._without_event(view, use)
        return None if fate is None else Finding(fate)

    def is_final(self, event: DecodedEvent) -> bool:
        """Whether an event's block can't be replaced any more."""
        return bool(self._final(self.look(), [event]))

    def final_license(self, id: int) -> License | None:
        """The license as of the newest final block; None when it isn't there yet."""
        header = self._final_header(self.look())
        return None if header is None else self.licenses.license_of(id, block=str(header["hash"]))

    def failure_of(self, id: int, copy: int, since: int) -> DecodedEvent | None:
        """The `PrintFailed` of a copy, if it stands on the chain."""
        first = max(self.licenses.since, since - MARGIN)
        events = self.licenses.events("PrintFailed", id=id, since=first)
        return next((event for event in events if event.values["copy"] == copy), None)

    def _final(self, view: View, events: list[DecodedEvent]) -> list[DecodedEvent]:
        blocks = {(event.block_number, event.block_hash) for event in events}
        found = final_blocks(self.licenses.rpc, self.finality, view, blocks)
        return [event for event in events if (event.block_number, event.block_hash) in found]

    def _is(self, use: Use, event: DecodedEvent) -> bool:
        values = event.values
        found = (values["id"], values["device"], values["copy"], values["fileHash"], values["keyRecipient"])
        return found == (use.id, self.device, use.copy, int(use.file_hash, 16), use.key_recipient)

    def _without_event(self, view: View, use: Use) -> Fate | None:
        """Whether the newest final block shows that the use can't happen any more; None: the copy is taken.

        Its state is read by its hash: `used` says that the copy wasn't taken, whatever logs a node has left
        out.
        """
        header = self._final_header(view)
        if header is None:
            return Fate.OPEN
        license = self.licenses.license_of(use.id, block=str(header["hash"]))
        if license is not None and license.used >= use.copy:
            # And the event isn't among the logs.
            return None
        time = quantity(header.get("timestamp"))
        if time > use.deadline:
            return Fate.EXPIRED
        if license is not None and (license.has(Terms.REVOKED) or license.is_expired(time)):
            return Fate.CLOSED
        return Fate.OPEN

    def _final_header(self, view: View) -> dict[str, Any] | None:
        """The newest final block; None while it has no contract yet, or the node contradicts itself."""
        number = newest_final(self.finality, view)
        if number is None or number < self.licenses.since:
            return None
        header = self.licenses.rpc.call("eth_getBlockByNumber", [hex(number), False])
        if not isinstance(header, dict):
            return None
        block = number, str(header.get("hash"))
        return header if block in final_blocks(self.licenses.rpc, self.finality, view, [block]) else None


def newest_final(finality: Finality, view: View) -> int | None:
    """Number of the newest block that the rule calls final."""
    tagged = None if view.tagged is None else view.tagged[0]
    top = view.head if tagged is None else min(tagged, view.head)
    above = bisect.bisect_left(
        range(top + 1), True, key=lambda number: finality.witness(number, view.head, tagged) is None
    )
    return above - 1 if above else None


def may_fail(license: License, copy: int) -> str | None:
    """Why a copy can't be reported as failed, as the name of the contract's error; None when it can."""
    if not 0 <= license.used - copy < FAILURE_WINDOW or is_closed(license, copy):
        return "CopyNotRefundable"
    return "NoFreeFailureLeft" if license.failed >= license.failures_allowed else None


def is_closed(license: License, copy: int) -> bool:
    """Whether a copy was reported as failed, or settled by the owner, as far as that is remembered."""
    age = license.used - copy
    return 0 <= age < FAILURE_WINDOW and bool(license.failed_window >> age & 1)
