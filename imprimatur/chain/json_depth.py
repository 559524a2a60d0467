"""Reading JSON of strangers without letting its nesting end the process.

Python's parser recurses, and stops at the recursion limit. eth-account and web3, imported by the program
around us without `account.kept_recursion_limit`, raise that limit beyond what the stack holds: then a few
hundred kilobytes of opening brackets are a segmentation fault instead of an error.
"""

import json
import re
import sys
from typing import Any

SAFE_LIMIT = 10_000
"""Up to this recursion limit the parser raises its error long before the stack ends."""
DEEPEST = 200
"""Levels; what nodes answer has less than ten."""

# Without an end it reaches to the text's: looking for ends again and again would take quadratic time.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]++")


def parse(content: bytes) -> Any:
    """The JSON value.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    # Looking costs about as much as parsing, so it's done only where the parser's own limit is gone.
    if sys.getrecursionlimit() > SAFE_LIMIT and is_deep(content):
        raise ValueError("nested too deeply")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_deep(content: bytes) -> bool:
    """Whether JSON is nested more than `DEEPEST` levels.

    Raises:
        ValueError: not text.
    """
    text = content.decode(json.detect_encoding(content))
    level = 0
    for bracket in _NO_BRACKET.sub("", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        if level > DEEPEST:
            return True
    return False
