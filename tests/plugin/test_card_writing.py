"""Whether the printer writes its card is known across connections and restarts.

On a real OctoPrint: `test_killed.py`, `test_gate_policy.py`.
"""

from pathlib import Path

import pytest

from octoprint_imprimatur.card_writing import MARKER, NO_WRITING, CardWriting


def kept_in(folder: Path) -> CardWriting:
    card = CardWriting()
    card.keep_in(folder)
    return card


def test_it_ends_when_the_printer_has_answered(tmp_path: Path) -> None:
    card, comm, other = kept_in(tmp_path), object(), object()
    card.leaves(comm, "M105")
    assert not card.takes(comm)
    card.leaves(comm, "M28 a.gco")
    assert kept_in(tmp_path).takes(None)
    card.leaves(comm, "M29")
    # What follows through this connection arrives behind it; through another one it may not have arrived.
    assert [card.takes(through) for through in (comm, other, None)] == [False, True, True]
    assert kept_in(tmp_path).takes(comm)
    card.leaves(comm, "M105")
    assert not card.takes(None)
    assert not kept_in(tmp_path).takes(None)
    assert list(tmp_path.iterdir()) == []


def test_an_end_that_may_be_lost_is_none(tmp_path: Path) -> None:
    card, comm, other = kept_in(tmp_path), object(), object()
    card.leaves(comm, "M28 a.gco")
    card.leaves(comm, "M29")
    card.leaves(other, "M105")
    assert [card.takes(through) for through in (comm, other)] == [True, True]
    card.leaves(other, "M29")
    card.leaves(other, "M28 b.gco")
    assert card.takes(other)
    assert kept_in(tmp_path).written


@pytest.mark.parametrize("last", ["M28 a.gco", "M29"])
def test_a_printer_that_says_it_cant_doesnt(tmp_path: Path, last: str) -> None:
    card, comm = kept_in(tmp_path), object()
    card.leaves(comm, "M28 a.gco")
    card.leaves(comm, last)
    for said in ("ok", "start", f"echo: {NO_WRITING}"):
        card.answers(f"{said}\n")
    assert card.written
    card.answers(f"{NO_WRITING}\n")
    assert not card.takes(None)
    assert not (tmp_path / MARKER).exists()


def test_what_cant_be_kept_doesnt_begin(tmp_path: Path) -> None:
    card, comm = kept_in(tmp_path), object()
    (tmp_path / MARKER).mkdir()
    with pytest.raises(OSError, match="directory"):
        card.leaves(comm, "M28 a.gco")
    assert not card.takes(comm)
    (tmp_path / MARKER).rmdir()
    card.leaves(comm, "M28 a.gco")
    (tmp_path / MARKER).unlink()
    (tmp_path / MARKER).mkdir()
    card.leaves(comm, "M29")
    card.leaves(comm, "M105")
    assert not card.takes(None), "its end counts, even where that can't be kept"
    assert kept_in(tmp_path).takes(None)
