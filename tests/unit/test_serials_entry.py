"""Owner and printer read a serial; nobody else does, and a lie is found with the tag."""

import copy
import secrets
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.sealing.keys import InvalidKey, public_key
from imprimatur.serials.entry import EntryUnreadable, Part, _combined, encrypt_serial, open_entry
from imprimatur.serials.tag_key import (
    CheckOut,
    CheckOutRefused,
    PartInvalid,
    TagKey,
    commitment_of,
    verify_check_out,
)
from imprimatur.serials.text import SerialInvalid, to_word

TAG_KEY = TagKey.generate()
JOB, LOG = secrets.token_bytes(32), secrets.token_bytes(32)
JOB_PUBLIC, LOG_PUBLIC = public_key(JOB), public_key(LOG)
SERIAL = "123456AA0987654321"
ID = 2**255 + 7
COMMITMENT, ENTRY = encrypt_serial(SERIAL, ID, 3, TAG_KEY.address, JOB, LOG_PUBLIC)
PART = Part(ID, 3, COMMITMENT)

SERIALS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32)
KEYS = st.binary(min_size=32, max_size=32)


@settings(max_examples=30)
@given(SERIALS, st.integers(0, 2**256 - 1), st.integers(1, 65535), KEYS, KEYS)
def test_owner_and_printer_read_the_same(serial, id, copy, job, log):
    commitment, entry = encrypt_serial(serial, id, copy, TAG_KEY.address, job, public_key(log))
    assert commitment == commitment_of(id, copy, serial, TAG_KEY.address)
    assert len(entry) == 32
    part = Part(id, copy, commitment)
    assert open_entry(entry, part, log, public_key(job), TAG_KEY.address) == serial
    assert open_entry(entry, part, job, public_key(log)) == serial


@settings(max_examples=60)
@given(st.integers(0, 255))
def test_any_flipped_bit_of_the_entry_is_refused(bit):
    flipped = (int.from_bytes(ENTRY, "big") ^ 1 << bit).to_bytes(32, "big")
    with pytest.raises(EntryUnreadable):
        open_entry(flipped, PART, LOG, JOB_PUBLIC, TAG_KEY.address)


@settings(max_examples=30)
@given(st.sampled_from(["id", "copy", "commitment"]), st.integers(0, 15))
def test_any_flipped_bit_of_the_place_is_refused(field, bit):
    values = {"id": PART.id, "copy": PART.copy, "commitment": int.from_bytes(PART.commitment, "big")}
    values[field] ^= 1 << bit
    other = Part(values["id"], values["copy"], values["commitment"].to_bytes(32, "big"))
    # Another key stream gives another word, and random words are no text.
    with pytest.raises(EntryUnreadable, match="another one"):
        open_entry(ENTRY, other, LOG, JOB_PUBLIC)


def test_strangers_read_nothing():
    stranger = secrets.token_bytes(32)
    for public in (JOB_PUBLIC, LOG_PUBLIC):
        with pytest.raises(EntryUnreadable, match="another one"):
            open_entry(ENTRY, PART, stranger, public)
    with pytest.raises(EntryUnreadable):
        open_entry(bytes(32), PART, LOG, JOB_PUBLIC)


def test_a_printer_that_contradicts_itself():
    """The entry names another serial than the commitment: readable without the tag, refused with it."""
    # Nothing public makes such an entry.
    entry = _combined(to_word("ANOTHER"), PART, JOB, LOG_PUBLIC)
    assert open_entry(entry, PART, LOG, JOB_PUBLIC) == "ANOTHER"
    with pytest.raises(EntryUnreadable, match="contradicts itself"):
        open_entry(entry, PART, LOG, JOB_PUBLIC, TAG_KEY.address)


@given(SERIALS, SERIALS)
def test_two_serials_never_share_a_key_stream(first, second):
    """Else the difference of two entries would be that of the serials, for everybody to see."""
    (_, one), (_, two) = (
        encrypt_serial(serial, ID, 3, TAG_KEY.address, JOB, LOG_PUBLIC) for serial in (first, second)
    )

    def difference(a, b):
        return bytes(x ^ y for x, y in zip(a, b, strict=True))

    assert (first == second) == (difference(one, two) == difference(to_word(first), to_word(second)))


@pytest.mark.parametrize("address", ["", "0x", "xyz", "0x" + "00" * 32, TAG_KEY.address[2:], None])
def test_no_address_is_no_way_around_the_check(address):
    entry = _combined(to_word("ANOTHER"), PART, JOB, LOG_PUBLIC)
    if address is None:
        assert open_entry(entry, PART, LOG, JOB_PUBLIC, address) == "ANOTHER"
        return
    with pytest.raises(PartInvalid):
        open_entry(entry, PART, LOG, JOB_PUBLIC, address)
    with pytest.raises(PartInvalid):
        encrypt_serial(SERIAL, ID, 3, address, JOB, LOG_PUBLIC)


@pytest.mark.parametrize(("id", "copy"), [(-1, 1), (2**256, 1), (5, 0), (5, -1), (5, 2**16)])
def test_impossible_places(id, copy):
    with pytest.raises(PartInvalid):
        Part(id, copy, bytes(32))
    with pytest.raises(PartInvalid):
        encrypt_serial(SERIAL, id, copy, TAG_KEY.address, JOB, LOG_PUBLIC)
    with pytest.raises(PartInvalid):
        commitment_of(id, copy, SERIAL, TAG_KEY.address)


