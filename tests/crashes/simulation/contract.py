"""PrintLicense as a plain function from one state to the next, for what printers and their relays send it.

Its rules are those of `contracts/PrintLicense.sol`; `test_simulated_license.py` asks both the same.
"""

from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from imprimatur.chain.contract import EXECUTION_REVERTED
from imprimatur.chain.interface import interface_of
from imprimatur.chain.orders import FOR_EVER, file_hash_to_int
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signature_check import is_signed_by
from imprimatur.chain.typed_data import FAILURE, USE, Domain, Failure, Types, Use, license_domain

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
WINDOW = 16
_USE = "(uint256,uint256,uint256,bytes32,bytes32,bytes32,uint256,bytes32,bytes32)"
_FAILURE = "(uint256,uint256,bytes32,uint256,bytes32,bytes32)"
_LICENSE = "(address,uint32,uint8,uint16,uint16,uint16,uint8,uint8,uint256)"

Log = dict[str, Any]
"""Topics and data; where it stands is added by the node."""


def _selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


USE_SIGNED = _selector(f"useLicensesSigned({_USE}[])")
REPORT_SIGNED = _selector(f"reportFailuresSigned({_FAILURE}[])")
USE_DIRECTLY = _selector("useLicense(uint256,uint256)")
CAN_USE = _selector("canUse(uint256,uint256,address)")
LICENSE_OF = _selector("licenseOf(uint256)")


@dataclass(frozen=True, slots=True)
class Terms:
    """One license. `file_hash` is a number, accounts have their checksum."""

    printer: str
    file_hash: int
    remaining: int
    failures_allowed: int = 0
    used: int = 0
    failed: int = 0
    window: int = 0

    def consumed(self) -> "Terms":
        return replace(
            self,
            remaining=self.remaining - 1,
            used=self.used + 1,
            window=self.window << 1 & (1 << WINDOW) - 1,
        )

    def given_back(self, copy: int) -> "Terms":
        return replace(
            self,
            remaining=self.remaining + 1,
            failed=self.failed + 1,
            window=self.window | 1 << self.used - copy,
        )


@dataclass(frozen=True)
class Contract:
    """The contract after a block: `logs` are all that it ever wrote, with the block's number."""

    chain_id: int
    wallets: dict[str, str]
    """By device: the wallet that has bound it."""
    licenses: dict[int, Terms] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        return license_domain(self.chain_id, ADDRESS)

    def refusal(self, id: int, file_hash: int, device: str) -> str | None:
        """Name of the error that `device` would get."""
        terms = self.licenses.get(id)
        if terms is None:
            return "LicenseNotFound"
        if terms.printer not in (device, self.wallets.get(device)):
            return "NotThePrinter"
        if terms.file_hash != file_hash:
            return "FileHashMismatch"
        return "LicenseExhausted" if not terms.remaining else None

    def failure_refusal(self, id: int, copy: int, device: str) -> str | None:
        terms = self.licenses.get(id)
        if terms is None:
            return "LicenseNotFound"
        if terms.printer not in (device, self.wallets.get(device)):
            return "NotThePrinter"
        age = terms.used - copy
        if copy == 0 or not 0 <= age < WINDOW or terms.window >> age & 1:
            return "CopyNotRefundable"
        return "NoFreeFailureLeft" if terms.failed >= terms.failures_allowed else None

    def after(self, sender: str, data: bytes, timestamp: int) -> tuple["Contract", list[Log]]:
        """The state and the logs after a transaction of `sender`."""
        state, logs = self, []
        for one in messages_in(data):
            state, log = state._after(one, sender, timestamp)
            logs.append(log)
        return state, logs

    def _after(self, one: Any, sender: str, timestamp: int) -> tuple["Contract", Log]:
        if isinstance(one, _Direct):
            device, problem = sender, self.refusal(one.id, one.file_hash, sender)
            if problem is not None:
                return self, {}
            use = Use(one.id, f"{one.file_hash:064x}", self.licenses[one.id].used + 1, *[bytes(32)] * 3, 0)
            return self._used(use, device)
        message, device = one.message, _signer(one, self.chain_id, tuple(self.wallets))
        if timestamp > message.deadline:
            problem = "SignatureExpired"
        elif isinstance(message, Use):
            problem = self.refusal(message.id, file_hash_to_int(message.file_hash), device)
            if problem is None and message.copy != self.licenses[message.id].used + 1:
                problem = "CopyOutOfOrder"
        else:
            problem = self.failure_refusal(message.id, message.copy, device)
        if problem is not None:
            name = "UseSkipped" if isinstance(message, Use) else "FailureSkipped"
            return self, _log(
                name, [message.id], ["uint256", "bytes4"], [message.copy, error_selector(problem)]
            )
        if isinstance(message, Use):
            return self._used(message, device)
        log = _log("PrintFailed", [message.id], ["uint16", "bytes32"], [message.copy, message.evidence])
        return self.with_license(message.id, self.licenses[message.id].given_back(message.copy)), log

    def _used(self, use: Use, device: str) -> tuple["Contract", Log]:
        hash = file_hash_to_int(use.file_hash)
        log = _log(
            "LicenseUsed",
            [use.id, int(device, 16)],
            ["uint16", "uint256", "bytes32"],
            [use.copy, hash, use.key_recipient],
        )
        return self.with_license(use.id, self.licenses[use.id].consumed()), log

    def with_license(self, id: int, terms: Terms) -> "Contract":
        return replace(self, licenses={**self.licenses, id: terms})

    def read(self, data: bytes) -> bytes:
        """What a call returns.

        Raises:
            NodeRefused: it reverts.
        """
        id = int.from_bytes(data[4:36], "big")
        if data[:4] == CAN_USE:
            hash, caller = int.from_bytes(data[36:68], "big"), checksum("0x" + data[80:].hex())
            problem = self.refusal(id, hash, caller)
            selector = bytes(4) if problem is None else error_selector(problem)
            return (problem is None).to_bytes(32, "big") + selector + bytes(28)
        assert data[:4] == LICENSE_OF, data[:4].hex()
        terms = self.licenses.get(id)
        if terms is None:
            error = "0x" + error_selector("LicenseNotFound").hex() + data[4:].hex()
            raise NodeRefused(EXECUTION_REVERTED, "execution reverted", error)
        return _encoded(terms)


