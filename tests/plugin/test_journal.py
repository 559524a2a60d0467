"""The journal: every step once, in order, on disk."""

from pathlib import Path

import pytest

from octoprint_imprimatur.journal import Job, Journal, State, WrongState
from octoprint_imprimatur.messages import Message


def pick(journal: Journal) -> Job:
    return journal.pick(
        7, name="clip", number="A-1", file_hash="ab" * 32, chain_id=1, contract="0xc", copies=4, user="ann"
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


def test_a_step_is_taken_once(journal: Journal) -> None:
    job = pick(journal)
    journal.step(job.id, State.PICKED, State.DOWNLOADED)
    with pytest.raises(WrongState):
        journal.step(job.id, State.PICKED, State.DOWNLOADED)
    assert journal.job(job.id).state is State.DOWNLOADED


def test_what_is_known_survives_the_process(journal: Journal, tmp_path: Path) -> None:
    job = pick(journal)
    message = Message("waiting_download", {"copy": 1, "reason": Message("portal_down", {"reason": "x"})})
    journal.step(job.id, State.PICKED, State.SIGNED, message, nonce=3, raw=b"\x02\xff", transaction="0xab")
    journal.close()
    read = Journal(tmp_path / "journal.db").job(job.id)
    assert (read.nonce, read.raw, read.transaction, read.message) == (3, b"\x02\xff", "0xab", message)
    assert read.license_id == 7


def test_it_is_as_durable_as_it_says(journal: Journal) -> None:
    pragma = {
        name: journal._database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2}


def test_only_jobs_that_are_over_can_be_dismissed(journal: Journal) -> None:
    job = pick(journal)
    journal.dismiss(job.id)
    assert not journal.job(job.id).dismissed
    journal.step(job.id, State.PICKED, State.ABANDONED)
    journal.dismiss(job.id)
    assert journal.job(job.id).dismissed


def test_jobs_that_arent_over_are_always_listed(journal: Journal) -> None:
    first = pick(journal)
    for _ in range(3):
        job = pick(journal)
        journal.step(job.id, State.PICKED, State.ABANDONED)
    assert [job.id for job in journal.recent(limit=1)] == [job.id, first.id]


def test_a_message_of_another_version_is_left_out(journal: Journal) -> None:
    job = pick(journal)
    journal._database.execute("""UPDATE job SET message = '{"key": "from the future"}'""")
    assert journal.job(job.id).message is None
