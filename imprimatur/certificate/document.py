"""A certificate as JSON: reading its parts, and writing the one file that they and what they prove make.

The file repeats in readable form what its header and nodes prove. A reader doesn't compare those members one
by one: `read` takes the parts only, and the file is valid when `write` gives the same bytes again. So there
is one rule for both sides, and a member too many, another spelling or a changed bit are one thing: another
file.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from imprimatur import canonical_json
from imprimatur.certificate.errors import CertificateInvalid
from imprimatur.certificate.license_state import LicenseState
from imprimatur.certificate.parts import Opening, Parts, ReceiptProof, StateProof
from imprimatur.certificate.print_events import Print
from imprimatur.certificate.statement import Verified
from imprimatur.chain.headers import Header, parse_header
from imprimatur.license_id import format_id

TYPE = "urn:imprimatur:certificate:v1"
"""`$id` of the JSON Schema, `imprimatur/schemas/certificate.v1.json`."""
MAX_SIZE = 1 << 20
"""Bytes of a certificate. The largest batch of relayed prints that fits a transaction makes less."""

Members = dict[str, Any]
_BINARY = re.compile("[A-Za-z0-9_-]+")
_ACCOUNT = re.compile("0x[0-9a-f]{40}")


# --- reading ---------------------------------------------------------------------------------------------


def read(data: bytes) -> Parts:
    """The parts of the certificate in these bytes; nothing is checked but their form.

    Raises:
        CertificateInvalid: not canonical JSON, or a part is missing or of another kind.
        HeaderInvalid: a header isn't one.
    """
    try:
        members = canonical_json.parse(data, MAX_SIZE)
    except canonical_json.NotCanonical as error:
        raise CertificateInvalid(str(error)) from error
    if not isinstance(members, dict) or members.get("type") != TYPE:
        raise CertificateInvalid(f"it isn't of the type {TYPE}.")
    header = _header(_section(members, "block"))
    proof = _section(members, "proof")
    return Parts(
        chain_id=_number(members, "chainId"),
        contract=_account(members, "contract"),
        header=header,
        proof=ReceiptProof(_number(proof, "transaction"), _number(proof, "log"), _nodes(proof, "nodes")),
        state=_state(_section(members, "state"), header) if "state" in members else None,
        opening=_opening(_section(members, "tag")) if "tag" in members else None,
    )


def _header(members: Members) -> Header:
    return parse_header(_unpacked(_member(members, "header")))


def _state(members: Members, header: Header) -> StateProof:
    if "block" in members:
        header = _header(_section(members, "block"))
    return StateProof(header, _nodes(members, "account"), _nodes(members, "storage"))


def _opening(members: Members) -> Opening:
    serial = _member(members, "serial")
    if not isinstance(serial, str):
        raise CertificateInvalid("its part `serial` isn't text.")
    return Opening(serial, hexadecimal(_account(members, "address")))


def _member(members: Members, name: str) -> Any:
    if name not in members:
        raise CertificateInvalid(f"its part `{name}` is missing.")
    return members[name]


def _section(members: Members, name: str) -> Members:
    value = _member(members, name)
    if not isinstance(value, dict):
        raise CertificateInvalid(f"its part `{name}` isn't an object.")
    return value


def _number(members: Members, name: str) -> int:
    value = _member(members, name)
    if type(value) is not int or value < 0:
        raise CertificateInvalid(f"its part `{name}` isn't a number.")
    return value


def _account(members: Members, name: str) -> bytes:
    value = _member(members, name)
    if not isinstance(value, str) or not _ACCOUNT.fullmatch(value):
        raise CertificateInvalid(f"its part `{name}` isn't an account: 0x and 40 lower-case digits.")
    return bytes.fromhex(value[2:])


def _nodes(members: Members, name: str) -> list[bytes]:
    value = _member(members, name)
    if not isinstance(value, list):
        raise CertificateInvalid(f"its part `{name}` isn't a list.")
    return [_unpacked(node) for node in value]


def _unpacked(text: Any) -> bytes:
    if not isinstance(text, str) or not _BINARY.fullmatch(text) or len(text) % 4 == 1:
        raise CertificateInvalid("a header or node isn't base64url.")
    # Bits at the end that mean nothing would make another file, which `write` doesn't give.
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- writing ---------------------------------------------------------------------------------------------


def write(parts: Parts, verified: Verified) -> bytes:
    """The certificate of these parts, which prove `verified`."""
    members: Members = {
        "type": TYPE,
        "chainId": parts.chain_id,
        "contract": hexadecimal(parts.contract),
        "block": _block_members(parts.header),
        "print": _print_members(verified.print),
        "proof": {
            "transaction": parts.proof.transaction,
            "log": parts.proof.log,
            "nodes": _packed_all(parts.proof.nodes),
        },
    }
    if parts.state and verified.state:
        members["state"] = _state_members(parts.state, verified.state.license)
        if parts.state.header.hash != parts.header.hash:
            members["state"]["block"] = _block_members(parts.state.header)
    if verified.tag:
        members["tag"] = {"serial": verified.tag.serial, "address": verified.tag.address.lower()}
    return canonical_json.dumps(members)


def _block_members(header: Header) -> Members:
    return {
        "hash": hexadecimal(header.hash),
        "header": _packed(header.rlp),
        "number": header.number,
        "time": header.timestamp,
    }


def _print_members(print: Print) -> Members:
    members: Members = {
        "license": format_id(print.id),
        "copy": print.copy,
        "device": hexadecimal(print.device),
        "printer": hexadecimal(print.printer),
        "fileHash": print.file_hash.hex(),
        "keyRecipient": hexadecimal(print.key_recipient),
    }
    if print.encrypted_serial is not None and print.commitment is not None:
        members["encryptedSerial"] = hexadecimal(print.encrypted_serial)
        members["commitment"] = hexadecimal(print.commitment)
    return members


def _state_members(proof: StateProof, license: LicenseState) -> Members:
    return {
        "account": _packed_all(proof.account),
        "storage": _packed_all(proof.storage),
        "license": {
            "printer": hexadecimal(license.printer),
            "validUntil": license.valid_until,
            "flags": license.flags,
            "remaining": license.remaining,
            "used": license.used,
            "failedWindow": license.failed_window,
            "failuresAllowed": license.failures_allowed,
            "failed": license.failed,
        },
    }


def hexadecimal(value: bytes) -> str:
    """Accounts, hashes and other words: what people compare."""
    return "0x" + value.hex()


def _packed(value: bytes) -> str:
    """Headers and nodes: what only programs read; a third shorter than in hexadecimal."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _packed_all(values: Sequence[bytes]) -> list[str]:
    return [_packed(value) for value in values]
