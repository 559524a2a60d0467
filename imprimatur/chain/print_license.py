"""Typed access to the PrintLicense contract: reads, calldata for transactions, decoded events."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from imprimatur.chain.interface import ContractReverted, DecodedEvent, interface_of
from imprimatur.chain.rpc import NodeRefused, Rpc

CONTRACT = "PrintLicense"
FOR_EVER = 0
"""`valid_until` of a license that doesn't expire."""


class Right(IntFlag):
    """What an owner may let an operator do."""

    NONE = 0
    ISSUE = 1
    GRANT = 2
    APPROVE_FILE = 4
    REVOKE = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What an owner orders; fields as in `IPrintLicense.Order`. Times are Unix seconds."""

    owner: str
    number: int
    printer: str
    file_hash: str
    copies: int
    deadline: int
    valid_until: int = FOR_EVER
    flags: int = 0
    failures_allowed: int = 0
    manifest_hash: bytes = bytes(32)


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

    def is_expired(self, now: float) -> bool:
        return self.valid_until != FOR_EVER and now > self.valid_until


@dataclass(frozen=True, slots=True)
class Operator:
    """Rights of an operator until a Unix second."""

    rights: Right
    until: int

    def may(self, right: Right, now: float) -> bool:
        return right in self.rights and now <= self.until


def file_hash_to_int(file_hash: str) -> int:
    """The contract's uint256 of a hexadecimal SHA-256."""
    if len(file_hash) != 64:
        raise ValueError(f"A SHA-256 has 64 hexadecimal digits, not {len(file_hash)}.")
    return int(file_hash, 16)


def _topic(value: int) -> str:
    return f"0x{value:064x}"


def revert_of(refused: NodeRefused) -> ContractReverted | None:
    """The custom error behind a node's refusal of one of our calls, if it is one."""
    data = refused.data
    if isinstance(data, dict):
        data = data.get("data")
    return interface_of(CONTRACT).decode_error(data)


class PrintLicense:
    """The contract at `address`, asked through `rpc`. Logs are searched from block `since`."""

    def __init__(self, rpc: Rpc, address: str, since: int = 0) -> None:
        self.rpc = rpc
        self.address = address
        self.since = since
        self._interface = interface_of(CONTRACT)

    def _read(self, function: str, *arguments: Any) -> dict[str, Any]:
        call = {"to": self.address, "data": self._interface.encode_call(function, *arguments)}
        try:
            return self._interface.decode_result(function, self.rpc.call("eth_call", [call, "latest"]))
        except NodeRefused as error:
            raise revert_of(error) or error from error

    def license_of(self, id: int) -> License | None:
        """The license, or None when it was never issued."""
        try:
            values = self._read("licenseOf", id)["0"]
        except ContractReverted as error:
            if error.name == "LicenseNotFound":
                return None
            raise
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
        )

    def check_hash(self, id: int, file_hash: str) -> bool:
        """Whether `file_hash` is the hash of the license's file; False for an unknown license."""
        return bool(self._read("checkHash", id, file_hash_to_int(file_hash))["0"])

    def operator_of(self, owner: str, operator: str) -> Operator:
        values = self._read("operatorOf", owner, operator)
        return Operator(Right(values["rights"]), values["until"])

    def issue_call(self, order: Order, as_operator: bool = False) -> str:
        """Calldata of `issue`, or of `issueFor` when an operator sends it."""
        struct = {
            "owner": order.owner,
            "number": order.number,
            "printer": order.printer,
            "fileHash": file_hash_to_int(order.file_hash),
            "copies": order.copies,
            "validUntil": order.valid_until,
            "flags": order.flags,
            "failuresAllowed": order.failures_allowed,
            "manifestHash": order.manifest_hash,
            "deadline": order.deadline,
        }
        return self._interface.encode_call("issueFor" if as_operator else "issue", struct)

    def use_license_call(self, id: int, file_hash: str) -> str:
        """Calldata of `useLicense`."""
        return self._interface.encode_call("useLicense", id, file_hash_to_int(file_hash))

    def set_operator_call(self, operator: str, rights: Right, until: int) -> str:
        """Calldata of `setOperator`."""
        return self._interface.encode_call("setOperator", operator, int(rights), until)

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
        topics: list[Any] = [[self._interface.topic(name) for name in names] or None]
        topics.append(None if id is None else _topic(id))
        topics.append(None if account is None else _topic(int(account, 16)))
        while topics and topics[-1] is None:
            topics.pop()
        query = {
            "address": self.address,
            "fromBlock": hex(self.since if since is None else since),
            "toBlock": "latest",
            "topics": topics,
        }
        for log in self.rpc.call("eth_getLogs", [query]):
            if event := self._interface.decode_event(log):
                yield event

    def uses_in(self, receipt: dict[str, Any]) -> list[DecodedEvent]:
        """The `LicenseUsed` events of this contract in a transaction's receipt."""
        logs = [log for log in receipt["logs"] if log["address"].lower() == self.address.lower()]
        events = [self._interface.decode_event(log) for log in logs]
        return [event for event in events if event is not None and event.name == "LicenseUsed"]
