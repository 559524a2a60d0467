"""Comparing what the events say with what the contracts say at the same block, and counting copies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imprimatur import artifacts
from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import LicenseHistory
from imprimatur.audit.rebuild import Rebuilt
from imprimatur.chain.contract import Contract, block_parameter, revert_of
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused


@dataclass(frozen=True, slots=True)
class Conservation:
    """No copy is lost or made: issued + granted + failed = used + remaining + forfeited.

    All but `remaining` are counted from events; `remaining` is the contract's, when it was asked.
    """

    issued: int
    granted: int
    failed: int
    used: int
    remaining: int
    forfeited: int

    @property
    def holds(self) -> bool:
        return self.issued + self.granted + self.failed == self.used + self.remaining + self.forfeited

    def members(self) -> dict[str, Any]:
        return asdict(self) | {"holds": self.holds}

    def __str__(self) -> str:
        return (
            f"issued {self.issued} + granted {self.granted} + failed {self.failed} "
            f"{'=' if self.holds else '≠'} "
            f"used {self.used} + remaining {self.remaining} + forfeited {self.forfeited}"
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the contracts themselves say. `unavailable` is why they couldn't be asked, or None.

    `remaining` are the copies left by license, as far as they are known.
    """

    contradictions: list[Contradiction]
    remaining: dict[str, int]
    unavailable: str | None = None


def compare(licenses: PrintLicense, devices: DeviceRegistry, rebuilt: Rebuilt) -> Comparison:
    """Read every license from the contract at the block of the audit.

    Raises:
        NodeUnreachable: no usable answer.
        MalformedData: there is no such contract.
    """
    at = rebuilt.head.hash
    found: list[Contradiction] = []
    try:
        for contract in (licenses, devices):
            if problem := _code_problem(contract, at):
                found.append(Contradiction("foreign-code", problem))
        if (registry := licenses.devices()).lower() != devices.address.lower():
            message = (
                f"the contract believes the registry {registry}, the address book names {devices.address}"
            )
            found.append(Contradiction("other-registry", message))
        remaining: dict[str, int] = {}
        histories = list(rebuilt.replay.licenses.values())
        for history, stored in zip(histories, _read(licenses, histories, at), strict=True):
            if stored is None:
                found.append(Contradiction("not-in-contract", "the contract doesn't know it", history.id))
                continue
            remaining[history.id] = stored["remaining"]
            found += _differences(history, stored)
    except NodeRefused as refused:
        # A node without old states: the events are proven all the same.
        return Comparison([], {}, str(refused))
    return Comparison(found, remaining)


def conservation(histories: Iterable[LicenseHistory], remaining: dict[str, int]) -> Conservation:
    """The sum over licenses; copies left as the contract says, else as the ERC-1155 events say."""
    some = list(histories)
    return Conservation(
        issued=sum(license.issued_copies for license in some),
        granted=sum(license.granted for license in some),
        failed=sum(license.failed for license in some),
        used=sum(license.used for license in some),
        remaining=sum(remaining.get(license.id, license.tokens) for license in some),
        forfeited=sum(license.forfeited for license in some),
    )


def unbalanced(histories: Iterable[LicenseHistory], remaining: dict[str, int]) -> list[Contradiction]:
    """Licenses whose copies don't add up, in themselves or by their ERC-1155 events."""
    found = []
    for license in histories:
        balance = conservation([license], remaining)
        if not balance.holds:
            found.append(Contradiction("conservation", f"copies don't add up: {balance}", license.id))
        if license.tokens != license.remaining:
            message = (
                f"by ERC-1155 {license.tokens} copies are left, by the license's events {license.remaining}"
            )
            found.append(Contradiction("erc1155", message, license.id))
        if license.token_holder != license.printer:
            message = f"by ERC-1155 {license.token_holder} holds it, by its events {license.printer}"
            found.append(Contradiction("erc1155", message, license.id))
        if license.failed > license.failures_allowed:
            message = f"{license.failed} prints were given back, {license.failures_allowed} are allowed"
            found.append(Contradiction("too-many-failures", message, license.id))
    return found


def _code_problem(contract: Contract, at: str) -> str | None:
    code = contract.rpc.call("eth_getCode", [contract.address, block_parameter(at)])
    if artifacts.is_code_of(contract.NAME, bytes.fromhex(code.removeprefix("0x"))):
        return None
    return f"the code at {contract.address} isn't that of {contract.NAME}"


def _read(
    licenses: PrintLicense, histories: Sequence[LicenseHistory], at: str
) -> list[dict[str, Any] | None]:
    """The licenses' words as the contract reads them; None for one that it doesn't know."""
    calls = [
        (
            "eth_call",
            [
                {
                    "to": licenses.address,
                    "data": licenses.interface.encode_call("licenseOf", int(history.id, 16)),
                },
                block_parameter(at),
            ],
        )
        for history in histories
    ]
    found: list[dict[str, Any] | None] = []
    for answer in licenses.rpc.batch(calls):
        if isinstance(answer, NodeRefused):
            revert = revert_of(answer)
            if revert is None or revert.name != "LicenseNotFound":
                raise answer
            found.append(None)
        else:
            found.append(licenses.interface.decode_result("licenseOf", answer)["0"])
    return found


def _differences(history: LicenseHistory, stored: dict[str, Any]) -> list[Contradiction]:
    by_events = {
        "printer": history.printer,
        "fileHash": int(history.file_hash, 16),
        "validUntil": history.valid_until,
        "flags": int(history.flags),
        "remaining": history.remaining,
        "used": history.used,
        "failuresAllowed": history.failures_allowed,
        "failed": history.failed,
        "failedWindow": history.window,
    }
    return [
        Contradiction(
            "contract-differs",
            f"{name} is {stored[name]} in the contract and {value} by its events",
            history.id,
            history.copies[-1].place.block if history.copies else history.issued.block,
        )
        for name, value in by_events.items()
        if stored[name] != value
    ]
