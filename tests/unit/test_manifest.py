"""A manifest has one spelling, bounded values, and a signature for one license."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from imprimatur import canonical_json, schemas
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import license_domain
from imprimatur.license_id import format_id, license_id
from imprimatur.manifest import document
from imprimatur.manifest import signature as signatures
from imprimatur.manifest.document import (
    MAX_SIZE,
    MAX_THUMBNAIL,
    Manifest,
    ManifestInvalid,
    Sealing,
    Thumbnail,
)
from imprimatur.manifest.signature import MANIFEST, SignedManifest, digest, sign_manifest
from imprimatur.sealing.keys import public_key
from support.node import ROOT

OWNER = KeySigner(bytes(range(1, 33)))
CONTRACT = to_checksum_address("0x" + "c0" * 20)
PNG = b"\x89PNG\r\n\x1a\n"
SMALL = Manifest(31337, CONTRACT, license_id(OWNER.address, 4711), "bracket.gcode", 12_345, "5a" * 32)
FULL = replace(
    SMALL,
    file_name="Halter für Türgriff.gcode",
    sealing=Sealing("6b" * 32, 12_600, "7c" * 32),
    log_recipient=public_key(b"\x07" * 32),
    license_text_hash="8d" * 32,
    material="PA 12 (Los 42)",
    site="Hamburg",
    print_seconds=7200,
    layers=314,
    thumbnail=Thumbnail("image/png", PNG + b"\x01\x02"),
)
SIGNED = sign_manifest(FULL, OWNER)

words = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FF), min_size=1, max_size=30)
sizes = st.integers(0, 2**53 - 1)
manifests = st.builds(
    Manifest,
    chain_id=st.integers(1, 2**53 - 1),
    contract=st.binary(min_size=20, max_size=20).map(to_checksum_address),
    id=st.integers(0, 2**256 - 1),
    # Alone, a name could be one of the few that no file can have everywhere, such as COM0.
    file_name=names.map("part {}".format),
    file_size=sizes,
    file_hash=words,
    sealing=st.none() | st.builds(Sealing, words, sizes, words),
    log_recipient=st.none() | st.binary(min_size=32, max_size=32).map(public_key),
    license_text_hash=st.none() | words,
    material=st.none() | names,
    site=st.none() | names,
    print_seconds=st.none() | st.integers(1, 10**9),
    layers=st.none() | st.integers(1, 10**7),
    thumbnail=st.none() | st.builds(Thumbnail, st.just("image/png"), st.binary(max_size=99).map(PNG.__add__)),
)


@settings(max_examples=60, deadline=None)
@given(manifests)
def test_bytes_give_the_manifest_back(manifest):
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data
    assert manifest.hash == hashlib.sha256(data).digest()
    signed = SignedManifest(manifest, OWNER.address, b"\x01" * 65)
    assert SignedManifest.from_bytes(signed.to_bytes()) == signed
    assert not signed.has_key_signature()


def test_every_member_is_in_the_bytes():
    """None is forgotten on the way: changing any value changes the hash."""
    other = Manifest(
        1,
        to_checksum_address("0x" + "c1" * 20),
        5,
        "a",
        6,
        "00" * 32,
        Sealing("01" * 32, 7, "02" * 32),
        public_key(b"\x08" * 32),
        "03" * 32,
        "b",
        "c",
        8,
        9,
        Thumbnail("image/jpeg", b"\xff\xd8\xff"),
    )
    for name in (field.name for field in fields(Manifest)):
        changed = replace(FULL, **{name: getattr(other, name)})
        assert changed.hash != FULL.hash, name
        assert Manifest.from_bytes(changed.to_bytes()) == changed
    for name in ("sha256", "size", "key_commitment"):
        changed = replace(FULL, sealing=replace(FULL.sealing, **{name: getattr(other.sealing, name)}))
        assert Manifest.from_bytes(changed.to_bytes()) == changed != FULL


def test_every_flipped_bit_is_refused():
    """Not a manifest any more, or another statement: then the signature isn't the owner's."""
    data = sign_manifest(replace(SMALL, layers=3), OWNER).to_bytes()
    read = 0
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            signed = SignedManifest.from_bytes(bytes(flipped))
        except ManifestInvalid:
            continue
        read += 1
        # Recovering keys is slow: of those that can be read, every seventh.
        if read % 7 == 0:
            assert not signed.has_key_signature()
    assert read > 100


def _with_more(data, place, more):
    return data[:place] + more + data[place:]


@pytest.mark.parametrize("more", [b"\\n", b"\\t", b"\\r", b" ", b"\n", b"0", b"00", b"\\u0000", b"\xc2\x85"])
def test_nothing_can_be_inserted(more):
    """Anywhere: it isn't read, or it is another statement, another signature or another signer."""
    signed = sign_manifest(replace(SMALL, license_text_hash="8d" * 32), OWNER)
    data = signed.to_bytes()
    for place in range(len(data) + 1):
        try:
            read = SignedManifest.from_bytes(_with_more(data, place, more))
        except ManifestInvalid:
            continue
        assert read != signed
        assert read.to_bytes() == _with_more(data, place, more)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SIGNED.to_bytes())), st.binary(min_size=1, max_size=4))
