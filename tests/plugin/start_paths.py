"""Every way to start a print that this project knows of, as data: how it is taken, and what stops it.

`check_refused` takes it with the plugin, `check_prints` without, which shows that it really prints. The table
of the documentation is `PYTHONPATH=.:tests python tests/plugin/start_paths.py`.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.octoprint import OctoPrint, wait_for

MOVES = tuple(f"G1 X{i}.125 E0.0{i % 9 + 1}" for i in range(1, 38))
LINES = ("M104 S207", "G28 X", *MOVES, "M104 S0")
FREE = "".join(f"{line}\n" for line in LINES)
FEW = (*LINES[:5], "M104 S0")
BY_HAND = frozenset(LINES) - frozenset(MOVES)
"""Of these lines, what may be typed at any time."""
CARD_MOVES = 400
CARD = "".join(f"G1 X{i % 90}.25 E0.01\n" for i in range(CARD_MOVES))
CARD_FILE = "a name too long for dos.gco"
START_HEAT = "M104 S199"
"""From a script of OctoPrint's that runs before each print."""
SCRIPT = "unlicensed"
_numbers = itertools.count(1)

How = Callable[[OctoPrint], Any]


@dataclass(frozen=True)
class StartPath:
    """One way to start a print."""

    name: str
    how: How
    stopped_by: str
    """request: answered with 409; start: the guard before anything changes; line: each line is held back;
    card: the printer is told to stop."""
    reason: str
    """Key of the operator's message."""
    prints: str
    """What the control run shows. file: all lines arrive; card: the machine makes its moves; stored: the
    file is on the card; sent: the commands arrive, a virtual printer doesn't know them all."""
    lines: tuple[str, ...] = LINES
    """What arrives, for file."""
    marks: tuple[str, ...] = ()
    """What is found in the lines that arrive, for sent."""
    by_hand: frozenset[str] = frozenset()
    """Lines that arrive although the print is stopped."""
    afterwards: tuple[str, ...] = ()
    """What brings the printer that did it back to doing what it is told."""
    confuses: bool = False
    """The virtual printer takes two lines that come at once for one, and stays a line behind."""


def upload_to_print(octoprint: OctoPrint) -> Any:
    return octoprint.upload("another.gcode", FREE, print="true")


def upload_to_card(octoprint: OctoPrint) -> Any:
    return octoprint.request("POST", f"/api/files/{octoprint.card}", files={"file": ("stored.gco", FREE)})


def api(target: str, **body: Any) -> How:
    return lambda octoprint: octoprint.post(target, **body)


def select_and_start(octoprint: OctoPrint) -> Any:
    octoprint.post("/api/files/local/free.gcode", command="select")
    return octoprint.post("/api/job", command="start")


def by_plugin(command: str, **body: Any) -> How:
    def start(octoprint: OctoPrint) -> None:
        answer = octoprint.post("/api/plugin/print_starter", **{"path": "free.gcode"} | body, command=command)
        assert answer.status_code == 204, answer.text

    return start


def typed(*commands: str) -> How:
    return lambda octoprint: octoprint.command(*commands)


def printer_asks(octoprint: OctoPrint) -> None:
    octoprint.post("/api/files/local/free.gcode", command="select")
    octoprint.command("!!DEBUG:action_custom start")


def card_path(octoprint: OctoPrint) -> str:
    """What OctoPrint calls the file on the card."""
    (file,) = octoprint.get(f"/api/files/{octoprint.card}")["files"]
    return str(file["path"])


def card_select_and_print(octoprint: OctoPrint) -> Any:
    target = f"/api/files/{octoprint.card}/{card_path(octoprint)}"
    return octoprint.post(target, command="select", print=True)


def card_by_plugin(octoprint: OctoPrint) -> None:
    by_plugin("select_card_to_print", path=card_path(octoprint))(octoprint)


def at_the_printer(octoprint: OctoPrint) -> None:
    octoprint.command(f"!!DEBUG:start_sd {CARD_FILE}")


def _command(line: str, *marks: str) -> StartPath:
    return StartPath(f"terminal: {line!r}", typed(line), "request", "command_refused", "sent", marks=marks)


def _forced(line: str, *marks: str) -> StartPath:
    how = by_plugin("commands", lines=[line])
    return StartPath(
        f"plugin: commands({line!r}, force=True)", how, "line", "command_refused", "sent", marks=marks
    )


