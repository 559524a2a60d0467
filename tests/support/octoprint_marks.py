"""What `benchmarks/octoprint_plugins/line_timer.py` noted in an OctoPrint."""

from dataclasses import dataclass

from support.node import ROOT
from support.octoprint import OctoPrint

TIMER = ROOT / "benchmarks" / "octoprint_plugins" / "line_timer.py"


@dataclass(frozen=True, slots=True)
class Mark:
    """A line that reached the printer at a Unix second."""

    time: float
    processor: float
    """Seconds of processor time that OctoPrint had used."""
    command: str


def forget_marks(octoprint: OctoPrint) -> None:
    """Begin anew."""
    (octoprint.basedir / "marks").unlink(missing_ok=True)


def marks_of(octoprint: OctoPrint) -> list[Mark]:
    """In their order."""
    path = octoprint.basedir / "marks"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Mark(float(at), float(used), what) for at, used, what in (line.split(" ", 2) for line in lines)]
