"""Replaying events: the state after each, and whether the contracts can have logged it.

The rules are those of `contracts/PrintLicense.sol` and `contracts/DeviceRegistry.sol`, told once more from
the events' side. Each event that breaks one is a `Contradiction`; replaying goes on as if it were allowed.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from imprimatur.audit.commitments import Commitments
from imprimatur.audit.contradiction import Contradiction, Remark
from imprimatur.audit.history import NOBODY, WINDOW, ApprovedFile, Copy, LicenseHistory, Place
from imprimatur.audit.parties import Parties
from imprimatur.chain.events import Row
from imprimatur.chain.orders import Terms
from imprimatur.license_id import owner_of

MOVING = frozenset(
    {
        "LicenseIssued",
        "LicenseUsed",
        "PrintFailed",
        "CopiesGranted",
        "LicenseRevoked",
        "LicenseTransferred",
    }
)
"""Events that an ERC-1155 event stands right behind."""
STATING = {"LicenseIssued": "id", "FileApproved": "id", "ControlTransferred": "owner", "OperatorSet": "owner"}
"""Events that say which manifests count and who may sign them; and the value that names the subject."""
LOGGED_AFTER = 2
REGISTERED_AFTER = 3
"""Places of a print's log entries behind its LicenseUsed; the ERC-1155 burn stands between."""