PATHS = (
    StartPath("select, then start", select_and_start, "request", "start_refused", "file"),
    StartPath(
        "select and print",
        api("/api/files/local/free.gcode", command="select", print=True),
        "request",
        "start_refused",
        "file",
    ),
    StartPath("upload and print", upload_to_print, "request", "start_refused", "file"),
    StartPath("plugin: start_print", by_plugin("select_and_start"), "start", "start_refused", "file"),
    StartPath(
        "plugin: select_file(printAfterSelect)",
        by_plugin("select_to_print"),
        "start",
        "start_refused",
        "file",
    ),
    StartPath("plugin: comm.startPrint", by_plugin("comm"), "start", "start_refused", "file"),
    StartPath(
        "plugin: MachineCom.startPrint(comm)", by_plugin("comm_class"), "line", "start_refused", "file"
    ),
    StartPath("printer: //action:start", printer_asks, "start", "start_refused", "file"),
    StartPath("card: select and print", card_select_and_print, "request", "sd_refused", "card"),
    StartPath(
        "plugin: card, select_file(printAfterSelect)",
        card_by_plugin,
        "line",
        "command_refused",
        "card",
    ),
    StartPath("terminal: M23, M24", typed(f"M23 {CARD_FILE}", "M24"), "request", "command_refused", "card"),
    StartPath(
        "plugin: commands(M23, M24, force=True)",
        by_plugin("commands", lines=[f"M23 {CARD_FILE}", "M24"]),
        "line",
        "command_refused",
        "card",
    ),
    StartPath("printer: card print at its display", at_the_printer, "card", "card_stopped", "card"),
    StartPath("card: upload", upload_to_card, "request", "sd_refused", "stored"),
    StartPath(
        "card: copy a local file",
        api("/api/files/local/free.gcode", command="uploadSd"),
        "request",
        "sd_refused",
        "stored",
    ),
    StartPath("plugin: add_sd_file", by_plugin("card"), "start", "sd_refused", "stored"),
    StartPath("plugin: comm.startFileTransfer", by_plugin("comm_card"), "start", "sd_refused", "stored"),
    StartPath(
        "terminal: M28, lines, M29",
        typed("M28 stored.gco", *MOVES, "M29"),
        "request",
        "command_refused",
        "stored",
    ),
    *(_command(line, "24") for line in ("M24", "m24", "M024", " M24", "N5 M24", "M24;x", "M 24")),
    _command("X1 M24", "M24"),
    _command("M32 other.gco", "M32"),
    _command("M1000", "M1000"),
    # Marlin writes what follows to the card until M29; the virtual printer doesn't know M928.
    replace(_command("M928 log.gco", "M928"), afterwards=("M28 log.gco", "M29")),
    _command('M98 P"part.g"', "M98"),
    _command("SDCARD_PRINT_FILE FILENAME=part.gcode", "SDCARD_PRINT_FILE"),
    _command("play /sd/part.gcode", "play"),
    StartPath(
        "terminal: a macro, 'M810 G1 X1 E1'",
        typed("M810 G1 X1 E1"),
        "request",
        "move_refused",
        "sent",
        marks=("M810",),
    ),
    *(_forced(line, "24") for line in ("M24", "M024", "N5 M24")),
    StartPath("terminal: the lines of a file", typed(*LINES), "request", "move_refused", "file"),
    StartPath(
        "plugin: commands(lines, force=True)",
        by_plugin("commands", lines=LINES),
        "line",
        "move_refused",
        "file",
        by_hand=BY_HAND,
    ),
    StartPath(
        "plugin: sendCommand(part_of_job)",
        by_plugin("part_of_job", lines=FEW),
        "line",
        "move_refused",
        "file",
        FEW,
        by_hand=BY_HAND,
    ),
    StartPath(
        "G-code script, run by API",
        api("/api/printer/command", script=SCRIPT),
        "line",
        "move_refused",
        "file",
        FEW,
        by_hand=BY_HAND,
    ),
    StartPath(
        "plugin: script(part_of_job)",
        by_plugin("script", name=SCRIPT),
        "line",
        "move_refused",
        "file",
        FEW,
        by_hand=BY_HAND,
    ),
    replace(_command("M105\nM24", "M24"), confuses=True),
    replace(_forced("M105\nM24", "M24"), confuses=True),
)
_CARD_COMMANDS = ("M23", "M24", "M28", "M32", "M98", "M928", "M1000", "SDCARD", "PLAY", "M810")


def card_folder(octoprint: OctoPrint) -> Path:
    return octoprint.basedir / "virtualSd"


def prepare(octoprint: OctoPrint) -> None:
    """The files that are started: among OctoPrint's, on the card, and as a script of OctoPrint's."""
    octoprint.upload("free.gcode", FREE)
    card_folder(octoprint).mkdir(exist_ok=True)
    (card_folder(octoprint) / CARD_FILE).write_text(CARD)
    scripts = octoprint.basedir / "scripts" / "gcode"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / SCRIPT).write_text("\n".join(FEW))
    octoprint.post("/api/printer/sd", command="refresh")
    wait_for("OctoPrint knows the card", lambda: octoprint.get(f"/api/files/{octoprint.card}")["files"], 15)


