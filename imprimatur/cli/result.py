"""What a command found out, for people and for programs."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO

from imprimatur.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of a command: `members` of the JSON object, `text` for people (of `in_lines`)."""

    members: dict[str, Any]
    text: str
    exit_code: ExitCode = ExitCode.OK


def show(result: Result, as_json: bool) -> None:
    """Write a result to stdout."""
    write(json.dumps(result.members, indent=2) if as_json else in_lines(result.text.split("\n")))


def write(text: str) -> None:
    """One text and a line's end to stdout. A reader that went away, such as `head`, is no error.

    Raises:
        OSError: there is no place for it, such as on a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # The interpreter flushes once more when it ends, and would complain.
        sys.stdout = nowhere()
        if not isinstance(error, BrokenPipeError):
            raise


def complain(sentence: str) -> None:
    """One sentence to stderr, in one line."""
    explain(one_line(sentence))


def explain(text: str) -> None:
    """A text of our own to stderr. If nobody can read it there, the exit code and stdout still say enough."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = nowhere()


def nowhere() -> TextIO:
    """A stream that takes everything and keeps nothing."""
    return open(os.devnull, "w")


def in_lines(lines: Iterable[str]) -> str:
    """A text of lines, each of which stays one whatever names stand in it."""
    return "\n".join(map(one_line, lines))


def one_line(text: str) -> str:
    """The text with a replacement for whatever doesn't show as a character of its own.

    Names and messages come from strangers. An end of a line in them would start a line that we didn't write,
    and control characters would steer the terminal or turn the direction of what follows.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
