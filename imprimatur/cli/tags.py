"""Tags given on the command line or by the standard input."""

import sys
from typing import TYPE_CHECKING

from imprimatur.cli.result import complain

if TYPE_CHECKING:
    from imprimatur.serials.tag import Tag

STDIN = "-"
WARNING = (
    "The part's secret key stood in the command line, where others on this machine can see it. Leave out # "
    "and what follows, or give the tag by the standard input (-)."
)


def is_tag(text: str) -> bool:
    """Whether this is meant as a tag and not as a file."""
    return text.startswith(("https://", "http://"))


def read_tag(text: str) -> "Tag":
    """The public part of the tag behind a URL; - stands for a URL on the standard input.

    Raises:
        TagInvalid: it isn't a tag.
    """
    from imprimatur.serials.tag import MAX_URL_LENGTH, Tag

    if text == STDIN:
        text = sys.stdin.readline(MAX_URL_LENGTH + 2).strip()
    elif "#" in text:
        complain(WARNING)
    return Tag.from_url(text).public