@pytest.mark.parametrize("point", [0, 1, 2**255 - 20, 2**255 - 19, 2**256 - 1])
def test_low_order_and_second_spellings_of_keys_are_refused(point):
    with pytest.raises(InvalidKey):
        encrypt_serial(SERIAL, ID, 3, TAG_KEY.address, JOB, point.to_bytes(32, "little"))
    with pytest.raises(InvalidKey):
        open_entry(ENTRY, PART, LOG, point.to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_sizes(size):
    with pytest.raises(EntryUnreadable):
        open_entry(bytes(size), PART, LOG, JOB_PUBLIC)
    with pytest.raises(InvalidKey):
        open_entry(ENTRY, PART, bytes(size), JOB_PUBLIC)
    with pytest.raises(InvalidKey):
        open_entry(ENTRY, PART, LOG, bytes(size))
    with pytest.raises(PartInvalid, match="32 bytes"):
        Part(1, 1, bytes(size))
    with pytest.raises(SerialInvalid):
        encrypt_serial("a" * (33 + size), ID, 3, TAG_KEY.address, JOB, LOG_PUBLIC)


def test_tag_keys():
    other = TagKey.generate()
    assert other != TAG_KEY
    assert TagKey(other.secret) == other
    assert TagKey(other.secret).address == other.address
    assert {other, TagKey(other.secret)} == {other}
    assert copy.copy(other) is copy.deepcopy(other) is other


DOMAIN = {"name": "Lifecycle", "version": "1", "chainId": 1, "verifyingContract": "0x" + "11" * 20}
CHECK_OUT = CheckOut(PART.commitment, TagKey(b"\x05" * 32).address, 1_800_000_000)
SIGNED = TAG_KEY.sign_check_out(DOMAIN, CHECK_OUT)


def test_check_out():
    verify_check_out(DOMAIN, CHECK_OUT, SIGNED, TAG_KEY.address)


def test_an_address_in_lower_case_is_the_same():
    verify_check_out(DOMAIN, CHECK_OUT, SIGNED, TAG_KEY.address.lower())
    assert CheckOut(CHECK_OUT.commitment, CHECK_OUT.actor.lower(), CHECK_OUT.deadline) == CHECK_OUT
    assert commitment_of(ID, 3, SERIAL, TAG_KEY.address.lower()) == COMMITMENT


@pytest.mark.parametrize(
    "values",
    [
        {"commitment": b""},
        {"commitment": b"\x11" * 31},
        {"commitment": b"\x11" * 33},
        {"commitment": "0x" + "11" * 32},
        {"actor": ""},
        {"actor": "x"},
        {"actor": "0x" + "11" * 32},
        {"actor": CHECK_OUT.actor.swapcase().replace("0X", "0x")},
        {"actor": None},
        {"deadline": -1},
        {"deadline": 2**256},
        {"deadline": 1.5},
        {"deadline": True},
        {"deadline": None},
    ],
)
def test_impossible_check_outs(values):
    with pytest.raises(CheckOutRefused):
        replace(CHECK_OUT, **values)


@pytest.mark.parametrize("address", ["", "0x", TAG_KEY.address[:-1], TAG_KEY.address + "00", None, 5])
def test_a_check_out_of_no_tag(address):
    with pytest.raises(CheckOutRefused):
        verify_check_out(DOMAIN, CHECK_OUT, SIGNED, address)


@settings(max_examples=60)
@given(st.integers(0, 65 * 8 - 1))
def test_any_flipped_bit_of_a_check_out_is_refused(bit):
    flipped = f"0x{int(SIGNED, 16) ^ 1 << bit:0130x}"
    with pytest.raises(CheckOutRefused):
        verify_check_out(DOMAIN, CHECK_OUT, flipped, TAG_KEY.address)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (DOMAIN | {"chainId": 2}, CHECK_OUT),
        (DOMAIN | {"verifyingContract": "0x" + "22" * 20}, CHECK_OUT),
        (DOMAIN, CheckOut(bytes(32), CHECK_OUT.actor, CHECK_OUT.deadline)),
        (DOMAIN, CheckOut(CHECK_OUT.commitment, TAG_KEY.address, CHECK_OUT.deadline)),
        (DOMAIN, CheckOut(CHECK_OUT.commitment, CHECK_OUT.actor, CHECK_OUT.deadline + 1)),
    ],
)
def test_a_check_out_holds_for_one_statement(domain, message):
    with pytest.raises(CheckOutRefused):
        verify_check_out(domain, message, SIGNED, TAG_KEY.address)


def test_malformed_and_high_check_outs():
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    raw = bytes.fromhex(SIGNED[2:])
    high = raw[:32] + (order - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big") + bytes([55 - raw[64]])
    for signature in (
        "",
        "0x",
        "0xzz",
        SIGNED[:-2],
        SIGNED + "00",
        "0x" + high.hex(),
        "0x" + "00" * 65,
        None,
    ):
        with pytest.raises(CheckOutRefused):
            verify_check_out(DOMAIN, CHECK_OUT, signature, TAG_KEY.address)
    for signature in (
        SIGNED[2:],
        SIGNED.upper(),
        SIGNED + "\n",
        SIGNED[:10] + " \n" + SIGNED[10:],
        " " + SIGNED,
    ):
        with pytest.raises(CheckOutRefused):
            verify_check_out(DOMAIN, CHECK_OUT, signature, TAG_KEY.address)