def clean(octoprint: OctoPrint) -> None:
    """Leave OctoPrint without own files."""
    settle(octoprint)
    for file in octoprint.get("/api/files/local")["files"]:
        octoprint.request("DELETE", f"/api/files/local/{file['path']}").raise_for_status()


def seen(octoprint: OctoPrint) -> dict[str, Any]:
    """What the starter plugin has counted: moves, started, refused, gate."""
    found: dict[str, Any] = octoprint.get("/api/plugin/print_starter")
    return found


def settle(octoprint: OctoPrint) -> None:
    """Wait until what was sent before has arrived, and OctoPrint has nothing to do."""
    mark = octoprint.mark()
    word = f"M117 settled {next(_numbers)}"
    wait_for("OctoPrint is idle", octoprint.operational, 30, 0.05)
    octoprint.command(word)
    wait_for("The printer is usable", lambda: word in octoprint.received(mark), 15, 0.02)


@contextmanager
def slowly(octoprint: OctoPrint, seconds: float = 0.1) -> Iterator[None]:
    """The machine needs some time for each move: a print of `long_part` doesn't end meanwhile."""
    by_plugin("slow", seconds=seconds)(octoprint)
    try:
        yield
    finally:
        by_plugin("slow", seconds=0)(octoprint)


def stored(octoprint: OctoPrint) -> list[str]:
    return [path.name for path in card_folder(octoprint).iterdir() if path.name != CARD_FILE]


def check_refused(octoprint: OctoPrint, path: StartPath) -> None:
    """Nothing of the print reaches the printer, nothing heats, and the operator is told why."""
    by_plugin("forget")(octoprint)
    moves, mark = seen(octoprint)["moves"], octoprint.mark()
    if path.stopped_by == "card":
        with slowly(octoprint, 0.02):
            path.how(octoprint)
            wait_for("It was noticed", lambda: path.reason in seen(octoprint)["refused"], 15)
            settle(octoprint)
            # The machine ends the move that it had begun.
            time.sleep(0.1)
        made = seen(octoprint)["moves"]
        time.sleep(0.2)
        assert made == seen(octoprint)["moves"] < moves + CARD_MOVES, "it is stopped, and not by its end"
        assert octoprint.received(mark)[-3:-1] == ["M524", "M25"]
        return
    answer = path.how(octoprint)
    wait_for("It is told", lambda: path.reason in seen(octoprint)["refused"], 15, 0.02)
    settle(octoprint)
    now, received = seen(octoprint), octoprint.received(mark)
    arrived = [line for line in received if line in LINES and line not in path.by_hand]
    assert arrived == []
    assert now["moves"] - moves == 0
    assert not [line for line in received if line.upper().startswith(_CARD_COMMANDS)]
    assert START_HEAT not in received
    assert stored(octoprint) == []
    assert path.reason in now["refused"]
    if path.stopped_by == "request":
        assert answer.status_code == 409
        assert answer.json()["reason"]["key"] == path.reason
    if path.stopped_by != "line":
        assert now["started"] == [], "OctoPrint's state didn't change"


def check_prints(octoprint: OctoPrint, path: StartPath) -> None:
    """The same with nobody in the way."""
    moves, mark = seen(octoprint)["moves"], octoprint.mark()
    path.how(octoprint)

    def printed() -> bool:
        received = octoprint.received(mark)
        if path.prints == "file":
            return [line for line in received if line in LINES] == list(path.lines)
        if path.prints == "card":
            return bool(seen(octoprint)["moves"] == moves + CARD_MOVES)
        if path.prints == "stored":
            return stored(octoprint) != [] and octoprint.operational()
        return all(any(mark in line for line in received) for mark in path.marks)

    wait_for(f"“{path.name}” prints", printed, 12)
    if path.afterwards:
        octoprint.command(*path.afterwards)
    settle(octoprint)
    for name in stored(octoprint):
        (card_folder(octoprint) / name).unlink()


def table() -> str:
    """What the documentation says about all that."""
    stops = {
        "request": "409, before anything happens",
        "start": "refused, before anything changes",
        "line": "no line leaves",
        "card": "noticed, then M524 and M25",
    }
    rows = [f"| {path.name} | {stops[path.stopped_by]} | `{path.reason}` |" for path in PATHS]
    return "\n".join(["| start | what happens | message |", "|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
