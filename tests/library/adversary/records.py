"""What an outbox's database says, read by somebody else."""

import sqlite3

from imprimatur.chain.outbox import State


def job_number(key: str) -> int:
    """Of `job 7`, or of `job 7#3`: a mutant's keys have something behind the number."""
    return int(key.split("#")[0].removeprefix("job "))


def states_in(database: sqlite3.Connection) -> dict[int, State]:
    """The state of each job. What the outbox adds of its own accord, to fill nonces, is nobody's job."""
    rows = database.execute("SELECT key, state FROM intent WHERE key LIKE 'job %'").fetchall()
    return {job_number(key): State(state) for key, state in rows}
