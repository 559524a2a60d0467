"""SHA-256 of files and streams equals the standard library's, whatever the size."""

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.hashing import CHUNK_SIZE, HashingReader, sha256_file, sha256_stream


@given(st.binary(max_size=4096))
def test_stream(data):
    assert sha256_stream(io.BytesIO(data)) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
def test_file_with_progress(tmp_path, size):
    path = tmp_path / "part.gcode"
    path.write_bytes(b"G" * size)
    seen: list[int] = []
    assert sha256_file(path, seen.append) == hashlib.sha256(b"G" * size).hexdigest()
    assert seen == sorted(seen)
    assert (seen[-1] if seen else 0) == size


def test_reader_passes_every_byte_on():
    data = bytes(range(256)) * 5000
    reader = HashingReader(io.BytesIO(data))
    assert b"".join(reader) == data
    assert reader.size == len(data)
    assert reader.digest == hashlib.sha256(data).hexdigest()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        sha256_file(tmp_path / "nothing")


def test_a_source_that_has_nothing_yet_is_not_at_its_end():
    class Pipe:
        def read(self, size):
            return None

    with pytest.raises(BlockingIOError, match="gives no bytes now"):
        sha256_stream(Pipe())
