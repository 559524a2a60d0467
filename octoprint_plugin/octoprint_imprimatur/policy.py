"""Which lines may leave for the printer. Pure rules over text: nothing here knows OctoPrint.

A firmware is more tolerant than OctoPrint's parser (`m24`, ` M024`, `N5 M24`, `M 24`), and one command can
hide others behind a line break. So every line is brought to one spelling first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

SD_PRINT = frozenset({"M23", "M24", "M28", "M32"})
"""Commands that select, start or write a print on the printer's own card."""
MOVES = frozenset({"G0", "G1", "G2", "G3", "G5"})

_LINE_BREAKS = re.compile(r"[\r\n\x00]+")
_COMMENT = re.compile(r"\([^)]*\)|;.*|\*\s*\d+\s*$")
_LINE_NUMBERS = re.compile(r"^\s*(?:N\s*[-+]?\d+\s*)+")
_COMMAND = re.compile(r"^([GMT])\s*0*(\d+)(?:\.(\d+))?")
_MODAL = re.compile(r"^[XYZEFIJ]\s*[-+]?[\d.]")
_WORD = re.compile(r"([A-Z])\s*([-+]?(?:\d+\.?\d*|\.\d+))")


class Job(Enum):
    """What the printer is busy with."""

    NONE = "none"
    LICENSED = "licensed"
    UNLICENSED = "unlicensed"


class Source(Enum):
    """Where a line comes from."""

    FILE = "file"
    JOB = "job"
    """Scripts and commands that OctoPrint adds to a print."""
    ENDING = "ending"
    """Those which it adds to pause or end a print: they bring the printer to rest."""
    OTHER = "other"
    """Terminal, API, plugins."""


@dataclass(frozen=True, slots=True)
class Code:
    """One command in its one spelling. `words` are the numbers behind its letters."""

    text: str
    name: str | None
    words: dict[str, float]

    @property
    def prints(self) -> bool:
        """Whether it moves in the plane and feeds the extruder at once. Modal lines have no name."""
        moves = self.name in MOVES or (self.name is None and bool(_MODAL.match(self.text)))
        return moves and "E" in self.words and bool(self.words.keys() & {"X", "Y", "I", "J"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a line may leave. `reason` is a key of the operator's messages; None when it may."""

    reason: str | None = None
    command: str = ""
    cancel: bool = False
    """The job that the line belongs to has to be ended."""

    @property
    def allowed(self) -> bool:
        return self.reason is None


ALLOWED = Verdict()


def codes(line: str) -> Iterator[Code]:
    """The commands in what was asked to be sent, as a firmware would read them."""
    for part in _LINE_BREAKS.split(line):
        text = _LINE_NUMBERS.sub("", _COMMENT.sub("", part).strip().upper()).strip()
        if not text:
            continue
        match = _COMMAND.match(text)
        name = f"{match[1]}{int(match[2])}" if match else None
        rest = text[match.end() :] if match else text
        words = {letter: float(number) for letter, number in _WORD.findall(rest)}
        yield Code(text, name, words)


def refusal(line: str) -> Verdict:
    """The verdict on a line that doesn't belong to a licensed print."""
    for code in codes(line):
        if code.name in SD_PRINT:
            return Verdict("command_refused", code.text[:60])
        if code.prints:
            return Verdict("move_refused", code.text[:60])
    return ALLOWED


def judge(line: str, source: Source, job: Job) -> Verdict:
    """Whether `line` may leave while the printer is busy with `job`."""
    if job is Job.LICENSED and source is not Source.OTHER:
        return ALLOWED
    if source is Source.FILE:
        return Verdict("start_refused", cancel=True)
    if source is Source.JOB and job is not Job.NONE:
        return Verdict("start_refused", cancel=True)
    return refusal(line)


class ExtrusionWatch:
    """Finds the first line of a print that feeds material: from there on its copy is used up.

    Follows absolute (M82, the firmwares' default) and relative (M83) extrusion and the zero set by G92.
    """

    def __init__(self) -> None:
        self._relative = False
        self._position = 0.0

    def feeds(self, line: str) -> bool:
        """Whether this line, the next one sent, feeds material."""
        found = [self._feeds(code) for code in codes(line)]
        return any(found)

    def _feeds(self, code: Code) -> bool:
        if code.name == "M83":
            self._relative = True
        elif code.name == "M82":
            self._relative = False
        elif code.name == "G92" and "E" in code.words:
            self._position = code.words["E"]
        elif (code.name in MOVES or code.name is None) and "E" in code.words:
            amount = code.words["E"] if self._relative else code.words["E"] - self._position
            self._position += amount
            return amount > 0
        return False
