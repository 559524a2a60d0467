"""What a command found out, for people and for programs."""

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from imprimatur.cli.exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class Result:
    """The answer of a command: `members` of the JSON object, `text` for people."""

    members: dict[str, Any]
    text: str
    exit_code: ExitCode = ExitCode.OK


def show(result: Result, as_json: bool) -> None:
    """Write a result to stdout."""
    write(json.dumps(result.members, indent=2) if as_json else printable(result.text))


def write(text: str) -> None:
    """One text and a line's end to stdout. A reader that went away, such as `head`, is no error.

    Raises:
        OSError: there is no place for it, such as on a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        # The interpreter flushes once more when it ends, and would complain.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        if not isinstance(error, BrokenPipeError):
            raise


def complain(sentence: str) -> None:
    """One sentence to stderr."""
    print(printable(sentence), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text without characters that could steer a terminal: names come from strangers."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
