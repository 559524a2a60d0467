"""SQLite connections that pass the switch at each commit, whoever opened them and whatever they write."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crashes.simulation.switch import Switch

_WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|REPLACE)\b\s*(?:INTO\s+)?(\w+)", re.IGNORECASE)

Watch = Callable[[sqlite3.Connection], None]
"""Looks at the database after each commit."""


def connection_class(switch: Switch, watch: Watch) -> type[sqlite3.Connection]:
    """The class of connections whose commits pass `switch`."""

    class Connection(sqlite3.Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._written: list[str] = []

        def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
            write = _WRITES.match(statement)
            if write is not None:
                where = f"{write[1].lower()} {write[2]}"
                if self.in_transaction:
                    self._written.append(where)
                else:
                    # A statement of its own is a commit too.
                    return self._commits(where, statement, values)
            if statement == "COMMIT":
                name = ", ".join(dict.fromkeys(self._written)) or "nothing"
                self._written.clear()
                # A transaction that wrote nothing leaves nothing behind.
                if name != "nothing":
                    return self._commits(name, statement, values)
            elif statement == "ROLLBACK":
                self._written.clear()
            return super().execute(statement, values)

        def _commits(self, name: str, statement: str, values: Any) -> sqlite3.Cursor:
            switch(f"before commit: {name}")
            cursor = super().execute(statement, values)
            switch.changed()
            watch(self)
            switch(f"after commit: {name}")
            return cursor

    return Connection


@contextmanager
def killable(switch: Switch, watch: Watch) -> Iterator[None]:
    """Every connection that is opened within the block passes `switch`."""
    connect = sqlite3.connect
    factory = connection_class(switch, watch)

    def opened(*arguments: Any, **named: Any) -> sqlite3.Connection:
        return connect(*arguments, **{"factory": factory, **named})

    sqlite3.connect = opened  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect = connect
