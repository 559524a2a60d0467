"""What was sealed comes back whole, or an error comes back: never less, never something else."""

import gc
import hashlib
import io
import os
import random
import threading
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrage import encrypt, passphrase, x25519

from imprimatur.hashing import sha256_stream
from imprimatur.sealing import (
    InvalidKey,
    NotForThisKey,
    SealedFileDamaged,
    SealedFileUnusable,
    key_commitment,
    new_key,
    open_sealed,
    public_key,
    recipient_text,
    seal,
    sealed_file,
)
from imprimatur.sealing.age import MAX_HEADER_SIZE
from imprimatur.sealing.plain_stream import PIECE_SIZE

CHUNK = 1 << 16
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, PIECE_SIZE, PIECE_SIZE + 1, 3 * PIECE_SIZE + 5]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def sealed(plain: bytes) -> tuple[bytes, bytes]:
    """Sealed bytes and file key."""
    target = io.BytesIO()
    key = seal(io.BytesIO(plain), target).file_key
    return target.getvalue(), key


def read_all(sealed_bytes: bytes, key: bytes, size: int = 50_000) -> tuple[bytes, Exception | None]:
    """Everything that is handed out, and the error that ended it, which must then stay."""
    plain = b""
    with open_sealed(io.BytesIO(sealed_bytes), key) as stream:
        try:
            while piece := stream.read(size):
                plain += piece
        except SealedFileUnusable as error:
            for _ in range(3):
                with pytest.raises(type(error)):
                    stream.read(size)
            with pytest.raises(ValueError, match="read to its end"):
                stream.size  # noqa: B018
            return plain, error
        assert stream.read(size) == b""
    return plain, None


def decrypting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sealed-file"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    for thread in decrypting():
        thread.join(10)
    assert decrypting() == []


class Trickle(io.BytesIO):
    """A source that gives a few bytes at a time, as a network does."""

    def read(self, size=-1):
        return super().read(min(size, 1000))


class Failing(io.BytesIO):
    """A source that breaks after some bytes."""

    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size=-1):
        data = super().read(size)
        if not data:
            raise self._error
        return data


# Whole


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size):
    plain, target, seen = content(size), io.BytesIO(), []
    result = seal(io.BytesIO(plain), target, seen.append)
    assert (result.size, result.sha256) == (size, hashlib.sha256(plain).hexdigest())
    assert result.sealed_size == len(target.getvalue())
    assert result.sealed_sha256 == hashlib.sha256(target.getvalue()).hexdigest()
    assert result.key_commitment == hashlib.sha256(result.file_key).hexdigest()
    assert seen == sorted(seen)
    assert (seen[-1] if seen else 0) == size
    with open_sealed(io.BytesIO(target.getvalue()), result.file_key, hashing=True) as stream:
        assert stream.read() == plain
        assert (stream.size, stream.digest) == (size, result.sha256)


@settings(deadline=None)
@given(st.integers(0, 200_000), st.integers(1, 100_000))
def test_any_size_in_any_bites(size, bite):
    plain = content(size)
    assert read_all(*sealed(plain), bite) == (plain, None)


@pytest.mark.parametrize("size", SIZES)
def test_sources_that_trickle(size):
    plain, target = content(size), io.BytesIO()
    key = seal(Trickle(plain), target).file_key
    with open_sealed(Trickle(target.getvalue()), key) as stream:
        assert sha256_stream(stream) == hashlib.sha256(plain).hexdigest()


def test_a_printer_reads_lines():
    plain = b"".join(b"G1 X%d Y%d\n" % (i, i * i) for i in range(50_000))
    data, key = sealed(plain)
    with io.BufferedReader(open_sealed(io.BytesIO(data), key)) as lines:
        assert list(lines) == plain.splitlines(keepends=True)


def test_readinto_any_buffer():
    plain = content(100_000)
    data, key = sealed(plain)
    taken = bytearray()
    with open_sealed(io.BytesIO(data), key) as stream:
        buffer = memoryview(bytearray(30_000)).cast("I")
        while count := stream.readinto(buffer):
            taken += buffer.cast("B")[:count]
        assert stream.read(0) == b""
    assert taken == plain


