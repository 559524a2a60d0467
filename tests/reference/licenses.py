"""The readable twin of PrintLicense: what each function does, with plain integers, sets and dictionaries.

Nothing here is packed, signed or optimised: it is the specification in a form that runs. Accounts are
checksum addresses, file hashes are integers, other hashes bytes, times Unix seconds.

Every function takes the block's time as `now` and who calls as `caller`. It raises `Refused` and changes
nothing, or changes the registry and adds to `events` what the contract must have logged.
"""

from dataclasses import dataclass, field
from typing import Any

from eth_utils import to_checksum_address

from reference.devices import Devices
from reference.events import NOBODY, ZERO_HASH, EventLog, Refused

TRANSFERABLE, REVOCABLE, TRUSTED_DEVICE, REVOKED = 1, 2, 4, 8
TERMS_OF_AN_ORDER = TRANSFERABLE | REVOCABLE | TRUSTED_DEVICE
ISSUE, GRANT, APPROVE_FILE, REVOKE = 1, 2, 4, 8
MOST_COPIES = 65_535
MOST_FAILURES = 63
REPORTABLE = 16
"""Only the last so many copies can be reported as failed."""

Values = dict[str, Any]


@dataclass
class License:
    """One license and its books."""

    printer: str
    file_hash: int
    valid_until: int
    flags: int
    failures_allowed: int
    issued: int
    granted: int = 0
    forfeited: int = 0
    used: int = 0
    failed: int = 0
    closed: set[int] = field(default_factory=set)
    """Copies that failed or that the owner replaced."""
    closed_up_to: int = -REPORTABLE
    """Copies that somebody printed before the license was transferred."""
    serials: list[int] = field(default_factory=list)
    """Copies with a logged serial, in order."""
    lost: int = 0
    """Failures on a revoked license: counted, but not given back."""

    @property
    def remaining(self) -> int:
        """Nothing is counted twice: what is left follows from the books."""
        given = self.issued + self.granted + self.failed - self.lost
        return given - self.used - self.forfeited

    @property
    def is_revoked(self) -> bool:
        return bool(self.flags & REVOKED)

    def is_closed(self, copy: int) -> bool:
        return copy in self.closed or copy <= self.closed_up_to

    def window(self) -> int:
        """What the contract keeps of the closed copies: bit j for copy `used - j`."""
        return sum(1 << j for j in range(REPORTABLE) if self.is_closed(self.used - j))


