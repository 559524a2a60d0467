"""Whether the printer writes its card is known across connections and restarts.

On a real OctoPrint: `test_killed.py`, `test_gate_policy.py`.
"""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octoprint_imprimatur import keys, policy
from octoprint_imprimatur.card_writing import MARKER, NO_WRITING, CardWriting
from octoprint_imprimatur.gate import Gate
from octoprint_imprimatur.licensed_file import LicensedFile
from octoprint_imprimatur.policy import LICENSED_AND_FREE


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


def test_a_printer_that_says_it_cant_doesnt(tmp_path: Path) -> None:
    card, comm = kept_in(tmp_path), object()
    card.leaves(comm, "M28 a.gco")
    card.leaves(comm, "M29")
    for said in ("ok", "start", f"echo: {NO_WRITING}"):
        card.answers(f"{said}\n")
    assert card.takes(None)
    card.answers(f"{NO_WRITING}\n")
    assert not card.takes(None)
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("last", ["M28 a.gco", "M105"])
def test_what_a_printer_was_made_to_say_ends_nothing(tmp_path: Path, last: str) -> None:
    """`M118 !! SD write not supported` before M28, and faked acknowledgements."""
    card, comm = kept_in(tmp_path), object()
    card.leaves(comm, "M28 a.gco")
    card.leaves(comm, "M29")
    card.leaves(comm, "M28 b.gco")
    card.leaves(comm, last)
    card.answers(f"{NO_WRITING}\n")
    assert card.takes(comm)
    assert kept_in(tmp_path).takes(comm)


def test_it_counts_before_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A licensed job that starts meanwhile would have its lines written."""
    card, comm = kept_in(tmp_path), object()
    seen: list[bool] = []
    monkeypatch.setattr(keys, "write_secret", lambda *_: seen.append(card.takes(comm)))
    card.leaves(comm, "M28 a.gco")
    assert seen == [True]


def test_a_licensed_job_that_starts_just_then_isnt_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is permitted between the look at M28 and the moment at which that counts."""
    gate = Gate(lambda _: None, lambda: LICENSED_AND_FREE)
    comm: Any = SimpleNamespace(_currentFile=None, isBusy=lambda: False, isStreaming=lambda: False)
    gate.look_after(SimpleNamespace(_comm=comm), lambda: None)
    gate.card.keep_in(tmp_path)
    stub = tmp_path / "stub.gcode"
    stub.touch()
    licensed = LicensedFile(str(stub), BytesIO(b"G1 X1 E1\n"), 9, "job")
    written = policy.card_written

    def meanwhile(line: str, before: bool) -> bool:
        comm._currentFile = licensed
        gate.permit(licensed)
        assert gate.start_refusal(licensed) is None
        return written(line, before)

    monkeypatch.setattr(policy, "card_written", meanwhile)
    assert gate.on_sending(comm, "sending", "M28 a.gco", tags={"source:api"}) == (None,)
    assert not gate.card.takes(comm)
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
