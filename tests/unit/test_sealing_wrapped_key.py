"""A wrapped file key opens for its job, for nobody else, and only as it was wrapped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrage import decrypt, encrypt, x25519

from imprimatur.sealing import (
    InvalidKey,
    NotForThisKey,
    SealedFileUnusable,
    WrappedKeyDamaged,
    identity_text,
    new_key,
    public_key,
    recipient_text,
    unwrap_key,
    wrap_key,
)
from imprimatur.sealing.wrapped_key import MAX_WRAPPED_SIZE

FILE_KEY = bytes(range(32))
JOB_KEY = bytes(range(100, 132))
JOB_PUBLIC = public_key(JOB_KEY)
WRAPPED = wrap_key(FILE_KEY, JOB_PUBLIC)


def age_file(content: bytes, armored: bool = False) -> bytes:
    recipient = x25519.Recipient.from_str(recipient_text(JOB_PUBLIC))
    return encrypt(content, [recipient], armored=armored)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_any_key_reaches_any_job(file_key, job_key):
    assert unwrap_key(wrap_key(file_key, public_key(job_key)), job_key) == file_key


def test_two_wraps_differ():
    assert wrap_key(FILE_KEY, JOB_PUBLIC) != WRAPPED


def test_another_job_is_told_so():
    with pytest.raises(NotForThisKey):
        unwrap_key(WRAPPED, new_key())


@given(st.integers(0, len(WRAPPED) * 8 - 1))
def test_any_flipped_bit(bit):
    changed = bytearray(WRAPPED)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealedFileUnusable):
        unwrap_key(bytes(changed), JOB_KEY)


@given(st.integers(0, len(WRAPPED) - 1))
def test_any_cut(length):
    with pytest.raises(WrappedKeyDamaged):
        unwrap_key(WRAPPED[:length], JOB_KEY)


@given(st.binary(min_size=1, max_size=5000))
def test_anything_appended(more):
    with pytest.raises(WrappedKeyDamaged):
        unwrap_key(WRAPPED + more, JOB_KEY)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64, 3000])
def test_another_content_is_no_file_key(size):
    with pytest.raises(WrappedKeyDamaged, match="32 bytes"):
        unwrap_key(age_file(bytes(size)), JOB_KEY)


def test_a_long_wrap_is_refused_though_it_would_open():
    """One among many recipients: nobody needs that for one job, and its work has a limit."""
    recipients = [x25519.Recipient.from_str(recipient_text(JOB_PUBLIC)) for _ in range(45)]
    long = encrypt(FILE_KEY, recipients)
    assert decrypt(long, [x25519.Identity.from_str(identity_text(JOB_KEY))]) == FILE_KEY
    assert len(long) > MAX_WRAPPED_SIZE
    with pytest.raises(WrappedKeyDamaged, match="too long"):
        unwrap_key(long, JOB_KEY)


def test_text_form_is_refused():
    with pytest.raises(WrappedKeyDamaged):
        unwrap_key(age_file(FILE_KEY, armored=True), JOB_KEY)


def test_a_job_key_of_low_order_gets_nothing():
    for point in (0, 1, 2**255 - 20):
        with pytest.raises(InvalidKey, match="low order"):
            wrap_key(FILE_KEY, point.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_sizes(key):
    with pytest.raises(InvalidKey):
        wrap_key(key, JOB_PUBLIC)
    with pytest.raises(InvalidKey):
        wrap_key(FILE_KEY, key)
    with pytest.raises(InvalidKey):
        unwrap_key(WRAPPED, key)