def test_every_file_has_its_own_key():
    (first, key), (second, other) = sealed(b"part"), sealed(b"part")
    assert key != other
    assert first != second


def test_key_is_checked_before_anything_is_read():
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(InvalidKey):
            open_sealed(Failing(b"", AssertionError()), key)


def test_digest_only_at_the_end_and_when_asked_for():
    data, key = sealed(content(300_000))
    with open_sealed(io.BytesIO(data), key, hashing=True) as stream:
        stream.read(100)
        with pytest.raises(ValueError, match="read to its end"):
            stream.digest  # noqa: B018
    with open_sealed(io.BytesIO(data), key) as stream:
        stream.read()
        with pytest.raises(ValueError, match="without hashing"):
            stream.digest  # noqa: B018


# Damaged

PLAIN = content(3 * CHUNK + 777)
SEALED, KEY = sealed(PLAIN)
HEADER = SEALED.index(b"\n--- ") + 1
PAYLOAD = SEALED.index(b"\n", HEADER) + 1 + 16


def chunks_before(position: int) -> int:
    """Bytes of the plain file whose chunks end before this byte of the sealed one."""
    return max(0, (position - PAYLOAD) // (CHUNK + 16)) * CHUNK


@settings(deadline=None)
@given(st.one_of(st.integers(0, PAYLOAD * 8 - 1), st.integers(0, len(SEALED) * 8 - 1)))
def test_any_flipped_bit(bit):
    changed = bytearray(SEALED)
    changed[bit // 8] ^= 1 << bit % 8
    plain, error = read_all(bytes(changed), KEY)
    assert error is not None
    assert plain == PLAIN[: chunks_before(bit // 8)]
    # age can't tell a damaged stanza from a foreign one; everywhere else it can.
    if bit // 8 >= HEADER or bit // 8 < len(b"age-encryption.org/v1\n"):
        assert isinstance(error, SealedFileDamaged)


@settings(deadline=None)
@given(st.one_of(st.integers(0, PAYLOAD + 100), st.integers(0, len(SEALED) - 1)))
def test_any_cut(length):
    plain, error = read_all(SEALED[:length], KEY)
    assert isinstance(error, SealedFileDamaged)
    assert plain == PLAIN[: len(plain)]
    assert len(plain) <= chunks_before(length)


@pytest.mark.parametrize("size", SIZES)
def test_cut_at_the_end_of_each_chunk(size):
    plain = content(size)
    data, key = sealed(plain)
    start = len(data) - size - 16 * max(1, -(-size // CHUNK))
    for end in range(start, len(data), CHUNK + 16):
        assert isinstance(read_all(data[:end], key)[1], SealedFileDamaged)


@settings(deadline=None)
@given(st.sampled_from(SIZES), st.one_of(st.binary(min_size=1, max_size=40), st.just(bytes(2 * PIECE_SIZE))))
def test_anything_appended(size, more):
    plain = content(size)
    data, key = sealed(plain)
    handed_out, error = read_all(data + more, key)
    assert isinstance(error, SealedFileDamaged)
    assert handed_out == plain[: len(handed_out)]


def test_chunks_out_of_order_left_out_or_doubled():
    chunks = [SEALED[PAYLOAD + i * (CHUNK + 16) : PAYLOAD + (i + 1) * (CHUNK + 16)] for i in range(4)]
    head = SEALED[:PAYLOAD]
    assert read_all(head + b"".join(chunks), KEY) == (PLAIN, None)
    for order in [(1, 0, 2, 3), (0, 2, 3), (0, 1, 1, 2, 3), (0, 1, 2), (3,), ()]:
        plain, error = read_all(head + b"".join(chunks[i] for i in order), KEY)
        assert isinstance(error, SealedFileDamaged)
        assert plain == PLAIN[: len(plain)]


@pytest.mark.parametrize("data", [b"", b"\n", b"age", b"G28\nG1 X1\n" * 100_000, bytes(1000), b"PK\x03\x04"])
def test_no_sealed_file(data):
    assert isinstance(read_all(data, KEY)[1], SealedFileDamaged)


def test_text_form_is_refused_with_a_sentence():
    recipient = x25519.Recipient.from_str(recipient_text(public_key(KEY)))
    plain, error = read_all(encrypt(b"part", [recipient], armored=True), KEY)
    assert plain == b""
    assert "text form" in str(error)


def test_endless_header_is_refused_early():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size=-1):
            start = b"age-encryption.org/v1\n" if not self.given else b""
            self.given += size
            assert self.given <= MAX_HEADER_SIZE + PIECE_SIZE
            return (start + b"-> X25519 A\n" * size)[:size]

    with open_sealed(Endless(), KEY) as stream, pytest.raises(SealedFileDamaged, match="no end"):
        stream.read(1)


@pytest.mark.parametrize("size", SIZES)
def test_another_key(size):
    plain, error = read_all(sealed(content(size))[0], new_key())
    assert plain == b""
    assert isinstance(error, NotForThisKey)


def test_a_file_with_a_password_is_not_for_this_key():
    assert isinstance(read_all(passphrase.encrypt(b"part", "password"), KEY)[1], NotForThisKey)


# Streams that fail


@pytest.mark.parametrize("length", [0, 10, PAYLOAD, PAYLOAD + 3 * CHUNK])
def test_errors_of_the_source_come_out_as_they_are(length):
    failure = ConnectionResetError(104, "the portal went away")
    pieces: list[bytes] = []
    with open_sealed(Failing(SEALED[:length], failure), KEY) as stream:
        for _ in range(3):
            with pytest.raises(ConnectionResetError) as raised:
                pieces.extend(iter(lambda: stream.read(1000), b""))
            assert raised.value is failure
    plain = b"".join(pieces)
    assert PLAIN.startswith(plain)
    assert len(plain) >= chunks_before(length) - CHUNK


class NotWaiting(io.BytesIO):
    """A source that doesn't wait: at one of its reads there is nothing yet."""

    def __init__(self, data: bytes, empty: int) -> None:
        super().__init__(data)
        self._left = empty

    def read(self, size=-1):
        self._left -= 1
        return None if self._left < 0 else super().read(min(size, PIECE_SIZE))


@pytest.mark.parametrize("empty", [0, 1, 2, 3])
def test_a_source_that_doesnt_wait_is_no_end(empty):
    data, key = sealed(content(3 * PIECE_SIZE))
    with open_sealed(NotWaiting(data, empty), key) as stream:
        for _ in range(3):
            with pytest.raises(BlockingIOError, match="at the moment"):
                stream.readall()
        with pytest.raises(ValueError, match="read to its end"):
            stream.size  # noqa: B018
    with pytest.raises(BlockingIOError, match="at the moment"):
        seal(NotWaiting(bytes(10 * PIECE_SIZE), empty), io.BytesIO())


def test_errors_while_sealing_come_out_as_they_are():
    failure = TimeoutError("the upload stopped")
    for length in (0, 10, 1_000_000):
        with pytest.raises(TimeoutError) as raised:
            seal(Failing(bytes(length), failure), io.BytesIO())
        assert raised.value is failure


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_ends_the_sealing_wherever_it_hits(monkeypatch, stop):
    """Also between two of our lines, where nothing of ours sees the exception. That moment can't be chosen,
    so the method that pyrage calls is one that knows of nothing."""

    def interrupted(self, data):
        raise stop

    monkeypatch.setattr(sealed_file._Target, "write", interrupted)
    with pytest.raises(type(stop)) as raised:
        seal(io.BytesIO(bytes(1_000_000)), io.BytesIO())
    assert raised.value.args == stop.args


class FullAfter(io.BytesIO):
    """A disk that is full after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, data):
        if not self.left:
            raise OSError(28, "No space left on device")
        self.left -= 1
        return super().write(data)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 500_000])
def test_a_full_disk_is_noticed_whichever_write_it_hits(size):
    enough = FullAfter(1000)
    seal(io.BytesIO(content(size)), enough)
    for writes in range(1000 - enough.left):
        with pytest.raises(OSError, match="No space left"):
            seal(io.BytesIO(content(size)), FullAfter(writes))


def test_a_real_full_disk():
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        seal(io.BytesIO(b"part"), full)
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb") as full:
        seal(io.BytesIO(b"part"), full)


def test_targets_that_take_little_or_nothing():
    class Small(io.BytesIO):
        def write(self, data):
            return super().write(data[:1000])

    class Deaf(io.BytesIO):
        def write(self, data):
            return None

    plain, target = content(200_000), Small()
    key = seal(io.BytesIO(plain), target).file_key
    assert read_all(target.getvalue(), key) == (plain, None)
    with pytest.raises(OSError, match="no more bytes"):
        seal(io.BytesIO(plain), Deaf())


def test_progress_stops_the_sealing():
    class Stop(Exception):
        pass

    def progress(done: int) -> None:
        if done > 500_000:
            raise Stop

    target = io.BytesIO()
    with pytest.raises(Stop):
        seal(io.BytesIO(bytes(2_000_000)), target, progress)
    assert len(target.getvalue()) < 1_000_000


# Streams that nobody reads to the end

LONG_PLAIN = content(6 * PIECE_SIZE)
LONG, LONG_KEY = sealed(LONG_PLAIN)


@pytest.mark.parametrize("taken", [None, 0, 1, PIECE_SIZE, 3 * PIECE_SIZE])
def test_close_at_any_time(taken):
    source = io.BytesIO(LONG)
    stream = open_sealed(source, LONG_KEY)
    if taken is not None:
        stream.read(taken)
    threads = decrypting()
    assert len(threads) == (taken is not None)
    stream.close()
    stream.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert not source.closed
    for use in (stream.read, stream.readall, lambda: stream.readinto(bytearray(1)), lambda: stream.read(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_dropped_stream_ends_its_thread():
    stream = open_sealed(io.BytesIO(LONG), LONG_KEY)
    stream.read(1)
    assert len(decrypting()) == 1
    gone = weakref.ref(stream)
    del stream
    assert gone() is None


def test_a_dropped_circle_ends_its_thread():
    stream = open_sealed(io.BytesIO(LONG), LONG_KEY)
    stream.read(1)
    stream.circle = [stream]
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None


def test_close_while_another_thread_waits_for_the_source():
    readable, writable = os.pipe()
    outcome: list[Exception] = []

    def read(stream) -> None:
        try:
            while stream.read(PIECE_SIZE):
                pass
        except Exception as error:
            outcome.append(error)

    with open(readable, "rb", buffering=0) as source, open(writable, "wb", buffering=0) as target:
        stream = open_sealed(source, LONG_KEY)
        reader = threading.Thread(target=read, args=[stream])
        reader.start()
        target.write(LONG[:1000])
        while reader.is_alive() and not decrypting():
            time.sleep(0.001)
        stream.close()
        target.write(LONG[1000:2000])
        reader.join(10)
    assert not reader.is_alive()
    assert isinstance(outcome[0], ValueError)


def test_many_streams_side_by_side_closed_at_random():
    def use(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            with open_sealed(io.BytesIO(LONG), LONG_KEY) as stream:
                length = chance.randrange(len(LONG_PLAIN))
                taken = io.BufferedReader(stream).read(length)
            if taken != LONG_PLAIN[:length]:
                wrong.append(seed)

    wrong: list[int] = []
    threads = [threading.Thread(target=use, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_sealed_file_is_named_by_its_key():
    result = seal(io.BytesIO(b"part"), io.BytesIO())
    assert result.key_commitment == key_commitment(result.file_key)
    assert repr(result.file_key) not in repr(result)
