"""A forger of certificates: blocks, receipts and states of his own, all consistent, none on any chain."""

from dataclasses import dataclass, field, replace
from typing import Any

from imprimatur.certificate import document
from imprimatur.certificate.license_state import LicenseState, storage_slot
from imprimatur.certificate.parts import Opening, Parts, ReceiptProof, StateProof
from imprimatur.certificate.print_events import Print
from imprimatur.certificate.verifying import establish
from imprimatur.chain import rlp_codec, trie
from imprimatur.chain.headers import FIELDS, Header
from imprimatur.chain.interface import interface_of
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.receipts import Log
from imprimatur.serials.tag import Tag

CHAIN_ID = 31337
CONTRACT = b"\xc0" * 20
LICENSE = (int.from_bytes(b"\x0e" * 20, "big") << 96) + 4711
TAG = Tag(LICENSE, 1, "123456AA0987654321", "0x" + "7a" * 20)
PRINT = Print(
    id=LICENSE,
    copy=1,
    device=b"\xde" * 20,
    printer=b"\xbb" * 20,
    file_hash=b"\x5a" * 32,
    key_recipient=b"\x01" * 32,
    encrypted_serial=b"\x02" * 32,
    commitment=TAG.commitment,
)
STATE = LicenseState(
    printer=PRINT.printer,
    valid_until=0,
    flags=3,
    remaining=2,
    used=1,
    failed_window=0,
    failures_allowed=1,
    failed=0,
)


def word(value: int | bytes) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def log(event: str, topics: list[int | bytes], data: list[int | bytes], contract: bytes = CONTRACT) -> Log:
    """A log with the first topic of one of PrintLicense's events."""
    first = bytes.fromhex(interface_of("PrintLicense").topic(event)[2:])
    return Log(contract, (first, *map(word, topics)), b"".join(map(word, data)))


def logs_of(print: Print, contract: bytes = CONTRACT) -> list[Log]:
    """What the contract logs for a print."""
    device, id = print.device, print.id
    logs = [
        log("LicenseUsed", [id, device], [print.copy, print.file_hash, print.key_recipient], contract),
        log("TransferSingle", [device, print.printer, 0], [id, 1], contract),
    ]
    if print.commitment is not None and print.encrypted_serial is not None:
        logs.append(log("PrintLogged", [id], [print.copy, print.encrypted_serial], contract))
        logs.append(log("SerialRegistered", [print.commitment, device], [], contract))
    return logs


def receipt_of(logs: list[Log], status: int = 1) -> bytes:
    items = [[entry.address, list(entry.topics), entry.data] for entry in logs]
    return b"\x02" + rlp_codec.encode(
        [rlp_codec.int_bytes(status), rlp_codec.int_bytes(70000), bytes(256), items]
    )


def header_with(number: int, **fields: bytes) -> Header:
    """A header of today with these fields (names of JSON) and zeros elsewhere."""
    values = {name: b"" if size is None else bytes(max(size, 0)) for name, size in FIELDS[:21]}
    values |= {"number": rlp_codec.int_bytes(number), "timestamp": rlp_codec.int_bytes(1_800_000_000)}
    return Header(tuple((values | fields).values()))


def pack(state: LicenseState) -> int:
    """The word of a license, as `LicenseState.sol` draws it."""
    return (
        int.from_bytes(state.printer, "big")
        | state.valid_until << 160
        | state.flags << 192
        | state.remaining << 196
        | state.used << 212
        | state.failed_window << 228
        | state.failures_allowed << 244
        | state.failed << 250
    )


def only_leaf(key: bytes, value: bytes) -> bytes:
    """The node of a trie with one entry."""
    return rlp_codec.encode([b"\x20" + keccak256(key), value])


@dataclass(frozen=True)
class Forgery:
    """What to make up."""

    print: Print = PRINT
    state: LicenseState | None = None
    state_number: int = 7
    tag: Tag | None = None
    chain_id: int = CHAIN_ID
    contract: bytes = CONTRACT
    log: int = 0
    status: int = 1
    others: int = 0
    logs: list[Log] = field(default_factory=list)
    number: int = 7
    account: list[Any] = field(default_factory=list)
    word: int | None = None

    def parts(self) -> Parts:
        opening = self.tag and Opening(self.tag.serial, self.tag.address)
        logs = self.logs or logs_of(self.print, self.contract)
        receipts = [receipt_of([], 1)] * self.others + [receipt_of(logs, self.status)]
        roots = {"receiptsRoot": trie.root(receipts)}
        proof = ReceiptProof(self.others, self.log, trie.proof(receipts, self.others))
        if self.state is None:
            header = header_with(self.number, **roots)
            return Parts(self.chain_id, self.contract, header, proof, None, opening)
        word = pack(self.state) if self.word is None else self.word
        storage = only_leaf(storage_slot(self.print.id), rlp_codec.encode(rlp_codec.int_bytes(word)))
        account = self.account or [b"\x01", b"", keccak256(storage), bytes(32)]
        node = only_leaf(self.contract, rlp_codec.encode(account))
        roots["stateRoot"] = keccak256(node)
        header = header_with(self.number, **roots)
        later = header if self.state_number == self.number else header_with(self.state_number, **roots)
        state = StateProof(later, [node], [storage])
        return Parts(self.chain_id, self.contract, header, proof, state, opening)

    def write(self) -> bytes:
        parts = self.parts()
        return document.write(parts, establish(parts))


def forge(**changes: Any) -> bytes:
    """A certificate that is consistent."""
    return replace(Forgery(), **changes).write()