class Licenses:
    """All licenses, who acts for their owners, and who may move them."""

    def __init__(self, devices: Devices, events: EventLog) -> None:
        self.devices = devices
        self.events = events
        self.licenses: dict[int, License] = {}
        self.alternatives: set[tuple[int, int]] = set()
        self.operators: dict[tuple[str, str], tuple[int, int]] = {}
        self.controllers: dict[str, str] = {}
        self.offers: dict[str, str] = {}
        self.approvals: set[tuple[str, str]] = set()

    # --- who may -----------------------------------------------------------------------------------------

    def controller_of(self, owner: str) -> str:
        return self.controllers.get(owner, owner)

    def _is_operator(self, caller: str, owner: str, right: int, now: int) -> bool:
        rights, until = self.operators.get((owner, caller), (0, 0))
        return bool(rights & right) and now <= until

    def _require_owners_side(self, caller: str, owner: str, right: int, now: int) -> None:
        if caller != self.controller_of(owner) and not self._is_operator(caller, owner, right, now):
            raise Refused("NotAllowed")

    def _require_controller(self, caller: str, owner: str) -> None:
        if caller != self.controller_of(owner):
            raise Refused("NotAllowed")

    def set_operator(self, caller: str, owner: str, operator: str, rights: int, until: int) -> None:
        self._require_controller(caller, owner)
        if rights > ISSUE | GRANT | APPROVE_FILE | REVOKE:
            raise Refused("InvalidRights")
        self.operators[owner, operator] = (rights, until)
        self.events.add("OperatorSet", owner=owner, operator=operator, rights=rights, until=until)

    def offer_control(self, caller: str, owner: str, to: str) -> None:
        self._require_controller(caller, owner)
        self.offers[owner] = to
        self.events.add("ControlOffered", **{"owner": owner, "from": caller, "to": to})

    def accept_control(self, caller: str, owner: str) -> None:
        if self.offers.get(owner, NOBODY) != caller:
            raise Refused("ControlNotOffered")
        before = self.controller_of(owner)
        del self.offers[owner]
        self.controllers[owner] = caller
        self.events.add("ControlTransferred", **{"owner": owner, "from": before, "to": caller})

    # --- issuing -----------------------------------------------------------------------------------------

    def issue(self, caller: str, order: Values, now: int) -> None:
        self._require_controller(caller, order["owner"])
        self._issue(caller, order, now)

    def issue_for(self, caller: str, order: Values, now: int) -> None:
        if not self._is_operator(caller, order["owner"], ISSUE, now):
            raise Refused("NotAllowed")
        self._issue(caller, order, now)

    def issue_batch(self, caller: str, orders: list[Values], now: int) -> None:
        """All or none: the caller must throw this registry's changes away after a refusal."""
        for order in orders:
            self._require_owners_side(caller, order["owner"], ISSUE, now)
            self._issue(caller, order, now)

    def redeem(self, caller: str, order: Values, signer: str, now: int) -> None:
        if signer != self.controller_of(order["owner"]):
            raise Refused("InvalidSignature")
        self._issue(caller, order, now)

    def _issue(self, caller: str, order: Values, now: int) -> None:
        id = int(order["owner"], 16) << 96 | order["number"]
        if now > order["deadline"]:
            raise Refused("OrderExpired")
        if order["printer"] == NOBODY:
            raise Refused("InvalidPrinter")
        if order["fileHash"] == 0:
            raise Refused("FileHashIsZero")
        if order["copies"] == 0:
            raise Refused("NoCopies")
        if order["flags"] & ~TERMS_OF_AN_ORDER:
            raise Refused("InvalidFlags")
        if order["failuresAllowed"] > MOST_FAILURES:
            raise Refused("TooManyFailures")
        if order["copies"] + order["failuresAllowed"] > MOST_COPIES:
            raise Refused("TooManyCopies")
        if order["validUntil"] and now > order["validUntil"]:
            raise Refused("InvalidValidity")
        if id in self.licenses:
            raise Refused("LicenseExists")
        self.licenses[id] = License(
            printer=order["printer"],
            file_hash=order["fileHash"],
            valid_until=order["validUntil"],
            flags=order["flags"],
            failures_allowed=order["failuresAllowed"],
            issued=order["copies"],
        )
        logged = ("printer", "fileHash", "copies", "validUntil", "flags", "failuresAllowed", "manifestHash")
        self.events.add("LicenseIssued", id=id, **{name: order[name] for name in logged})
        self._moved(caller, NOBODY, order["printer"], id, order["copies"])

    # --- printing ----------------------------------------------------------------------------------------

    def check_hash(self, id: int, file_hash: int) -> bool:
        if file_hash == 0 or id not in self.licenses:
            return False
        return file_hash == self.licenses[id].file_hash or (id, file_hash) in self.alternatives

    def _acts_for(self, device: str, wallet: str) -> bool:
        return device == wallet or self.devices.wallet_of(device) == wallet

    def why_not_usable(self, id: int, file_hash: int, device: str, now: int) -> str | None:
        """The error that `device` would get, or None when it could consume a copy."""
        license = self.licenses.get(id)
        if license is None:
            return "LicenseNotFound"
        if not self._acts_for(device, license.printer):
            return "NotThePrinter"
        if license.is_revoked:
            return "LicenseIsRevoked"
        if license.valid_until and now > license.valid_until:
            return "LicenseExpired"
        if file_hash == 0:
            return "FileHashIsZero"
        if not self.check_hash(id, file_hash):
            return "FileHashMismatch"
        if license.remaining == 0:
            return "LicenseExhausted"
        if license.flags & TRUSTED_DEVICE and not self.devices.is_trusted(
            device, self.controller_of(owner_of(id))
        ):
            return "DeviceNotTrusted"
        return None

    def use(self, caller: str, id: int, file_hash: int, now: int) -> None:
        if reason := self.why_not_usable(id, file_hash, caller, now):
            raise Refused(reason)
        self._consume(caller, caller, id, file_hash, ZERO_HASH)

    def use_and_log(self, caller: str, use: Values, now: int) -> None:
        """`use` has the fields of the contract's SignedUse, without deadline and signature."""
        if reason := self._why_not_logged(use, caller, now):
            raise Refused(reason)
        self._consume_and_log(caller, caller, use)

    def use_signed(self, caller: str, uses: list[tuple[Values, str]], now: int) -> None:
        """Each use with who signed it (NOBODY when that is unknown)."""
        for use, device in uses:
            late = "SignatureExpired" if now > use["deadline"] else None
            if reason := late or self._why_not_logged(use, device, now):
                self.events.add("UseSkipped", id=use["id"], copy=use["copy"], reason=reason)
            else:
                self._consume_and_log(caller, device, use)

    def _why_not_logged(self, use: Values, device: str, now: int) -> str | None:
        if reason := self.why_not_usable(use["id"], use["fileHash"], device, now):
            return reason
        return None if use["copy"] == self.licenses[use["id"]].used + 1 else "CopyOutOfOrder"

    def _consume_and_log(self, caller: str, device: str, use: Values) -> None:
        id, copy = use["id"], use["copy"]
        self._consume(caller, device, id, use["fileHash"], use["keyRecipient"])
        self.licenses[id].serials.append(copy)
        self.events.add("PrintLogged", id=id, copy=copy, encryptedSerial=use["encryptedSerial"])
        self.events.add("SerialRegistered", commitment=use["commitment"], device=device)

    def _consume(self, caller: str, device: str, id: int, file_hash: int, key_recipient: bytes) -> None:
        license = self.licenses[id]
        license.used += 1
        self.events.add(
            "LicenseUsed",
            id=id,
            device=device,
            copy=license.used,
            fileHash=file_hash,
            keyRecipient=key_recipient,
        )
        self._moved(caller, license.printer, NOBODY, id, 1)

    def why_not_failed(self, id: int, copy: int, device: str) -> str | None:
        """The error that `device` would get for this report, or None."""
        license = self.licenses.get(id)
        if license is None:
            return "LicenseNotFound"
        if not self._acts_for(device, license.printer):
            return "NotThePrinter"
        if not 1 <= copy <= license.used or license.used - copy >= REPORTABLE or license.is_closed(copy):
            return "CopyNotRefundable"
        if license.failed == license.failures_allowed:
            return "NoFreeFailureLeft"
        return None

    def report_failure(self, caller: str, id: int, copy: int, evidence: bytes) -> None:
        if reason := self.why_not_failed(id, copy, caller):
            raise Refused(reason)
        self._fail(caller, id, copy, evidence)

    def report_signed(self, caller: str, failures: list[tuple[Values, str]], now: int) -> None:
        for failure, device in failures:
            id, copy = failure["id"], failure["copy"]
            late = "SignatureExpired" if now > failure["deadline"] else None
            if reason := late or self.why_not_failed(id, copy, device):
                self.events.add("FailureSkipped", id=id, copy=copy, reason=reason)
            else:
                self._fail(caller, id, copy, failure["evidence"])

    def _fail(self, caller: str, id: int, copy: int, evidence: bytes) -> None:
        license = self.licenses[id]
        license.closed.add(copy)
        license.failed += 1
        self.events.add("PrintFailed", id=id, copy=copy, evidence=evidence)
        if license.is_revoked:
            license.lost += 1
        else:
            self._moved(caller, NOBODY, license.printer, id, 1)

    # --- changing a license ------------------------------------------------------------------------------

    def grant(self, caller: str, id: int, copies: int, for_copy: int, now: int) -> None:
        self._require_owners_side(caller, owner_of(id), GRANT, now)
        license = self._existing(id)
        if license.is_revoked:
            raise Refused("LicenseIsRevoked")
        if copies == 0:
            raise Refused("NoCopies")
        failures_left = license.failures_allowed - license.failed
        if license.used + license.remaining + copies + failures_left > MOST_COPIES:
            raise Refused("TooManyCopies")
        if for_copy:
            is_recent = license.used - for_copy < REPORTABLE
            if for_copy > license.used or (is_recent and license.is_closed(for_copy)):
                raise Refused("CopyNotRefundable")
            license.closed.add(for_copy)
        license.granted += copies
        self.events.add("CopiesGranted", id=id, copies=copies, forCopy=for_copy)
        self._moved(caller, NOBODY, license.printer, id, copies)

    def approve_file(
        self, caller: str, id: int, file_hash: int, manifest_hash: bytes, approved: bool, now: int
    ) -> None:
        self._require_owners_side(caller, owner_of(id), APPROVE_FILE, now)
        license = self._existing(id)
        if file_hash == 0:
            raise Refused("FileHashIsZero")
        if file_hash == license.file_hash:
            raise Refused("FileIsTheLicensedOne")
        if approved:
            self.alternatives.add((id, file_hash))
        else:
            self.alternatives.discard((id, file_hash))
        self.events.add(
            "FileApproved", id=id, fileHash=file_hash, manifestHash=manifest_hash, approved=approved
        )

    def revoke(self, caller: str, id: int, now: int) -> None:
        self._require_owners_side(caller, owner_of(id), REVOKE, now)
        license = self._existing(id)
        if not license.flags & REVOCABLE:
            raise Refused("LicenseNotRevocable")
        if license.is_revoked:
            raise Refused("LicenseIsRevoked")
        forfeited = license.remaining
        license.forfeited += forfeited
        license.flags |= REVOKED
        self.events.add("LicenseRevoked", id=id, forfeited=forfeited)
        self._moved(caller, license.printer, NOBODY, id, forfeited)

    # --- moving a license --------------------------------------------------------------------------------

    def approve_for_all(self, caller: str, operator: str, approved: bool) -> None:
        if operator == NOBODY:
            raise Refused("ERC1155InvalidOperator")
        if approved:
            self.approvals.add((caller, operator))
        else:
            self.approvals.discard((caller, operator))
        self.events.add("ApprovalForAll", account=caller, operator=operator, approved=approved)

    def transfer(self, caller: str, id: int, to: str) -> None:
        license = self._existing(id)
        sender, value = license.printer, license.remaining
        self._require_holder_or_approved(caller, sender)
        self._move(id, sender, to, value)
        self._moved(caller, sender, to, id, value)

    def safe_transfer(self, caller: str, sender: str, to: str, id: int, value: int) -> None:
        self._require_holder_or_approved(caller, sender)
        self._move(id, sender, to, value)
        self._moved(caller, sender, to, id, value)

    def balance_of(self, account: str, id: int) -> int:
        license = self.licenses.get(id)
        return license.remaining if license and license.printer == account else 0

    def _require_holder_or_approved(self, caller: str, holder: str) -> None:
        if caller != holder and (holder, caller) not in self.approvals:
            raise Refused("ERC1155MissingApprovalForAll")

    def _move(self, id: int, sender: str, to: str, value: int) -> None:
        license = self._existing(id)
        if sender != license.printer:
            raise Refused("ERC1155InsufficientBalance")
        if to == NOBODY:
            raise Refused("ERC1155InvalidReceiver")
        if license.is_revoked:
            raise Refused("LicenseIsRevoked")
        if not license.flags & TRANSFERABLE:
            raise Refused("LicenseNotTransferable")
        if license.remaining == 0:
            raise Refused("LicenseExhausted")
        if value != license.remaining:
            raise Refused("PartialTransfer")
        license.printer = to
        license.closed_up_to = license.used
        self.events.add("LicenseTransferred", **{"id": id, "from": sender, "to": to})

    def _existing(self, id: int) -> License:
        if id not in self.licenses:
            raise Refused("LicenseNotFound")
        return self.licenses[id]

    def _moved(self, caller: str, sender: str, to: str, id: int, value: int) -> None:
        """ERC-1155's event: a mint from nobody, a burn to nobody, or a transfer."""
        self.events.add(
            "TransferSingle", **{"operator": caller, "from": sender, "to": to, "id": id, "value": value}
        )


def owner_of(id: int) -> str:
    """The account in the upper 160 bits of an id."""
    return to_checksum_address((id >> 96).to_bytes(20, "big"))
