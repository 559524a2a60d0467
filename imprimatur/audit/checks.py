"""Comparing what the events say with what the contracts say at the same block, and counting copies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from imprimatur import artifacts
from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import NOBODY, LicenseHistory
from imprimatur.audit.parties import Operator
from imprimatur.audit.rebuild import Rebuilt
from imprimatur.audit.state import State
from imprimatur.chain.contract import Contract
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.orders import Right
from imprimatur.chain.print_license import PrintLicense
from imprimatur.errors import ImprimaturError


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
    """What the contracts themselves say. `unavailable` is why some of it couldn't be asked, or None.

    `remaining` are the copies left by license, as far as they are known.
    """

    contradictions: list[Contradiction]
    remaining: dict[str, int]
    unavailable: str | None = None


def compare(licenses: PrintLicense, devices: DeviceRegistry, rebuilt: Rebuilt) -> Comparison:
    """Read from the contracts, at the block of the audit, what the events told of licenses, files, owners
    and devices.

    What the node can't tell is left out; what it did tell counts all the same.

    Raises:
        NodeUnreachable: no usable answer.
    """
    state = State(licenses.rpc, rebuilt.head.hash)
    found = [
        Contradiction("foreign-code", f"the code at {contract.address} isn't that of {contract.NAME}")
        for contract in (licenses, devices)
        if (code := state.code(contract)) is not None and not artifacts.is_code_of(contract.NAME, code)
    ]
    found += _registry(state, licenses, devices)
    remaining: dict[str, int] = {}
    histories = list(rebuilt.replay.licenses.values())
    answers = state.ask(licenses, "licenseOf", [(int(history.id, 16),) for history in histories])
    for history, answer in zip(histories, answers, strict=True):
        if isinstance(answer, ContractReverted) and answer.name == "LicenseNotFound":
            found.append(Contradiction("not-in-contract", "the contract doesn't know it", history.id))
        elif isinstance(answer, ImprimaturError):
            found.append(_refused("licenseOf", answer, history.id))
        elif answer is not None:
            remaining[history.id] = answer["0"]["remaining"]
            found += _differences(history, answer["0"])
    for contract, function, expected in (
        (licenses, "checkHash", _files(histories)),
        (licenses, "controllerOf", _controllers(rebuilt)),
        (licenses, "operatorOf", _operators(rebuilt)),
        (devices, "walletOf", _wallets(rebuilt)),
    ):
        found += _other_values(state, contract, function, expected)
    return Comparison(found, remaining, state.unavailable)


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
    return found


def _refused(function: str, refusal: ImprimaturError, license: str | None = None) -> Contradiction:
    return Contradiction("contract-differs", f"{function} of the contract has no answer. {refusal}", license)


def _registry(state: State, licenses: PrintLicense, devices: DeviceRegistry) -> list[Contradiction]:
    (answer,) = state.ask(licenses, "DEVICES", [()])
    if isinstance(answer, ImprimaturError):
        return [_refused("DEVICES", answer)]
    if answer is None or answer["0"].lower() == devices.address.lower():
        return []
    message = f"the contract believes the registry {answer['0']}, the address book names {devices.address}"
    return [Contradiction("other-registry", message)]


@dataclass(frozen=True, slots=True)
class _Expected:
    """What a function has to answer by the events; `about` is how people call it."""

    arguments: tuple[Any, ...]
    values: tuple[Any, ...]
    about: str
    license: str | None = None


def _files(histories: Iterable[LicenseHistory]) -> list[_Expected]:
    return [
        _Expected(
            (int(history.id, 16), int(hash, 16)),
            (history.allows(hash),),
            f"whether the file {hash} is allowed",
            history.id,
        )
        for history in histories
        for hash in dict.fromkeys(
            [history.file_hash, *history.files, *(copy.file_hash for copy in history.copies)]
        )
    ]


def _controllers(rebuilt: Rebuilt) -> list[_Expected]:
    parties = rebuilt.replay.parties
    issuers = [history.owner for history in rebuilt.replay.licenses.values()]
    owners = dict.fromkeys([*issuers, *parties.controllers, *parties.operators])
    return [
        _Expected((owner,), (parties.controller_of(owner),), f"who acts for the owner {owner}")
        for owner in owners
    ]


def _operators(rebuilt: Rebuilt) -> list[_Expected]:
    """Those that events name, and who issued: a node that is believed may hide that she was made operator."""
    known = rebuilt.replay.parties.operators
    pairs = [(owner, operator) for owner, operators in known.items() for operator in operators]
    issuers = [
        (history.owner, history.sender) for history in rebuilt.replay.licenses.values() if history.sender
    ]
    expected = []
    for owner, account in dict.fromkeys([*pairs, *issuers]):
        operator = known.get(owner, {}).get(account) or Operator(account, Right(0), 0)
        values = (int(operator.rights), operator.until)
        expected.append(
            _Expected((owner, account), values, f"rights and end of the operator {account} of {owner}")
        )
    return expected


def _wallets(rebuilt: Rebuilt) -> list[_Expected]:
    parties = rebuilt.replay.parties
    printing = [copy.device for history in rebuilt.replay.licenses.values() for copy in history.copies]
    return [
        _Expected((device,), (parties.wallets.get(device, NOBODY),), f"the wallet of the device {device}")
        for device in dict.fromkeys([*parties.devices, *printing])
    ]


def _other_values(
    state: State, contract: Contract, function: str, expected: Sequence[_Expected]
) -> list[Contradiction]:
    found = []
    answers = state.ask(contract, function, [one.arguments for one in expected])
    for one, answer in zip(expected, answers, strict=True):
        if isinstance(answer, ImprimaturError):
            found.append(_refused(function, answer, one.license))
        elif answer is not None and (values := tuple(answer.values())) != one.values:
            theirs, ours = (" and ".join(map(str, some)) for some in (values, one.values))
            message = f"{one.about}: {theirs} in the contract and {ours} by the events"
            found.append(Contradiction("contract-differs", message, one.license))
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
