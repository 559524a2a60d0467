"""Certificates without a chain: what is consistent verifies, everything else is refused with a reason."""

import json
import string
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur import address_book, canonical_json, schemas
from imprimatur.certificate import (
    Anchor,
    BlockNotTrusted,
    CertificateInvalid,
    ForeignContract,
    LicenseState,
    OtherChain,
    Outcome,
    document,
    explain,
    explaining,
    verify,
)
from imprimatur.certificate.license_state import unpack
from imprimatur.certificate.sentences import ENGLISH, GERMAN
from imprimatur.certificate.verifying import establish
from imprimatur.chain.orders import Terms
from imprimatur.serials.tag import TagInvalid
from support.forger import (
    CHAIN_ID,
    CONTRACT,
    PRINT,
    STATE,
    TAG,
    Forgery,
    forge,
    log,
    logs_of,
    pack,
)

EVERYTHING = {"state": STATE, "state_number": 9, "tag": TAG, "others": 3}
KINDS = {
    "least": {"print": replace(PRINT, encrypted_serial=None, commitment=None)},
    "serial": {},
    "tag": {"tag": TAG},
    "state": {"state": STATE},
    "everything": EVERYTHING,
}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    entry = address_book.Deployment(CHAIN_ID, "PrintLicense", "0x" + CONTRACT.hex().upper(), 1, "0x")
    address_book.store(folder, entry)
    return folder


def refused(data, book, match=None):
    with pytest.raises(CertificateInvalid, match=match):
        verify(data, book)


# --- what verifies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_consistent_certificate(book, kind):
    forgery = replace(Forgery(), **KINDS[kind])
    data = forgery.write()
    verified = verify(data, book)
    assert not verified.anchored
    assert verified.print == forgery.print
    assert (verified.chain_id, verified.contract, verified.tag) == (CHAIN_ID, CONTRACT, forgery.tag)
    assert (verified.state and verified.state.license) == forgery.state
    anchor = Anchor(CHAIN_ID, frozenset(block.hash for block in verified.blocks))
    assert verify(data, book, anchor) == replace(verified, anchored=True)


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_follow_their_schema(kind):
    schema = schemas.load("certificate.v1")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(forge(**KINDS[kind])), schema)
    assert schema["$id"] == document.TYPE


def test_blocks_that_must_be_trusted(book):
    assert [block.number for block in verify(forge(**EVERYTHING), book).blocks] == [7, 9]
    assert [block.number for block in verify(forge(state=STATE), book).blocks] == [7]
    assert [block.number for block in verify(forge(), book).blocks] == [7]


# --- whom to believe ---------------------------------------------------------------------------------------


def test_hash_that_isnt_trusted(book):
    data = forge(**EVERYTHING)
    first, second = (block.hash for block in verify(data, book).blocks)
    for hashes, missing in (({first}, 9), ({second}, 7), (set(), 7), ({bytes(32)}, 7)):
        with pytest.raises(BlockNotTrusted) as caught:
            verify(data, book, Anchor(CHAIN_ID, frozenset(hashes)))
        assert caught.value.number == missing


def test_rehashed_forgery_is_never_anchored(book):
    """Somebody who prints copy 1 changes the file's hash and calculates everything anew."""
    honest, forged = forge(), forge(print=replace(PRINT, file_hash=b"\x66" * 32))
    anchor = Anchor(CHAIN_ID, frozenset({verify(honest, book).block.hash}))
    assert verify(honest, book, anchor).anchored
    assert not verify(forged, book).anchored
    with pytest.raises(BlockNotTrusted):
        verify(forged, book, anchor)


def test_clone_contract(book):
    clone = forge(contract=b"\xc1" * 20)
    with pytest.raises(ForeignContract, match="c1" * 20):
        verify(clone, book)


def test_a_retired_contract_still_counts(book, tmp_path):
    """A new contract took its place; whoever doesn't want the old one deletes it from the list."""
    data, path = forge(), tmp_path / f"{CHAIN_ID}.json"
    old = address_book.load(book, CHAIN_ID, "PrintLicense")
    address_book.store(tmp_path, old)
    address_book.store(tmp_path, replace(old, address="0x" + "11" * 20))
    assert verify(data, tmp_path).contract == CONTRACT
    path.write_text(path.read_text().replace(old.address, "0x" + "22" * 20))
    with pytest.raises(ForeignContract):
        verify(data, tmp_path)


@pytest.mark.parametrize("torn", [b"{", b"", b"[]", b'{"contracts":{"PrintLicense":{}}}', b"\xff"])
def test_a_damaged_address_book_says_so(tmp_path, torn):
    (tmp_path / f"{CHAIN_ID}.json").write_bytes(torn)
    with pytest.raises(address_book.AddressBookDamaged, match=f"{CHAIN_ID}.json"):
        verify(forge(), tmp_path)