class Replay:
    """The state of all licenses after the events given to `apply`, in chain order."""

    def __init__(self) -> None:
        self.licenses: dict[str, LicenseHistory] = {}
        self.parties = Parties()
        self.contradictions: list[Contradiction] = []
        self.remarks: list[Remark] = []
        self.statements: defaultdict[str, list[Row]] = defaultdict(list)
        """The events that manifests lean on (`STATING`), by license or owner."""
        self.events = 0
        self.skipped = 0
        """Entries of batches that were left out."""
        self._commitments = Commitments()
        self._last: Row | None = None
        self._print: tuple[Row, Copy] | None = None
        self._handlers: dict[str, Callable[[Row, dict[str, Any]], None]] = {
            "LicenseIssued": self._issued,
            "LicenseUsed": self._used,
            "PrintLogged": self._logged,
            "SerialRegistered": self._registered,
            "PrintFailed": self._failed,
            "CopiesGranted": self._granted,
            "FileApproved": self._approved,
            "LicenseRevoked": self._revoked,
            "LicenseTransferred": self._transferred,
            "TransferSingle": self._moved,
            "TransferBatch": self._moved_together,
            "UseSkipped": self._left_out,
            "FailureSkipped": self._left_out,
        }

    def apply(self, row: Row) -> None:
        """Follow one event."""
        self.events += 1
        if self._last is not None and not self._is_behind(row, self._last, 1):
            self.finish()
        if about := STATING.get(row.name):
            self.statements[row.values[about]].append(row)
        handler = self._handlers.get(row.name)
        if handler is not None:
            handler(row, row.values)
        elif problem := self.parties.apply(row):
            self._say("parties", row, problem)
        self._last = row

    def finish(self) -> None:
        """There is nothing right behind the last event."""
        if self._last is not None and self._last.name == "LicenseUsed":
            self._say("burn-missing", self._last, "no copy left its holder's balance with this print")
        self._last = None

    # --- issuing and changing ------------------------------------------------------------------------------

    def _issued(self, row: Row, values: dict[str, Any]) -> None:
        id = values["id"]
        if id in self.licenses:
            self._say("issued-twice", row, "the license was issued once more")
            return
        self.licenses[id] = LicenseHistory(
            id=id,
            owner=owner_of(int(id, 16)),
            issued=_place(row),
            issued_to=values["printer"],
            printer=values["printer"],
            file_hash=_digits(values["fileHash"]),
            manifest_hash=_digits(values["manifestHash"]),
            issued_copies=values["copies"],
            valid_until=values["validUntil"],
            flags=Terms(values["flags"]),
            failures_allowed=values["failuresAllowed"],
        )
        if Terms.REVOKED in Terms(values["flags"]):
            self._say("terms", row, "the license was revoked when it was issued")

    def _granted(self, row: Row, values: dict[str, Any]) -> None:
        license = self._license(row)
        if license is None:
            return
        if license.revoked:
            self._say("after-revocation", row, "copies were granted after the license was revoked")
        number = values["forCopy"]
        if number:
            copy = license.copy(number)
            if copy is None:
                self._say("unknown-copy", row, f"copy {number} was replaced, which was never consumed")
            else:
                if license.used - number < WINDOW and not license.is_open(number):
                    self._say("replaced-twice", row, f"copy {number} was replaced though it was closed")
                copy.replaced = True
            license.close(number)
        license.granted += values["copies"]

    def _approved(self, row: Row, values: dict[str, Any]) -> None:
        if license := self._license(row):
            hash = _digits(values["fileHash"])
            license.files[hash] = ApprovedFile(hash, _digits(values["manifestHash"]), values["approved"])

    def _revoked(self, row: Row, values: dict[str, Any]) -> None:
        license = self._license(row)
        if license is None:
            return
        if Terms.REVOCABLE not in license.flags or license.revoked:
            self._say("not-revocable", row, "the license was revoked though it couldn't be")
        if values["forfeited"] != license.remaining:
            self._say(
                "forfeited",
                row,
                f"{values['forfeited']} copies were forfeited, but {license.remaining} were left",
            )
        license.forfeited += values["forfeited"]
        license.flags |= Terms.REVOKED
        license.revoked = _place(row)

    def _transferred(self, row: Row, values: dict[str, Any]) -> None:
        license = self._license(row)
        if license is None:
            return
        if Terms.TRANSFERABLE not in license.flags or license.revoked or license.remaining == 0:
            self._say("not-transferable", row, "the license changed hands though it couldn't")
        if values["from"] != license.printer:
            self._say("not-the-holder", row, f"{values['from']} handed it on, but {license.printer} held it")
        license.transfers.append((_place(row), values["from"], values["to"]))
        license.printer = values["to"]
        license.close_all()

    # --- printing ------------------------------------------------------------------------------------------

    def _used(self, row: Row, values: dict[str, Any]) -> None:
        license = self._license(row)
        if license is None:
            return
        device, file_hash = values["device"], _digits(values["fileHash"])
        vouchers = self.parties.vouchers_for(device, license.owner)
        copy = Copy(
            number=values["copy"],
            place=_place(row),
            device=device,
            wallet=license.printer,
            file_hash=file_hash,
            key_recipient=values["keyRecipient"],
            attestors=vouchers,
        )
        expected = license.used + 1
        if copy.number != expected:
            self._say("copy-gap", row, f"copy {copy.number} was consumed where copy {expected} comes next")
        if license.remaining <= 0:
            self._say("exhausted", row, f"copy {copy.number} was consumed though none was left")
        if license.revoked:
            self._say("after-revocation", row, f"copy {copy.number} was consumed after the revocation")
        if license.is_expired(row.timestamp):
            self._say("expired", row, f"copy {copy.number} was consumed after the license had expired")
        if not license.allows(file_hash):
            self._say("other-file", row, f"copy {copy.number} was consumed for the file {file_hash}")
        if not self.parties.acts_for(device, license.printer):
            self._say(
                "device-not-bound",
                row,
                f"copy {copy.number} was consumed by {device}, which didn't act for {license.printer}",
            )
        if Terms.TRUSTED_DEVICE in license.flags and not vouchers:
            self._say("device-not-trusted", row, f"nobody the owner accepts vouched for {device}")
        license.consume(copy)
        self._print = (row, copy)

    def _logged(self, row: Row, values: dict[str, Any]) -> None:
        if (
            self._print is None
            or not self._is_behind(row, self._print[0], LOGGED_AFTER)
            or (self._print[0].license, self._print[1].number) != (values["id"], values["copy"])
        ):
            self._say("serial-alone", row, f"a serial of copy {values['copy']} was logged without its print")

    def _registered(self, row: Row, values: dict[str, Any]) -> None:
        commitment = values["commitment"]
        if (
            self._print is None
            or not self._is_behind(row, self._print[0], REGISTERED_AFTER)
            or self._print[1].device != values["device"]
        ):
            self._say("serial-alone", row, f"the commitment {commitment} was registered without a print")
            return
        use, copy = self._print
        copy.commitment = commitment
        odd = self._commitments.add(commitment, use.values["id"], copy, use)
        if isinstance(odd, Contradiction):
            self.contradictions.append(odd)
        elif isinstance(odd, Remark):
            self.remarks.append(odd)

    def _failed(self, row: Row, values: dict[str, Any]) -> None:
        license = self._license(row)
        if license is None:
            return
        number = values["copy"]
        copy = license.copy(number)
        if copy is None:
            self._say("unknown-copy", row, f"copy {number} failed, which was never consumed")
        else:
            if copy.failed or not license.is_open(number):
                self._say("failed-twice", row, f"copy {number} failed though it was closed")
            copy.failed = _place(row)
            copy.failure_evidence = values["evidence"]
        if license.failed >= license.failures_allowed:
            self._say(
                "too-many-failures",
                row,
                f"copy {number} was given back though only {license.failures_allowed} failures are",
            )
        license.failed += 1
        if license.revoked:
            license.forfeited += 1
        license.close(number)

    def _left_out(self, _row: Row, _values: dict[str, Any]) -> None:
        self.skipped += 1

    # --- the ERC-1155 face ---------------------------------------------------------------------------------

    def _moved(self, row: Row, values: dict[str, Any]) -> None:
        self._move(row, values["id"], values)
        last = self._last
        if (
            last is None
            or last.name not in MOVING
            or last.license != values["id"]
            or not self._is_behind(row, last, 1)
        ):
            self._say("erc1155", row, "copies moved without one of the license's own events")
            return
        license = self.licenses.get(values["id"])
        if last.name == "LicenseUsed" and self._print and self._print[0] is last:
            self._print[1].sender = values["operator"]
            if values["to"] != NOBODY or int(values["value"], 16) != 1:
                self._say("burn-missing", last, "not one copy left its holder's balance with this print")
        elif last.name == "LicenseIssued" and license is not None:
            license.sender = values["operator"]

    def _moved_together(self, row: Row, values: dict[str, Any]) -> None:
        for id, value in zip(values["ids"], values["values"], strict=False):
            self._move(row, id, values | {"value": value})

    def _move(self, row: Row, id: str, values: dict[str, Any]) -> None:
        license = self.licenses.get(id)
        if license is None:
            self._say("unknown-license", row, "copies of a license moved that was never issued", id)
            return
        for problem in license.move_tokens(values["from"], values["to"], int(values["value"], 16)):
            self._say("erc1155", row, problem, id)

    # --- what several have in common -----------------------------------------------------------------------

    @staticmethod
    def _is_behind(row: Row, other: Row, distance: int) -> bool:
        """Whether `row` stands `distance` events behind `other`, in the same block and transaction."""
        return (row.block_hash, row.transaction_hash, row.log_index) == (
            other.block_hash,
            other.transaction_hash,
            other.log_index + distance,
        )

    def _license(self, row: Row) -> LicenseHistory | None:
        license = None if row.license is None else self.licenses.get(row.license)
        if license is None:
            self._say("unknown-license", row, f"{row.name} of a license that was never issued")
        return license

    def _say(self, kind: str, row: Row, message: str, license: str | None = None) -> None:
        self.contradictions.append(
            Contradiction(kind, message, license or row.license, row.block_number, row.transaction_hash)
        )


def _place(row: Row) -> Place:
    return Place(row.block_number, row.block_hash, row.timestamp, row.transaction_hash)


def _digits(word: str) -> str:
    """Hashes as people compare them: 64 digits without 0x."""
    return word.removeprefix("0x")
