"""What an outbox's database says, read by somebody else."""

import sqlite3
from contextlib import closing
from pathlib import Path

from imprimatur.chain.outbox import State


def job_number(key: str) -> int:
    """Of `job 7`, or of `job 7#3`: a mutant's keys have something behind the number."""
    return int(key.split("#")[0].removeprefix("job "))


def states_in(database: Path) -> dict[int, State]:
    """The state of each job. What the outbox adds of its own accord, to fill nonces, is nobody's job."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT key, state FROM intent WHERE key LIKE 'job %'").fetchall()
    return {job_number(key): State(state) for key, state in rows}