def test_whatever_is_inserted(place, more):
    try:
        read = SignedManifest.from_bytes(_with_more(SIGNED.to_bytes(), place, more))
    except ManifestInvalid:
        return
    assert read != SIGNED


def test_one_spelling_even_where_a_check_of_the_form_has_a_hole(monkeypatch):
    for module in (document, signatures):
        monkeypatch.setattr(module, "check_schema", lambda *_: None)
    with pytest.raises(ManifestInvalid, match="spelling"):
        SignedManifest.from_bytes(SIGNED.to_bytes().replace(b'","signer"', b'\\n","signer"'))
    with pytest.raises(ManifestInvalid, match="spelling"):
        Manifest.from_bytes(FULL.to_bytes().replace(b'"logRecipient":"', b'"logRecipient":"\\n'))


def test_numbers_without_a_spelling_are_refused_with_a_signature_too():
    with pytest.raises(ManifestInvalid, match=r"isn't valid"):
        SignedManifest(replace(SMALL, file_size=1000.0), OWNER.address, bytes(65)).to_bytes()


@pytest.mark.parametrize(
    "name", ["console.gcode", "com10", "a.b.c", "a" * 255, "\U0001f984.gcode", "ａ", "a-~"]
)
def test_usual_names_are_taken(name):
    assert Manifest.from_bytes(replace(SMALL, file_name=name).to_bytes()).file_name == name


