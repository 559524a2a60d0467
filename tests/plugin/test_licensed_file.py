"""The object that OctoPrint reads a licensed print from: forward only, once, and honest when it breaks."""

import io
from pathlib import Path
from typing import Any

import pytest

from imprimatur.sealing import SealedFileDamaged, open_sealed, seal
from octoprint_imprimatur.licensed_file import LicensedFile

PART = b"".join(b"G1 X%d.5 E0.01 ; \xc2\xb5\n" % number for number in range(30_000))


def sealed(data: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and file key."""
    target = io.BytesIO()
    done = seal(io.BytesIO(data), target)
    return target.getvalue(), done.file_key


def opened(tmp_path: Path, ciphertext: bytes, key: bytes, size: int) -> LicensedFile:
    stub = tmp_path / "stub.gcode"
    stub.write_text("; placeholder\n")
    return LicensedFile(str(stub), open_sealed(io.BytesIO(ciphertext), key), size, "job")


def lines_of(file: LicensedFile) -> list[Any]:
    return [line for line, _, _ in iter(file.getNext, (None, None, None))]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a mark"])
def test_every_line_once_and_the_position_ends_at_the_size(tmp_path: Path, mark: bytes) -> None:
    data = mark + PART
    file = opened(tmp_path, *sealed(data), len(data))
    assert file.getFilesize() == len(data)
    file.start()
    assert lines_of(file) == [f"G1 X{number}.5 E0.01" for number in range(30_000)]
    assert file.getFilepos() == len(data)
    assert file.getProgress() == 1


@pytest.mark.parametrize("again", [LicensedFile.start, lambda file: file.seek(0)], ids=["start", "seek"])
def test_it_cant_be_printed_from_anywhere_but_its_start(tmp_path: Path, again: Any) -> None:
    file = opened(tmp_path, *sealed(PART), len(PART))
    file.start()
    file.getNext()
    assert not file.revoked
    again(file)
    assert file.revoked
    file.close()


def test_a_file_that_cant_be_opened_shows_before_it_starts(tmp_path: Path) -> None:
    ciphertext, key = sealed(PART)
    damaged = ciphertext[:300] + bytes([ciphertext[300] ^ 1]) + ciphertext[301:]
    with pytest.raises(SealedFileDamaged):
        opened(tmp_path, damaged, key, len(PART))


def test_a_file_that_breaks_in_the_middle_ends_the_print_as_octoprint_expects(tmp_path: Path) -> None:
    ciphertext, key = sealed(PART)
    file = opened(tmp_path, ciphertext[:-10], key, len(PART))
    file.start()
    printed: list[Any] = []
    with pytest.raises(OSError, match="can't be read on"):
        printed.extend(iter(file.getNext, (None, None, None)))
    assert 0 < len(printed) < 30_000
    assert file.broken


def test_closing_forgets_the_bytes(tmp_path: Path) -> None:
    ciphertext, key = sealed(PART)
    source = open_sealed(io.BytesIO(ciphertext), key)
    stub = tmp_path / "stub.gcode"
    stub.write_text("; placeholder\n")
    file = LicensedFile(str(stub), source, len(PART), "job")
    file.close()
    assert source.closed
