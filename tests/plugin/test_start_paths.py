"""No other way starts a print: what really reached the printer, and control runs without the plugin."""

import time
from collections.abc import Callable, Iterator

import pytest

from conftest import START_SCRIPT, STARTER, Issue, Printer, write_start_script
from support.octoprint import OctoPrint, running_octoprint, wait_for

FREE = "M104 S207\nG28 X\n" + "".join(f"G1 X{i}.125 E0.0{i % 9 + 1}\n" for i in range(1, 38)) + "M104 S0\n"
LINES = FREE.splitlines()
CARD_COMMANDS = ("M23", "M24", "M28", "M32")

Start = Callable[[OctoPrint], object]


def api_start(octoprint: OctoPrint) -> object:
    octoprint.post("/api/files/local/free.gcode", command="select")
    return octoprint.post("/api/job", command="start")


def select_and_print(octoprint: OctoPrint) -> object:
    return octoprint.post("/api/files/local/free.gcode", command="select", print=True)


def upload_to_print(octoprint: OctoPrint) -> object:
    return octoprint.upload("another.gcode", FREE, print="true")


def upload_to_card(octoprint: OctoPrint) -> object:
    return octoprint.request(
        "POST", "/api/files/sdcard", files={"file": ("another.gcode", FREE)}, data={"print": "true"}
    )


def copy_to_card(octoprint: OctoPrint) -> object:
    return octoprint.post("/api/files/local/free.gcode", command="uploadSd")


def card_select_and_print(octoprint: OctoPrint) -> object:
    return octoprint.post("/api/files/sdcard/longname.gco", command="select", print=True)


def card_select(octoprint: OctoPrint) -> object:
    return octoprint.post("/api/files/sdcard/longname.gco", command="select")


def by_plugin(how: str) -> Start:
    def start(octoprint: OctoPrint) -> object:
        answer = octoprint.post("/api/plugin/print_starter", command=how, path="free.gcode")
        assert answer.status_code == 204
        return None

    start.__name__ = f"plugin_{how}"
    return start


def typed(*commands: str) -> Start:
    def start(octoprint: OctoPrint) -> object:
        return octoprint.command(*commands)

    start.__name__ = f"terminal_{commands[-1]!r}"
    return start


STARTS: list[Start] = [
    api_start,
    select_and_print,
    upload_to_print,
    upload_to_card,
    copy_to_card,
    card_select_and_print,
    card_select,
    by_plugin("select_and_start"),
    by_plugin("select_to_print"),
    by_plugin("comm"),
    by_plugin("card"),
    *[typed(line) for line in ("M24", "m24", "M024", " M24", "N5 M24", "M24;x", "M105\nM24", "M 24")],
    typed("M23 longname.gco", "M24"),
    typed("M32 longname.gco"),
    typed("M28 stolen.gco"),
    typed(*LINES),
]


@pytest.fixture
def octoprint(printer: Printer) -> OctoPrint:
    octoprint = printer.octoprint
    octoprint.upload("free.gcode", FREE)
    card = octoprint.basedir / "virtualSd"
    card.mkdir(exist_ok=True)
    (card / "longname.gco").write_text(FREE)
    return octoprint


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__)
def test_nothing_of_an_unlicensed_print_reaches_the_printer(octoprint: OctoPrint, start: Start) -> None:
    mark = octoprint.mark()
    answer = start(octoprint)
    time.sleep(0.4)
    octoprint.wait_until_operational()
    received = octoprint.received(mark)
    printed = [line for line in received if line in LINES and line not in ("M104 S207", "M104 S0", "G28 X")]
    assert printed == []
    assert not [line for line in received if line.split()[0].upper().startswith(CARD_COMMANDS)]
    if start.__name__ != typed(*LINES).__name__:
        # Heating by hand stays possible; an unlicensed job doesn't get to heat.
        assert "M104 S207" not in received
        assert START_SCRIPT not in received
    if answer is not None:
        assert answer.status_code == 409  # type: ignore[attr-defined]
        assert "icense" in answer.json()["error"]  # type: ignore[attr-defined]
    octoprint.command("M117 usable")
    wait_for("The printer is usable", lambda: "M117 usable" in octoprint.received(mark), 5)


def test_a_licensed_print_works_after_all_that(printer: Printer, octoprint: OctoPrint, issue: Issue) -> None:
    license = issue()
    by_plugin("select_and_start")(octoprint)
    time.sleep(0.4)
    octoprint.wait_until_operational()
    id = octoprint.print_license(license.id).json()["job"]["id"]
    assert octoprint.wait_for_state(id, "FINISHED", "FAILED", "CONSUMED")["state"] == "FINISHED"
    errors = [line for line in octoprint.log().splitlines() if " - ERROR - " in line]
    assert not [line for line in errors if "imprimatur" in line]


def test_by_hand(octoprint: OctoPrint) -> None:
    mark = octoprint.mark()
    octoprint.post("/api/printer/printhead", command="jog", x=10)
    octoprint.post("/api/printer/tool", command="target", targets={"tool0": 60})
    octoprint.post("/api/printer/tool", command="extrude", amount=5)
    octoprint.post("/api/printer/printhead", command="home", axes=["x"])
    wait_for("All reached the printer", lambda: "G28 X0" in octoprint.received(mark), 10)
    received = " ".join(octoprint.received(mark))
    assert "G0 X10" in received
    assert "M104 S60" in received
    assert "E5" in received


@pytest.fixture(scope="module")
def without_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OctoPrint]:
    basedir = tmp_path_factory.mktemp("control")
    write_start_script(basedir)
    with running_octoprint(basedir, {}, [STARTER], ["imprimatur"]) as octoprint:
        octoprint.upload("free.gcode", FREE)
        yield octoprint


@pytest.mark.parametrize(
    "start",
    [
        api_start,
        select_and_print,
        upload_to_print,
        by_plugin("select_and_start"),
        by_plugin("comm"),
        typed(*LINES),
    ],
    ids=lambda start: start.__name__,
)
def test_control_without_the_plugin_it_prints(without_plugin: OctoPrint, start: Start) -> None:
    mark = without_plugin.mark()
    start(without_plugin)

    def printed() -> bool:
        return [line for line in without_plugin.received(mark) if line in LINES] == LINES

    wait_for("Every line reached the printer", printed, 15)
    without_plugin.wait_until_operational()
