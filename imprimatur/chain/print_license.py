"""Typed access to the PrintLicense contract: reads, calldata for transactions, decoded events."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imprimatur.chain.contract import Block, Contract
from imprimatur.chain.interface import ContractReverted, DecodedEvent
from imprimatur.chain.orders import FOR_EVER, Order, Right, Terms, file_hash_to_int
from imprimatur.chain.typed_data import Failure, Signed, Use

__all__ = [
    "CONTRACT",
    "FOR_EVER",
    "License",
    "Operator",
    "Order",
    "PrintLicense",
    "Right",
    "Terms",
    "Usability",
]

CONTRACT = "PrintLicense"


@dataclass(frozen=True, slots=True)
class License:
    """A license as it stands on the chain. `file_hash` is a hexadecimal SHA-256."""

    id: int
    printer: str
    file_hash: str
    valid_until: int
    flags: int
    remaining: int
    used: int
    failures_allowed: int
    failed: int
    failed_window: int = 0
    """Bit j is set when copy `used - j` is failed or closed."""

    def is_expired(self, now: float) -> bool:
        return self.valid_until != FOR_EVER and now > self.valid_until

    def has(self, terms: Terms) -> bool:
        """Whether all these flags are set."""
        return terms in Terms(self.flags)


@dataclass(frozen=True, slots=True)
class Operator:
    """Rights of an operator until a Unix second."""

    rights: Right
    until: int

    def may(self, right: Right, now: float) -> bool:
        return right in self.rights and now <= self.until


@dataclass(frozen=True, slots=True)
class Usability:
    """Whether a device could consume a copy now; `reason` names the error it would get otherwise."""

    usable: bool
    reason: str | None

    def __bool__(self) -> bool:
        return self.usable


class PrintLicense(Contract):
    """The contract at `address`, asked through `rpc`. Logs are searched from block `since`."""

    NAME = CONTRACT

    # --- reading ---------------------------------------------------------------------------------------

    def license_of(self, id: int, block: Block = "latest") -> License | None:
        """The license, or None when it was never issued."""
        try:
            values = self._read("licenseOf", id, block=block)["0"]
        except ContractReverted as error:
            if error.name == "LicenseNotFound":
                return None
            raise
        return _license(id, values)

    def licenses_of(self, ids: Sequence[int], block: Block = "latest") -> list[License | None]:
        """As `license_of` for each of the `ids`, asked at once."""
        found: list[License | None] = []
        for id, values in zip(ids, self._read_each("licenseOf", [(id,) for id in ids], block), strict=True):
            if isinstance(values, ContractReverted) and values.name != "LicenseNotFound":
                raise values
            found.append(None if isinstance(values, ContractReverted) else _license(id, values["0"]))
        return found

    def check_hash(self, id: int, file_hash: str, block: Block = "latest") -> bool:
        """Whether this is the license's file, or one approved for it; False for an unknown license."""
        return bool(self._read("checkHash", id, file_hash_to_int(file_hash), block=block)["0"])

    def can_use(self, id: int, file_hash: str, caller: str, block: Block = "latest") -> Usability:
        """Whether `caller` could consume a copy now."""
        return self._usability(self._read("canUse", id, file_hash_to_int(file_hash), caller, block=block))

    def can_use_each(self, files: Sequence[tuple[int, str]], caller: str) -> list[Usability]:
        """As `can_use` for each id and file hash, asked at once."""
        asked = [(id, file_hash_to_int(file_hash), caller) for id, file_hash in files]
        found = []
        for values in self._read_each("canUse", asked):
            if isinstance(values, ContractReverted):
                raise values
            found.append(self._usability(values))
        return found

    def _usability(self, values: dict[str, Any]) -> Usability:
        usable, reason = values.values()
        return Usability(usable, None if usable else self._interface.error_name(reason))

    def operator_of(self, owner: str, operator: str, block: Block = "latest") -> Operator:
        """What `operator` may do for `owner`."""
        values = self._read("operatorOf", owner, operator, block=block)
        return Operator(Right(values["rights"]), values["until"])

    def controller_of(self, owner: str, block: Block = "latest") -> str:
        """The account that acts for `owner`: herself, unless she handed control over."""
        return str(self._read("controllerOf", owner, block=block)["0"])

    def balance_of(self, account: str, id: int, block: Block = "latest") -> int:
        """Copies left when `account` holds the license, else 0 (ERC-1155)."""
        return int(self._read("balanceOf", account, id, block=block)["0"])

    def is_approved_for_all(self, account: str, operator: str, block: Block = "latest") -> bool:
        """Whether `operator` may transfer the licenses of `account` (ERC-1155)."""
        return bool(self._read("isApprovedForAll", account, operator, block=block)["0"])

    def uri(self, id: int, block: Block = "latest") -> str:
        """The license's metadata as a data URI (ERC-1155).

        Raises:
            ContractReverted: LicenseNotFound.
        """
        return str(self._read("uri", id, block=block)["0"])

    def devices(self) -> str:
        """Address of the DeviceRegistry that this contract believes."""
        return str(self._read("DEVICES")["0"])

    def version(self) -> str:
        return str(self._read("version")["0"])

    # --- issuing ---------------------------------------------------------------------------------------

    def issue_call(self, order: Order, as_operator: bool = False) -> str:
        """Calldata of `issue`, or of `issueFor` when an operator sends it."""
        return self._interface.encode_call("issueFor" if as_operator else "issue", order.values())

    def issue_batch_call(self, orders: Iterable[Order]) -> str:
        """Calldata of `issueBatch`: all or none; the owner or her operator sends it."""
        return self._interface.encode_call("issueBatch", [order.values() for order in orders])

    def redeem_call(self, order: Order, signature: str) -> str:
        """Calldata of `redeem`: the owner's voucher (`typed_data.sign_order`); anybody sends it."""
        return self._interface.encode_call("redeem", order.values(), _bytes(signature))

    # --- printing --------------------------------------------------------------------------------------

    def use_license_call(self, id: int, file_hash: str) -> str:
        """Calldata of `useLicense`."""
        return self._interface.encode_call("useLicense", id, file_hash_to_int(file_hash))

    def use_license_and_log_call(
        self,
        id: int,
        file_hash: str,
        copy: int,
        key_recipient: bytes,
        encrypted_serial: bytes,
        commitment: bytes,
    ) -> str:
        """Calldata of `useLicenseAndLog`; `copy` must be the next one, the three values have 32 bytes."""
        hash = file_hash_to_int(file_hash)
        return self._interface.encode_call(
            "useLicenseAndLog", id, hash, copy, key_recipient, encrypted_serial, commitment
        )

    def use_licenses_signed_call(self, uses: Iterable[Signed[Use]]) -> str:
        """Calldata of `useLicensesSigned`: bad entries are skipped; anybody sends it."""
        return self._interface.encode_call("useLicensesSigned", [use.values() for use in uses])

    def report_failure_call(self, id: int, copy: int, evidence: bytes) -> str:
        """Calldata of `reportFailure`; `evidence` is a hash of 32 bytes."""
        return self._interface.encode_call("reportFailure", id, copy, evidence)

    def report_failures_signed_call(self, failures: Iterable[Signed[Failure]]) -> str:
        """Calldata of `reportFailuresSigned`: bad entries are skipped; anybody sends it."""
        return self._interface.encode_call("reportFailuresSigned", [failure.values() for failure in failures])

    # --- changing a license ----------------------------------------------------------------------------

    def grant_copies_call(self, id: int, copies: int, for_copy: int = 0) -> str:
        """Calldata of `grantCopies`; `for_copy` is the copy that the new ones replace, or 0."""
        return self._interface.encode_call("grantCopies", id, copies, for_copy)

    def approve_file_call(self, id: int, file_hash: str, manifest_hash: bytes, approved: bool = True) -> str:
        """Calldata of `approveFile`."""
        hash = file_hash_to_int(file_hash)
        return self._interface.encode_call("approveFile", id, hash, manifest_hash, approved)

    def revoke_call(self, id: int) -> str:
        """Calldata of `revoke`."""
        return self._interface.encode_call("revoke", id)

    def transfer_license_call(self, id: int, to: str) -> str:
        """Calldata of `transferLicense`; the printer wallet sends it, or whom it approved for all."""
        return self._interface.encode_call("transferLicense", id, to)

    def safe_transfer_from_call(self, sender: str, to: str, id: int, copies: int, data: bytes = b"") -> str:
        """Calldata of ERC-1155's `safeTransferFrom`; `copies` must be all that are left."""
        return self._interface.encode_call("safeTransferFrom", sender, to, id, copies, data)

    def safe_batch_transfer_from_call(
        self, sender: str, to: str, ids: list[int], copies: list[int], data: bytes = b""
    ) -> str:
        """Calldata of ERC-1155's `safeBatchTransferFrom`."""
        return self._interface.encode_call("safeBatchTransferFrom", sender, to, ids, copies, data)

    def set_approval_for_all_call(self, operator: str, approved: bool) -> str:
        """Calldata of ERC-1155's `setApprovalForAll`."""
        return self._interface.encode_call("setApprovalForAll", operator, approved)

    # --- who acts for an owner -------------------------------------------------------------------------

    def set_operator_call(self, owner: str, operator: str, rights: Right, until: int) -> str:
        """Calldata of `setOperator`; who acts for `owner` sends it. Right.NONE cuts the operator off."""
        return self._interface.encode_call("setOperator", owner, operator, int(rights), until)

    def offer_control_call(self, owner: str, to: str) -> str:
        """Calldata of `offerControl`; who acts for `owner` sends it."""
        return self._interface.encode_call("offerControl", owner, to)

    def accept_control_call(self, owner: str) -> str:
        """Calldata of `acceptControl`; who was offered to act for `owner` sends it."""
        return self._interface.encode_call("acceptControl", owner)

    # --- events ----------------------------------------------------------------------------------------

    def events(
        self,
        *names: str,
        id: int | None = None,
        account: str | None = None,
        since: int | None = None,
    ) -> Iterator[DecodedEvent]:
        """Events in chain order.

        Args:
            names: of the events; all that the contract knows when empty.
            id: only those of this license.
            account: only those whose second indexed value is this account: the printer of
                `LicenseIssued`, the device of `LicenseUsed`, the operator of `OperatorSet`.
            since: first block; the contract's first by default.
        """
        return self._events(names, [id, None if account is None else int(account, 16)], since)

    def transfers_to(self, account: str, since: int | None = None) -> Iterator[DecodedEvent]:
        """The `LicenseTransferred` events of licenses that went to `account`, in chain order."""
        return self._events(("LicenseTransferred",), [None, None, int(account, 16)], since)

    def uses_in(self, receipt: dict[str, Any]) -> list[DecodedEvent]:
        """The `LicenseUsed` events of this contract in a transaction's receipt."""
        return self.events_in(receipt, "LicenseUsed")

    def skipped_in(self, receipt: dict[str, Any]) -> list[tuple[int, int, str]]:
        """What a batch of signed messages left out: license, copy, and the name of the reason's error."""
        events = self.events_in(receipt, "UseSkipped", "FailureSkipped")
        return [
            (e.values["id"], e.values["copy"], self._interface.error_name(e.values["reason"])) for e in events
        ]


def _license(id: int, values: dict[str, Any]) -> License:
    return License(
        id=id,
        printer=values["printer"],
        file_hash=f"{values['fileHash']:064x}",
        valid_until=values["validUntil"],
        flags=values["flags"],
        remaining=values["remaining"],
        used=values["used"],
        failures_allowed=values["failuresAllowed"],
        failed=values["failed"],
        failed_window=values["failedWindow"],
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
