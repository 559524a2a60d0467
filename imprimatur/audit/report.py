"""What an audit found: five answers for each license, and all contradictions. Schema: `audit.v1.json`."""

from dataclasses import asdict, dataclass
from typing import Any

from imprimatur.audit.checks import Comparison, conservation, unbalanced
from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.files import FilesComparison, FilesOfLicense
from imprimatur.audit.history import Copy, LicenseHistory, Place
from imprimatur.audit.parties import Parties
from imprimatur.audit.portal import PortalComparison
from imprimatur.audit.rebuild import Rebuilt
from imprimatur.chain.orders import Right, Terms

TYPE = "urn:imprimatur:audit:v1"
NO_PAYMENT = "no payment contract deployed"
"""The answer to "was the owner paid?" until there is such a contract."""
NO_HASH = "0" * 64
"""What stands on the chain for a license without manifest."""

Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything an audit found. `portal` and `files` are None when there was nothing to compare with.

    `since`: only copies from this block on are listed. Nothing else depends on it.
    """

    rebuilt: Rebuilt
    addresses: dict[str, str]
    comparison: Comparison
    portal: PortalComparison | None = None
    files: FilesComparison | None = None
    since: int = 0

    @property
    def licenses(self) -> list[LicenseHistory]:
        return list(self.rebuilt.replay.licenses.values())

    @property
    def contradictions(self) -> list[Contradiction]:
        """All of them, those of the chain first."""
        found = [*self.rebuilt.replay.contradictions, *self.comparison.contradictions]
        found += unbalanced(self.licenses, self.comparison.remaining)
        for other in (self.portal, self.files):
            if other is not None:
                found += other.contradictions
        return found

    @property
    def anchored(self) -> bool:
        """Whether a block that the reader trusts vouches for all of it."""
        return self.rebuilt.verified and self.rebuilt.anchored

    def members(self) -> Members:
        """The report as JSON has it."""
        rebuilt = self.rebuilt
        replay = rebuilt.replay
        members: Members = {
            "type": TYPE,
            "consistent": not self.contradictions,
            "chainId": rebuilt.chain_id,
            "contracts": self.addresses,
            "block": asdict(rebuilt.head),
            "verified": rebuilt.verified,
            "anchored": rebuilt.anchored,
            "comparedWithContract": self.comparison.unavailable is None,
            "since": self.since,
            "events": replay.events,
            "skippedEntries": replay.skipped,
            "conservation": conservation(self.licenses, self.comparison.remaining).members(),
            "contradictions": [contradiction.members() for contradiction in self.contradictions],
            "remarks": [remark.members() for remark in replay.remarks],
            "licenses": [self._license(license) for license in self.licenses],
        }
        if self.portal is not None:
            members["portal"] = {
                "licenses": self.portal.licenses,
                "waiting": self.portal.waiting,
                "notInPortal": self.portal.not_in_portal,
            }
        if self.files is not None:
            members["files"] = {
                "hashed": self.files.files,
                "unreadable": self.files.unreadable,
                "notCheckable": self.files.not_checkable,
            }
        return members

    def copies(self, license: LicenseHistory) -> list[Copy]:
        """The copies that are listed."""
        return [copy for copy in license.copies if copy.place.block >= self.since]

    def balance(self, license: LicenseHistory) -> Any:
        """The license's copies by where they came from and went."""
        return conservation([license], self.comparison.remaining)

    def files_of(self, license: LicenseHistory) -> FilesOfLicense | None:
        return None if self.files is None else self.files.by_license.get(license.id)

    def operators(self, license: LicenseHistory) -> list[Members]:
        """Who may act for the owner besides her, at the audit's block."""
        given = self.rebuilt.replay.parties.operators.get(license.owner, {})
        now = self.rebuilt.head.time
        return [
            {
                "account": operator.account,
                "rights": [right.name for right in Right if right in operator.rights and right],
                # Text: 64 bits are more than every JSON reader holds.
                "until": str(operator.until),
            }
            for operator in given.values()
            if operator.rights and operator.until >= now
        ]

    def _license(self, license: LicenseHistory) -> Members:
        parties = self.rebuilt.replay.parties
        return {
            "license": license.id,
            "issued": _place(license.issued) | {"to": license.issued_to, "sender": license.sender},
            "terms": {
                "validUntil": license.valid_until,
                "transferable": Terms.TRANSFERABLE in license.flags,
                "revocable": Terms.REVOCABLE in license.flags,
                "trustedDevice": Terms.TRUSTED_DEVICE in license.flags,
                "failuresAllowed": license.failures_allowed,
            },
            "revoked": license.revoked and _place(license.revoked),
            "transfers": [
                _place(place) | {"from": giver, "to": taker} for place, giver, taker in license.transfers
            ],
            "conservation": self.balance(license).members(),
            "answers": {
                "owner": self._owner(license, parties),
                "intact": self._intact(license),
                "liable": [_copy(copy) for copy in self.copies(license)],
                "printed": {
                    "announced": license.announced,
                    "consumed": license.used,
                    "failed": license.failed,
                    "withSerial": sum(copy.commitment is not None for copy in license.copies),
                },
                "paid": NO_PAYMENT,
            },
        }

    def _owner(self, license: LicenseHistory, parties: Parties) -> Members:
        return {
            "owner": license.owner,
            "controller": parties.controller_of(license.owner),
            "operators": self.operators(license),
            "printer": license.printer,
        }

    def _intact(self, license: LicenseHistory) -> Members:
        members: Members = {
            "fileHash": license.file_hash,
            "manifestHash": None if license.manifest_hash == NO_HASH else license.manifest_hash,
            "otherFiles": [
                {
                    "fileHash": file.file_hash,
                    "manifestHash": None if file.manifest_hash == NO_HASH else file.manifest_hash,
                    "approved": file.approved,
                }
                for file in license.files.values()
            ],
        }
        if found := self.files_of(license):
            members["found"] = {
                "file": found.print_file,
                "sealedFile": found.sealed_file,
                "manifest": found.manifest,
                "signer": found.signer,
            }
        return members


def _place(place: Place) -> Members:
    return {"block": place.block, "time": place.time, "transaction": place.transaction}


def _copy(copy: Copy) -> Members:
    return _place(copy.place) | {
        "copy": copy.number,
        "device": copy.device,
        "wallet": copy.wallet,
        "attestors": [asdict(voucher) for voucher in copy.attestors],
        "sender": copy.sender,
        "fileHash": copy.file_hash,
        "commitment": copy.commitment,
        "failed": copy.failed and _place(copy.failed) | {"evidence": copy.failure_evidence},
        "replaced": copy.replaced,
    }
