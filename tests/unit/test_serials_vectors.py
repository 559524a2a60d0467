"""docs/vectors/serials.json is what the library makes, and what the specifications say without it."""

import hashlib
import hmac
import json

import pytest
from eth_abi import encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address

from imprimatur.serials import marks
from imprimatur.serials.entry import Part, encrypt_serial, open_entry
from imprimatur.serials.tag import Tag
from imprimatur.serials.tag_key import CheckOut, TagKey
from imprimatur.serials.text import to_word
from support.node import ROOT

FILE = ROOT / "docs" / "vectors" / "serials.json"
BASE = "https://parts.example"
OWNER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SERIALS = ["123456AA0987654321", "A", "!%/#~" * 6 + "zZ"]
DOMAIN = {
    "name": "Test vector",
    "version": "1",
    "chainId": 31337,
    "verifyingContract": to_checksum_address("0x" + "c0" * 20),
}


def _key(name: str) -> bytes:
    return hashlib.sha256(f"imprimatur test vector: {name}".encode()).digest()


def _vector(number: int, serial: str) -> dict:
    job, log, tag_key = _key(f"job {number}"), _key(f"log {number}"), TagKey(_key(f"tag {number}"))
    id, copy = int(OWNER, 16) << 96 | 1 << 95 | number, (1, 3, 65535)[number]
    commitment, entry = encrypt_serial(serial, id, copy, tag_key.address, job, _x25519(log, 9))
    check_out = CheckOut(commitment, OWNER, 1_893_456_000)
    url = Tag(id, copy, serial, tag_key.address, tag_key).url(BASE)
    return {
        "id": f"0x{id:064x}",
        "copy": copy,
        "serial": serial,
        "serialWord": to_word(serial).hex(),
        "jobSecret": job.hex(),
        "keyRecipient": _x25519(job, 9).hex(),
        "logSecret": log.hex(),
        "logRecipient": _x25519(log, 9).hex(),
        "tagKey": tag_key.secret.hex(),
        "tagAddress": tag_key.address,
        "commitment": commitment.hex(),
        "encryptedSerial": entry.hex(),
        "url": url,
        "ndef": marks.ndef_message(url).hex(),
        "checkOut": {
            "domain": DOMAIN,
            "message": {
                "commitment": "0x" + commitment.hex(),
                "actor": check_out.actor,
                "deadline": check_out.deadline,
            },
            "signature": tag_key.sign_check_out(DOMAIN, check_out),
        },
    }


def _x25519(secret: bytes, point: int | bytes) -> bytes:
    """RFC 7748, section 5, as it is written there."""
    p = 2**255 - 19
    k = int.from_bytes(secret, "little") & ~7 & ~(128 << 248) | 64 << 248
    u = point if isinstance(point, int) else int.from_bytes(point, "little")
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        e, da, cb = a * a - b * b, d * a, c * b
        x3, z3 = (da + cb) ** 2 % p, u * (da - cb) ** 2 % p
        x2, z2 = a * a * b * b % p, e * (a * a + 121665 * e) % p
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, p - 2, p) % p).to_bytes(32, "little")


def _hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def document() -> dict:
    """What the file holds; write it with json.dumps(…, indent=1, ensure_ascii=False) and a line's end."""
    return {
        "description": "Serials, log entries, tags and check-outs as docs/serials.md describes them.",
        "base": BASE,
        "vectors": [_vector(number, serial) for number, serial in enumerate(SERIALS)],
    }


def test_sizes_that_the_guide_names():
    first = json.loads(FILE.read_text())["vectors"][0]
    guide = (ROOT / "docs" / "serials.md").read_text()
    assert f"URL has {len(first['url'])} characters" in guide
    assert f"NDEF message of {len(bytes.fromhex(first['ndef']))} bytes" in guide


def test_the_file_is_what_the_library_makes():
    assert FILE.read_text() == json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("vector", json.loads(FILE.read_text())["vectors"], ids=lambda v: f"copy {v['copy']}")
def test_the_file_is_what_the_specifications_say(vector):
    id, copy = int(vector["id"], 16), vector["copy"]
    job, log, entry = (bytes.fromhex(vector[name]) for name in ("jobSecret", "logSecret", "encryptedSerial"))
    word = vector["serial"].encode().ljust(32, b"\0")
    types = ["uint256", "uint256", "bytes32", "address"]
    commitment = keccak(encode(types, [id, copy, word, vector["tagAddress"]]))
    info = id.to_bytes(32, "big") + copy.to_bytes(32, "big") + commitment
    stream = _hkdf(_x25519(job, bytes.fromhex(vector["logRecipient"])), info)
    assert commitment.hex() == vector["commitment"]
    assert word.hex() == vector["serialWord"]
    assert bytes(a ^ b for a, b in zip(entry, stream, strict=True)) == word
    assert _x25519(log, bytes.fromhex(vector["keyRecipient"])) == _x25519(
        job, bytes.fromhex(vector["logRecipient"])
    )
    assert Account.from_key(vector["tagKey"]).address == vector["tagAddress"]
    opened = open_entry(
        entry, Part(id, copy, commitment), log, bytes.fromhex(vector["keyRecipient"]), vector["tagAddress"]
    )
    assert opened == vector["serial"]


@pytest.mark.parametrize("vector", json.loads(FILE.read_text())["vectors"], ids=lambda v: f"copy {v['copy']}")
def test_the_check_out_is_eip_712_written_out(vector):
    stated, domain = vector["checkOut"], vector["checkOut"]["domain"]
    domain_type = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    separator = keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [
                keccak(text=domain_type),
                keccak(text=domain["name"]),
                keccak(text=domain["version"]),
                domain["chainId"],
                domain["verifyingContract"],
            ],
        )
    )
    message = stated["message"]
    struct = keccak(
        encode(
            ["bytes32", "bytes32", "address", "uint256"],
            [
                keccak(text="Decommission(bytes32 commitment,address actor,uint256 deadline)"),
                bytes.fromhex(message["commitment"][2:]),
                message["actor"],
                message["deadline"],
            ],
        )
    )
    digest = keccak(b"\x19\x01" + separator + struct)
    recovered = Account._recover_hash(digest, signature=stated["signature"])
    assert recovered == vector["tagAddress"]


@pytest.mark.parametrize("vector", json.loads(FILE.read_text())["vectors"], ids=lambda v: f"copy {v['copy']}")
def test_the_tag_leads_to_the_part(vector):
    url = marks.url_in_ndef(bytes.fromhex(vector["ndef"]))
    assert url == vector["url"]
    tag = Tag.from_url(url, BASE)
    assert (f"0x{tag.id:064x}", tag.copy, tag.serial) == (vector["id"], vector["copy"], vector["serial"])
    assert (tag.address, tag.key.secret.hex()) == (vector["tagAddress"], vector["tagKey"])
    assert tag.commitment.hex() == vector["commitment"]