@dataclass(frozen=True, slots=True)
class _Direct:
    id: int
    file_hash: int


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message of a batch, with its compact signature."""

    message: Use | Failure
    r: bytes
    vs: bytes


@lru_cache(maxsize=10_000)
def messages_in(data: bytes) -> tuple[Any, ...]:
    """What a transaction to the contract holds: signed messages, or one direct use."""
    if data[:4] == USE_DIRECTLY:
        return (_Direct(*decode(["uint256", "uint256"], data[4:])),)
    kind = {USE_SIGNED: _USE, REPORT_SIGNED: _FAILURE}[data[:4]]
    (entries,) = decode([f"{kind}[]"], data[4:])
    found = []
    for *values, r, vs in entries:
        if kind == _USE:
            id, hash, *others = values
            found.append(SignedMessage(Use(id, f"{hash:064x}", *others), r, vs))
        else:
            found.append(SignedMessage(Failure(*values), r, vs))
    return tuple(found)


@lru_cache(maxsize=10_000)
def _signer(one: SignedMessage, chain_id: int, known: tuple[str, ...]) -> str:
    """Which of the known devices signed a message; nobody's address when none did."""
    vs = int.from_bytes(one.vs, "big")
    s = vs & ((1 << 255) - 1)
    full = one.r + s.to_bytes(32, "big") + bytes([27 + (vs >> 255)])
    types: Types = USE if isinstance(one.message, Use) else FAILURE
    domain = license_domain(chain_id, ADDRESS)
    signed = (d for d in known if is_signed_by(d, full, domain, types, one.message.values()))
    return next(signed, "0x" + "0" * 40)


@cache
def error_selector(name: str) -> bytes:
    """The four bytes of an error of the contract."""
    (found,) = [bytes.fromhex(s[2:]) for s, e in interface_of(CONTRACT)._errors.items() if e["name"] == name]
    return found


@lru_cache(maxsize=10_000)
def _encoded(terms: Terms) -> bytes:
    t = terms
    values = (
        t.printer, FOR_EVER, 0, t.remaining, t.used, t.window, t.failures_allowed, t.failed, t.file_hash,
    )  # fmt: skip
    return encode([_LICENSE], [values])


@cache
def checksum(address: str) -> str:
    """An account's address in its one spelling."""
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(address))


def _log(event: str, indexed: list[int], types: list[str], values: list[Any]) -> Log:
    topics = [interface_of(CONTRACT).topic(event), *(f"0x{value:064x}" for value in indexed)]
    return {"address": ADDRESS, "topics": topics, "data": "0x" + encode(types, values).hex()}


def issued(id: int, terms: Terms, manifest_hash: bytes) -> Log:
    """The log of a license's issue."""
    types = ["uint16", "uint32", "uint8", "uint8", "bytes32"]
    values = [terms.remaining, FOR_EVER, 0, terms.failures_allowed, manifest_hash]
    return _log("LicenseIssued", [id, int(terms.printer, 16), terms.file_hash], types, values)
