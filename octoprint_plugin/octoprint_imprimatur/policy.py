"""Which lines may leave for the printer. Pure rules over text: nothing here knows OctoPrint.

A firmware is more tolerant than OctoPrint's parser (`m24`, ` M024`, `N5 M24`, `M 24`, `F300 M24`), and one
command can hide others behind a line break or in a macro. So every line is brought to one spelling first.
Where firmwares differ, a line means whatever it means to any of them.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

LICENSED_ONLY = "licensed_only"
"""Only licensed jobs print."""
LICENSED_AND_FREE = "licensed_and_free"
"""Own files print as if there were no plugin; licensed jobs as ever."""
POLICIES = (LICENSED_ONLY, LICENSED_AND_FREE)
CARD_WRITES = frozenset({"M28", "M559", "M560", "M928"})
"""Commands that make the printer keep what follows on its own card (RepRapFirmware: M559, M560)."""
SD_PRINT = CARD_WRITES | {"M23", "M24", "M32", "M98", "M471", "M1000"}
"""Those, and what selects or starts a print from that card: M98 runs a file, M471 renames one (both
RepRapFirmware), M1000 goes on after a power loss (Marlin)."""
WORDS = frozenset({"SDCARD_PRINT_FILE", "PLAY", "ECHO"})
"""The same, said in words (Klipper, Smoothieware; RepRapFirmware's `echo` writes to files)."""
MOVES = frozenset({"G0", "G1", "G2", "G3", "G5", "G6"})
PLANE = frozenset("XYIJKR")
"""Letters of a move in the plane; arcs need no X and Y."""
RETURN = "G61"
"""Marlin's move to a place that G60 has kept, extruder included: its letters stand without numbers."""
ELSEWHERE = frozenset({RETURN, "G27", "G28", "G29", "G30", "G42", "M125"})
"""What moves in the plane without saying so: back, parking, homing, probing, to a point of the mesh."""
MACROS = frozenset(f"M{number}" for number in range(810, 820))
"""Marlin's macros: what stands behind is kept and runs when the number comes alone."""
TEXTS = frozenset({"M30", "M33", "M117", "M118"})
"""Commands behind which a name or words for people stand, not codes."""
LONGEST = 1024
"""Characters of a line that is looked at; firmwares take some hundred."""
TURNS = 20
"""How often anybody, without a job, may move and then feed material within `TURNS_WITHIN`."""
TURNS_WITHIN = 60.0
"""Seconds."""

_LINE_BREAKS = re.compile(r"[\r\n\x00]+")
# A backslash lets the rest pass through OctoPrint and Marlin.
_END = re.compile(r"(?<!\\);.*|\*\s*\d+\s*$")
_REMARK = re.compile(r"\([^()]*\)")
_LINE_NUMBERS = re.compile(r"^\s*(?:N\s*[-+]?\d+\s*)+")
_COMMAND = re.compile(r"([GMT])\s*0*(\d+)(?:\.(\d+))?")
_WORD = re.compile(r"([A-Z])\s*([-+]?(?:\d+\.?\d*|\.\d+))")
_LETTER = re.compile(r"([A-Z])\s*[-+]?(?:\.?\d|\{)")


class Job(Enum):
    """What the printer is busy with."""

    NONE = "none"
    LICENSED = "licensed"
    OVER = "over"
    """A licensed file that may not print: it did already, or its start was tampered with."""
    FREE = "free"
    """An own file that was started while own files may print."""
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
    """One command in its one spelling. `words` are the numbers behind its letters.

    Some firmwares read further commands on the same line (Smoothieware), or find theirs behind other words
    (Repetier): those are `others`. Some read what stands in brackets, which is a remark to the rest, and some
    calculate numbers (`E{1+1}`, RepRapFirmware): `letters` are all that may have a value.
    """

    text: str
    name: str | None
    words: dict[str, float]
    letters: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    @property
    def moves(self) -> bool:
        """Whether it may be a move. Modal ones have no name."""
        return self.name is None or self.name in MOVES or not self.others.isdisjoint(MOVES)

    @property
    def in_plane(self) -> bool:
        return self.moves and not self.letters.isdisjoint(PLANE)

    @property
    def feeds(self) -> bool:
        """Whether it moves the extruder; G11 does so as often as a firmware is told to."""
        return (self.moves and "E" in self.letters) or self.name == "G11"

    @property
    def prints(self) -> bool:
        """Whether it moves in the plane and feeds the extruder at once."""
        return (self.in_plane and self.feeds) or (self.name == RETURN and "E" in self.text)

    @property
    def starts_print(self) -> bool:
        """Whether it starts a print from the printer's card, or stores one there."""
        if self.name is None and self.text.split(maxsplit=1)[0] in WORDS:
            return True
        return self.name in SD_PRINT or not self.others.isdisjoint(SD_PRINT)


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
        whole = _END.sub("", part).strip().upper()
        text = _LINE_NUMBERS.sub("", _REMARK.sub("", whole).strip()).strip() or whole
        if not text:
            continue
        match = _COMMAND.match(text)
        name = f"{match[1]}{int(match[2])}" if match else None
        rest = text[match.end() :] if match else text
        words = {letter: float(number) for letter, number in _WORD.findall(rest)}
        remarks = "".join(_REMARK.findall(whole))
        letters = frozenset(_LETTER.findall(f"{rest} {remarks}"))
        others = () if name in TEXTS else _COMMAND.finditer(f"{rest} {remarks}")
        yield Code(text, name, words, letters, frozenset(f"{other[1]}{int(other[2])}" for other in others))
        if name in MACROS:
            for inner in rest.split("|"):
                yield from codes(inner)


def refusal(line: str) -> Verdict:
    """The verdict on a line that doesn't belong to a licensed print."""
    if len(line) > LONGEST:
        return Verdict("command_refused", line[:60])
    for code in codes(line):
        if code.starts_print:
            return Verdict("command_refused", code.text[:60])
        if code.prints:
            return Verdict("move_refused", code.text[:60])
    return ALLOWED


def card_written(line: str, before: bool) -> bool:
    """Whether the printer writes what it is sent to its card, instead of doing it, after it has got `line`.

    Only M29 to the letter ends that: firmwares don't parse what they write. A macro may hold anything.

    Args:
        before: whether it did before.
    """
    if line.strip() == "M29":
        return False
    return before or any(
        not CARD_WRITES.isdisjoint({code.name, *code.others})
        or (code.name in MACROS and not code.text[len("M810") :].strip())
        for code in codes(line)
    )


def understood(setting: object) -> str:
    """The policy that a setting names; what isn't understood means the stricter one."""
    return LICENSED_AND_FREE if setting == LICENSED_AND_FREE else LICENSED_ONLY


def frees(policy: str, job: Job) -> bool:
    """Whether `policy` lets pass what `judge` refuses: anything, but nothing around a licensed job."""
    return policy == LICENSED_AND_FREE and job not in (Job.LICENSED, Job.OVER)


def judge(line: str, source: Source, job: Job) -> Verdict:
    """Whether `line` may leave a printer of licensed jobs only, while it is busy with `job`."""
    if source is not Source.OTHER and (job is Job.FREE or (job is Job.LICENSED and source is Source.FILE)):
        return ALLOWED
    if job is Job.LICENSED and source is not Source.OTHER:
        # Scripts around a licensed print may prime and park, but start nothing else.
        verdict = refusal(line)
        return verdict if verdict.reason == "command_refused" else ALLOWED
    if source is Source.FILE or (source is Source.JOB and job is not Job.NONE):
        return Verdict("restart_refused" if job is Job.OVER else "start_refused", cancel=True)
    return refusal(line)


class TurnWatch:
    """Finds a print that is taken apart: moving and feeding by turns, which one by one are done by hand."""

    def __init__(self) -> None:
        self._moved = False
        self._turns: deque[float] = deque(maxlen=TURNS)

    def clear(self) -> None:
        """Forget what was sent."""
        self._moved = False
        self._turns.clear()

    def judge(self, line: str, now: float) -> Verdict:
        """Whether this line, sent at `now` (seconds), is one feeding too many."""
        for code in codes(line):
            if code.in_plane or code.name in ELSEWHERE:
                self._moved = True
            elif code.feeds:
                if len(self._turns) == TURNS and now - self._turns[0] < TURNS_WITHIN:
                    return Verdict("move_refused", code.text[:60])
                if self._moved:
                    self._moved = False
                    self._turns.append(now)
        return ALLOWED


class ExtrusionWatch:
    """Finds the first line of a print that feeds material: from there on its copy is used up.

    Follows absolute (M82) and relative (M83) extrusion and the zero set by G92. Until a file has chosen, and
    after G90 and G91, which are about extrusion too in some firmwares, it feeds if it does so in either way.
    """

    def __init__(self) -> None:
        self._relative: bool | None = None
        self._position = 0.0

    def feeds(self, line: str) -> bool:
        """Whether this line, the next one sent, feeds material."""
        found = [self._feeds(code) for code in codes(line)]
        return any(found)

    def _feeds(self, code: Code) -> bool:
        if code.starts_print:
            return True
        if code.name in ("M82", "M83"):
            self._relative = code.name == "M83"
        elif code.name in ("G90", "G91"):
            self._relative = None
        elif code.name == "G92" and "E" in code.words:
            self._position = code.words["E"]
        elif code.moves and "E" in code.letters:
            if "E" not in code.words:
                return True
            value, before = code.words["E"], self._position
            self._position = before + value if self._relative else value
            return (value > 0 and self._relative is not False) or (value > before and not self._relative)
        return False