def test_logs_of_a_clone_under_our_address(book):
    with pytest.raises(CertificateInvalid, match="isn't a LicenseUsed of the contract"):
        establish(replace(Forgery(), logs=logs_of(PRINT, b"\xc1" * 20)).parts())


def test_chain_that_the_book_doesnt_know(book):
    with pytest.raises(ForeignContract, match=r"on chain 1\."):
        verify(forge(chain_id=1), book)


def test_same_address_on_two_chains(book):
    """A header doesn't name its chain: there the trusted hashes' chain decides."""
    entry = address_book.load(book, CHAIN_ID, "PrintLicense")
    address_book.store(book, replace(entry, chain_id=10))
    claimed = forge(chain_id=10)
    hashes = frozenset({verify(claimed, book).block.hash})
    with pytest.raises(OtherChain):
        verify(claimed, book, Anchor(CHAIN_ID, hashes))
    assert verify(claimed, book, Anchor(10, hashes)).anchored


# --- one spelling ------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_every_changed_bit_is_refused(book, kind, data):
    certificate = bytearray(forge(**KINDS[kind]))
    bit = data.draw(st.integers(0, 8 * len(certificate) - 1))
    certificate[bit // 8] ^= 1 << bit % 8
    refused(bytes(certificate), book)


@settings(deadline=None)
@given(st.data())
def test_cut_off_or_longer(book, data):
    certificate = forge()
    refused(certificate[: data.draw(st.integers(0, len(certificate) - 1))], book)
    refused(certificate + data.draw(st.binary(min_size=1, max_size=3)), book)


def leaves(value, path=()):
    """Paths to all members and elements of a JSON value."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if type(value) is list else ()
    for name, child in children:
        yield from leaves(child, (*path, name))


def changed(document, path, change):
    """A copy in which `change` has acted on the container and name at `path`."""
    copy = json.loads(json.dumps(document))
    container = copy
    for name in path[:-1]:
        container = container[name]
    change(container, path[-1])
    return canonical_json.dumps(copy)


PATHS = list(leaves(json.loads(forge(**EVERYTHING))))
ODD = [None, True, 0, 1, -1, 2**53 - 1, "", "0x", "a", "A=", "é", [], {}, [[]], ["AA"], {"header": "wA"}]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_every_member_counts(book, path):
    """Without it, or with something odd instead, the certificate is refused, in no other way."""
    document = json.loads(forge(**EVERYTHING))
    # The forger's blocks all have the same state, so it is also the one of the print's block.
    optional = path in {("state",), ("state", "block"), ("tag",)}
    data = changed(document, path, lambda container, name: container.__delitem__(name))
    if optional:
        verify(data, book)
    else:
        refused(data, book)
    original = canonical_json.dumps(document)
    for odd in ODD:
        data = changed(document, path, lambda container, name, odd=odd: container.__setitem__(name, odd))
        if data != original:
            refused(data, book)


@pytest.mark.parametrize("path", [p for p in PATHS if isinstance(p[-1], str)], ids=".".join)
def test_member_too_many(book, path):
    document = json.loads(forge(**EVERYTHING))
    refused(changed(document, path, lambda container, name: container.update({name + "2": 1})), book)


def test_other_spellings(book):
    data = forge(**EVERYTHING)
    value = json.loads(data)
    refused(json.dumps(value).encode(), book, "canonical")
    refused(json.dumps(value, separators=(",", ":")).encode()[:-1] + b" }", book)
    refused(b"\xef\xbb\xbf" + data, book)
    refused(data.replace(b'"chainId":31337', b'"chainId":31337.0'), book)
    refused(data.replace(b'"chainId":31337', b'"chainId":31337,"chainId":31337'), book)
    upper = data.replace(value["tag"]["address"].encode(), value["tag"]["address"].upper().encode())
    refused(upper.replace(b"0X", b"0x"), book)
    spaced = "0x" + value["contract"][2:40] + " " + value["contract"][40:]
    refused(data.replace(value["contract"].encode(), spaced.encode()), book)


def test_base64_with_meaningless_bits(book):
    header = json.loads(forge())["block"]["header"]
    assert len(header) % 4, "this header has no spare bits; change its size"
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    other = header[:-1] + alphabet[alphabet.index(header[-1]) + 1]
    refused(forge().replace(header.encode(), other.encode()), book, "isn't what the proof says")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b'{"type":"x"}', b"[" * 100_000])
def test_other_files(book, data):
    refused(data, book)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_nothing_but_a_refusal(book, data):
    """Two members exchanged, anywhere: never another error than CertificateInvalid."""
    document = json.loads(forge(**EVERYTHING))
    here, there = data.draw(st.sampled_from(PATHS)), data.draw(st.sampled_from(PATHS))
    moved = document
    for name in there:
        moved = moved[name]
    forged = changed(document, here, lambda container, name: container.__setitem__(name, moved))
    if forged != canonical_json.dumps(document):
        refused(forged, book)


# --- what the contract would never log ---------------------------------------------------------------------

USED, BURNED, LOGGED, REGISTERED = logs_of(PRINT)
LAST = [BURNED, LOGGED, REGISTERED]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 0}, "succeeded"),
        # Before EIP-658 a receipt held a state root, and nobody can tell whether its transaction succeeded.
        ({"status": 1 << 255}, "succeeded"),
        ({"log": 1}, "LicenseUsed"),
        ({"log": 4}, "LicenseUsed"),
        ({"logs": [USED]}, "TransferSingle"),
        ({"logs": [USED, LOGGED, REGISTERED]}, "TransferSingle"),
        ({"logs": [USED, log("TransferSingle", [1, 2, 3], [PRINT.id, 1])]}, "burn"),
        ({"logs": [USED, log("TransferSingle", [1, 2, 0], [PRINT.id + 1, 1])]}, "burn"),
        ({"logs": [USED, log("TransferSingle", [1, 2, 0], [PRINT.id, 2])]}, "burn"),
        ({"logs": [USED, log("TransferSingle", [1, b"\x01" * 32, 0], [PRINT.id, 1])]}, "too long"),
        ({"logs": [USED, BURNED, LOGGED]}, "SerialRegistered"),
        ({"logs": [USED, BURNED, LOGGED, REGISTERED], "log": 2}, "LicenseUsed"),
        ({"logs": [USED, BURNED, log("PrintLogged", [PRINT.id], [2, 2]), REGISTERED]}, "another one"),
        ({"logs": [USED, BURNED, log("PrintLogged", [1], [1, 2]), REGISTERED]}, "another one"),
        ({"logs": [USED, BURNED, LOGGED, log("SerialRegistered", [1, 2], [])]}, "another one"),
        ({"logs": [log("LicenseUsed", [1, 2], [1, 2]), *LAST]}, "form"),
        ({"logs": [log("LicenseUsed", [1, 2], [1, 2, 3, 4]), *LAST]}, "form"),
        ({"logs": [log("LicenseUsed", [1], [1, 2, 3]), *LAST]}, "form"),
        ({"print": replace(PRINT, copy=0)}, "impossible copy"),
        ({"print": replace(PRINT, copy=1 << 16)}, "impossible copy"),
        ({"tag": replace(TAG, serial="123456AA0987654322")}, "commitment"),
        ({"tag": replace(TAG, address="0x" + "7b" * 20)}, "commitment"),
        ({"tag": TAG, "print": replace(PRINT, copy=2)}, "commitment"),
        ({"tag": TAG, "print": replace(PRINT, encrypted_serial=None, commitment=None)}, "commitment"),
        ({"state": STATE, "state_number": 6}, "doesn't come after"),
        ({"state": replace(STATE, used=0)}, "wasn't consumed yet"),
        ({"state": STATE, "account": [b"\x01", b"", b"\x00" * 32]}, "account"),
        ({"state": STATE, "account": [b"\x01", b"", [], b""]}, "account"),
        ({"state": STATE, "word": pack(STATE) | 1 << 256}, "word"),
    ],
)
def test_impossible_prints_and_states(changes, reason):
    with pytest.raises(CertificateInvalid, match=reason):
        establish(replace(Forgery(), **changes).parts())


def test_too_large_a_certificate(book):
    """Consistent in everything else."""
    data = forge(logs=[*logs_of(PRINT), log("LicenseUsed", [1, 2], [bytes(32)] * 25_000)])
    assert len(data) > document.MAX_SIZE
    refused(data, book, f"longer than {document.MAX_SIZE}")


def test_a_license_without_a_number_of_its_own(book):
    """Zero is the id of no license, and of no tag."""
    nobody = replace(PRINT, id=0)
    with pytest.raises(TagInvalid):
        establish(replace(Forgery(), print=nobody, tag=TAG).parts())


def test_two_blocks_of_one_height():
    parts = replace(Forgery(), state=STATE).parts()
    other = replace(Forgery(), state=STATE, others=1).parts()
    with pytest.raises(CertificateInvalid, match="doesn't come after"):
        establish(replace(parts, state=other.state))


# --- the license's word ------------------------------------------------------------------------------------

states = st.builds(
    LicenseState,
    printer=st.binary(min_size=20, max_size=20),
    valid_until=st.integers(0, (1 << 32) - 1),
    flags=st.integers(0, 15),
    remaining=st.integers(0, 0xFFFF),
    used=st.integers(0, 0xFFFF),
    failed_window=st.integers(0, 0xFFFF),
    failures_allowed=st.integers(0, 63),
    failed=st.integers(0, 63),
)


@settings(deadline=None)
@given(states)
def test_fields_of_the_word(state):
    assert unpack(pack(state)) == state
    assert state.revoked == bool(state.flags & Terms.REVOKED)


@pytest.mark.parametrize(
    ("used", "window", "failed", "copy", "outcome"),
    [
        (1, 0b0, 0, 1, Outcome.NOT_FAILED),
        (1, 0b1, 1, 1, Outcome.CLOSED),
        (3, 0b100, 1, 1, Outcome.CLOSED),
        (3, 0b100, 1, 2, Outcome.NOT_FAILED),
        (3, 0b111, 0, 1, Outcome.NEVER_REPORTED),
        (16, 1 << 15, 1, 1, Outcome.CLOSED),
        (17, 1 << 15, 1, 1, Outcome.UNKNOWN),
        (17, 0, 0, 1, Outcome.NEVER_REPORTED),
        (17, 0, 1, 1, Outcome.UNKNOWN),
        (17, 0, 1, 2, Outcome.NOT_FAILED),
    ],
)
def test_outcome(used, window, failed, copy, outcome):
    state = replace(STATE, used=used, failed_window=window, failed=failed)
    assert state.outcome_of(copy) is outcome


# --- explanations ------------------------------------------------------------------------------------------


def placeholders(sentence):
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_say_the_same_things():
    assert ENGLISH.keys() == GERMAN.keys()
    for name, sentence in ENGLISH.items():
        assert placeholders(sentence) == placeholders(GERMAN[name]), name
        assert sentence != GERMAN[name]


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_certificate_is_explained(book, kind, language):
    verified = verify(forge(**KINDS[kind]), book)
    explanation = explain(verified, language)
    text = str(explanation)
    assert "{" not in text
    for fact in (f"0x{PRINT.id:064x}", PRINT.file_hash.hex(), f"0x{verified.block.hash.hex()}"):
        assert fact in text
    assert (TAG.serial in text) == (kind in ("tag", "everything"))
    assert len(explanation.not_proven) == 5


def test_a_sealed_print_without_a_serial_announces_nothing(book):
    """Its log entries are there, and zero."""
    verified = verify(forge(print=replace(PRINT, encrypted_serial=bytes(32), commitment=bytes(32))), book)
    assert verified.print.commitment == bytes(32)
    assert "No serial was logged" in str(explain(verified))
    assert "\nNot proven:\n- That the part" in str(explain(verified))
    assert "\nNicht bewiesen:\n- Dass das Teil" in str(explain(verified, "de"))
    assert "A part with the commitment" not in str(explain(verified))


def test_headline_says_how_much_to_believe(book):
    verified = verify(forge(), book)
    assert explain(verified).headline.startswith("Consistent, not anchored")
    assert explain(replace(verified, anchored=True)).headline.startswith("Proven")
    for language in ("en", "de"):
        for anchored in (True, False):
            headline = explain(replace(verified, anchored=anchored), language).headline
            assert str(CHAIN_ID) in headline
    assert explain(verified, "de").headline.startswith("Widerspruchsfrei, nicht verankert")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "neither reported as failed nor replaced"),
        ({"failed_window": 1, "failed": 1}, "PrintFailed events"),
        ({"failed_window": 1}, "no copy of the license was reported as failed"),
        ({"used": 40, "failed": 1}, "no longer remembers"),
        ({"flags": int(Terms.REVOCABLE | Terms.REVOKED)}, "the owner had ended the license"),
        ({"valid_until": 1_900_000_000}, "valid until 2030-03-17 17:46:40 UTC"),
    ],
)
def test_state_in_words(book, changes, words):
    assert words in str(explain(verify(forge(state=replace(STATE, **changes)), book)))


def test_absurd_time_is_explained_too(book):
    parts = replace(Forgery(), state=replace(STATE, valid_until=(1 << 32) - 1)).parts()
    fields = list(parts.header.fields)
    fields[11] = (1 << 52).to_bytes(7, "big")
    header = replace(parts.header, fields=tuple(fields))
    parts = replace(parts, header=header, state=None)
    assert str(1 << 52) in str(explain(establish(parts)))


def test_a_time_that_the_system_refuses(monkeypatch):
    class Clock:
        @staticmethod
        def fromtimestamp(seconds, zone):
            raise OSError(75, "Value too large for defined data type")

    monkeypatch.setattr(explaining, "datetime", Clock)
    assert "1800000000 s (Unix)" in str(explain(establish(Forgery().parts())))


def test_importing_certificates_pulls_in_nothing_heavy():
    code = (
        "import sys, imprimatur.certificate, imprimatur.chain.headers, imprimatur.chain.receipts\n"
        "heavy = {'web3', 'eth_account', 'eth_abi', 'eth_utils', 'requests', 'Crypto', 'jsonschema', 'rlp'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