REFUSED = {
    "chain_id": [0, -1, 2**53, True, "1"],
    "contract": ["", "0x" + "C0" * 20, CONTRACT.lower(), CONTRACT + "\n", "0x" + "c0" * 19],
    "id": [-1, 2**256],
    "file_name": [
        *("", "a/b", "a\\b", "..", ".profile", " a", "a ", "a\n", "a\x00", "a\u202eb", "\ud800", "a" * 256),
        *("u\u0308", None, 5, "ä" * 128, "a.", "-rf", "~", "a:b", "a*", "a?b", "<a>", "a|b", '"'),
        *("CON", "con.gcode", "aux .x", "Com1", "LPT\u00b9.g", "a\xa0b", "a\u2066b", "a\ue000b", "a\ufdd0"),
    ],
    "file_size": [-1, 2**53, 1.5, None],
    "file_hash": ["", "5A" * 32, "5a" * 31, "0x" + "5a" * 31, "5a" * 32 + "\n"],
    "sealing": [
        Sealing("5a" * 31, 1, "5a" * 32),
        Sealing("5a" * 32, -1, "5a" * 32),
        Sealing("5a" * 32, 1, ""),
    ],
    "log_recipient": [b"", bytes(32), (1).to_bytes(32, "little"), b"\xff" * 32, b"\x05" * 31, b"\x05" * 33],
    "license_text_hash": ["", "x" * 64],
    "material": ["", "a" * 101, "a\tb", " a"],
    "site": ["", "a" * 201, "a\nb"],
    "print_seconds": [0, -1, 10**9 + 1, 1.0],
    "layers": [0, 10**7 + 1],
    "thumbnail": [
        Thumbnail("image/svg+xml", PNG),
        Thumbnail("image/jpeg", PNG),
        Thumbnail("image/png", b""),
        Thumbnail("image/png", PNG.ljust(MAX_THUMBNAIL + 1)),
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_refused_values(name, value):
    with pytest.raises(ManifestInvalid):
        replace(FULL, **{name: value}).to_bytes()


def test_the_largest_manifest_fits():
    largest = replace(
        FULL,
        file_name="\U0001f984" * 63 + "abc",
        material="\U0001f984" * 100,
        site="\U0001f984" * 200,
        thumbnail=Thumbnail("image/png", PNG.ljust(MAX_THUMBNAIL)),
    )
    signed = SignedManifest(largest, OWNER.address, bytes(8192))
    assert len(signed.to_bytes()) <= MAX_SIZE
    assert SignedManifest.from_bytes(signed.to_bytes()) == signed
    with pytest.raises(ManifestInvalid):
        SignedManifest(largest, OWNER.address, bytes(8193)).to_bytes()


def _spellings():
    yield json.dumps(json.loads(SIGNED.to_bytes())).encode()
    yield SIGNED.to_bytes() + b"\n"
    yield SIGNED.to_bytes().replace(b'"version":1', b'"version":2')
    yield SIGNED.to_bytes().replace(b'"version":1', b'"version":1,"version":1')
    text = SIGNED.to_bytes()
    # A pattern's $ also matches before a last line feed, and bytes.fromhex skips white space.
    yield text.replace(b'","signer"', b'\\n","signer"')
    yield text.replace(b'"licenseText":"', b'"licenseText":"\\n')
    yield b"[" * 100_000
    yield b""
    yield b"[]"
    yield b'"' + b"a" * MAX_SIZE + b'"'
    for path in (
        [],
        ["manifest"],
        ["manifest", "file"],
        ["manifest", "license"],
        ["manifest", "print"],
        ["manifest", "thumbnail"],
    ):
        changed = json.loads(SIGNED.to_bytes())
        place = changed
        for step in path:
            place = place[step]
        place["zzz"] = 1
        yield canonical_json.dumps(changed)
    for path in (["signer"], ["signature"], ["manifest", "license"], ["manifest", "file", "sha256"]):
        changed = json.loads(SIGNED.to_bytes())
        place = changed
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        yield canonical_json.dumps(changed)
    for data in ("iVBORw0KGgo", "iVBORw0KGgp=", "iVBORw0KGgo=\n", "iVBO"):
        changed = json.loads(SIGNED.to_bytes())
        changed["manifest"]["thumbnail"]["data"] = data
        yield canonical_json.dumps(changed)


@pytest.mark.parametrize("data", list(_spellings()))
def test_refused_bytes(data):
    with pytest.raises(ManifestInvalid) as caught:
        SignedManifest.from_bytes(data)
    assert len(str(caught.value)) < 400


def test_signature_is_eip_712():
    assert SIGNED.has_key_signature()
    assert SIGNED.signer == OWNER.address
    domain = license_domain(31337, CONTRACT)
    message = encode_typed_data(domain, MANIFEST, {"id": FULL.id, "manifestHash": FULL.hash})
    assert digest(FULL) == keccak(b"\x19" + message.version + message.header + message.body)
    ((name, members),) = MANIFEST.items()
    text = ",".join(f"{member['type']} {member['name']}" for member in members)
    assert f"{name}({text})" == "Manifest(uint256 id,bytes32 manifestHash)"


def test_second_forms_of_a_signature_are_refused():
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    r, s, v = SIGNED.signature[:32], int.from_bytes(SIGNED.signature[32:64], "big"), SIGNED.signature[64]
    for signature in (
        r + (order - s).to_bytes(32, "big") + bytes([55 - v]),
        SIGNED.signature[:64] + bytes([v - 27]),
        SIGNED.signature + b"\0",
        SIGNED.signature[:-1],
        bytes(65),
        b"",
    ):
        assert not replace(SIGNED, signature=signature).has_key_signature()


def test_signature_holds_for_one_license_on_one_chain():
    for name, value in {"id": 5, "chain_id": 1, "contract": to_checksum_address("0x" + "c1" * 20)}.items():
        other = replace(FULL, **{name: value})
        assert not SignedManifest(other, OWNER.address, SIGNED.signature).has_key_signature()


def test_schema_is_valid_and_says_the_same():
    schema = schemas.load("manifest.v1")
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(json.loads(SIGNED.to_bytes()))) == []
    assert (ROOT / "imprimatur" / "schemas" / "manifest.v1.json").read_text().endswith("}\n")


def test_ids_are_written_as_everywhere():
    assert json.loads(FULL.to_bytes())["license"]["id"] == format_id(FULL.id)


def test_importing_is_light():
    code = (
        "import sys, imprimatur.manifest.verification, imprimatur.serials.marks, imprimatur.serials.entry\n"
        "heavy = {'Crypto', 'eth_abi', 'eth_account', 'eth_utils', 'jsonschema', 'ndef', 'pyrage', "
        "'requests', 'segno', 'web3'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_other_json_programs_make_the_same_hash():
    """Member names are ASCII and numbers small: sorted and without spaces is canonical already."""
    statement = json.loads(SIGNED.to_bytes())["manifest"]
    text = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).digest() == FULL.hash
