"""The curtain between a confidential job and everything that OctoPrint writes down, on OctoPrint's own class.

A connection is made without its threads; lines go through the same calls as in a print.
"""

import logging
import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from octoprint_imprimatur.compat import connectors, terminal
from octoprint_imprimatur.compat.terminal import CUT, NOTE, curtain_of
from support.octoprint import wait_for

FILE = {"source:file", "filepos:1", "fileline:1"}
SENT, RECEIVED = ("Send: ", "Recv: ") if connectors.ConnectedPrinter is None else (">>> ", "<<< ")
SECRET = "G1 X73.914 Y12.001 E0.0412"


class Connection:
    """A connection of OctoPrint's that is printing."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.wire: list[bytes] = []
        self._number = 0
        comm = self.comm = connectors.comm_module.MachineCom.__new__(connectors.comm_module.MachineCom)
        comm._logger = logging.getLogger("octoprint.util.comm")
        comm._phaseLogger = logging.getLogger("octoprint.util.comm.command_phases")
        comm._serialLogger = logging.getLogger("SERIAL")
        comm._terminal_log = deque(maxlen=20)
        comm._callback = SimpleNamespace(on_comm_log=self.shown.append)
        comm._serial = SimpleNamespace(write=self._write)
        comm._max_write_passes = 5
        comm._transmitted_lines = 0
        comm._serial_encoding = "ascii"
        comm._connection_closing, comm._state = True, comm.STATE_PRINTING
        comm._emergency_commands, comm._pausing_commands = ["M410"], []
        comm._blocked_commands, comm._ignored_commands = ["G1"], []
        comm._capability_support = {}
        self.job: Any = SimpleNamespace()
        comm._currentFile = self.job

    def _write(self, data: bytes) -> int:
        self.wire.append(data)
        return len(data)

    def send(self, line: str, tags: set[str] | None = None, leaves: str | None = None) -> bytes:
        """Through the phases of one line; `leaves` when a plugin has changed it in the last one."""
        tags = set(tags or {"source:api"})
        for phase in ("queuing", "queued", "sending"):
            self.comm._log_command_phase(phase, line, command_type=None, gcode=None, tags=tags)
        self._number += 1
        sent = f"N{self._number} {leaves or line}*33".encode()
        self.comm._do_send_without_checksum(sent)
        self.comm._log_command_phase("sent", line, tags=tags)
        return sent

    def receive(self, line: str) -> str:
        """The terminal gets it first, then OctoPrint."""
        self.comm._log(f"{RECEIVED}{line}")
        return terminal.on_received(self.comm, line)


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def hidden(connection: Connection) -> Connection:
    """With a confidential job that has sent one line."""
    curtain_of(connection.comm).hide(connection.job)
    connection.send(SECRET, FILE)
    return connection


def test_lines_of_the_file_reach_the_printer_and_nobody_else(connection: Connection) -> None:
    curtain_of(connection.comm).hide(connection.job)
    for number in range(300):
        connection.send(f"G1 X{number}.125 E0.01", FILE)
    assert len(connection.wire) == 300
    assert connection.shown == [NOTE]
    assert list(connection.comm._terminal_log) == [NOTE]


def test_what_others_send_during_the_job_stays_visible(hidden: Connection) -> None:
    hidden.send("M105")
    hidden.send("M104 S199", {"source:job", "source:script", "script:beforePrintStarted"})
    hidden.send(SECRET, FILE)
    hidden.send("M220 S90", {"source:api"})
    assert hidden.shown == [
        NOTE,
        SENT + "N2 M105*33",
        SENT + "N3 M104 S199*33",
        SENT + "N5 M220 S90*33",
    ]


def test_own_files_are_shown_before_and_after(connection: Connection) -> None:
    connection.send("G1 X1 Y1 E1", FILE)
    curtain_of(connection.comm).hide(connection.job)
    connection.send(SECRET, FILE)
    connection.comm._currentFile = object()
    connection.send("G1 X2 Y2 E2", FILE)
    connection.send(SECRET, FILE)
    assert connection.shown == [
        SENT + "N1 G1 X1 Y1 E1*33",
        NOTE,
        SENT + "N3 G1 X2 Y2 E2*33",
        SENT + f"N4 {SECRET}*33",
    ]


def test_a_line_that_is_sent_once_more_stays_hidden_even_after_the_job(hidden: Connection) -> None:
    again = hidden.wire[0].strip()
    hidden.send("M105")
    hidden.comm._currentFile = None
    hidden.comm._do_send_without_checksum(again)
    assert hidden.shown == [NOTE, SENT + "N2 M105*33"]
    assert hidden.wire[-1].strip() == again


def test_a_line_that_a_plugin_changed_stays_hidden(hidden: Connection) -> None:
    hidden.send(SECRET, FILE, leaves="G1 X99.999 Y99.999 E9")
    # Its tags go with a line that is still in the queue when its file isn't OctoPrint's any more.
    hidden.comm._currentFile = None
    hidden.send("G1 X55.55 Y55.55", FILE | {terminal.MARK})
    assert hidden.shown == [NOTE]


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        (f'echo:Unknown command: "{SECRET}"', f'echo:Unknown command: "{CUT}'),
        (f"echo:N12 {SECRET}*33", f"echo:N12 {CUT}"),
        ("!! Malformed command 'g1x73.914y12.001'", f"!! Malformed command '{CUT}"),
        ("Error:G1 X73.914 is out of range", f"Error:{CUT}"),
        ("echo:layer 17 of the bracket", f"echo:{CUT}"),
        ("echo:4711 0815", f"echo:{CUT}"),
    ],
)
def test_what_the_printer_quotes_is_cut_for_all(hidden: Connection, line: str, cut: str) -> None:
    hidden.send("M117 layer 17 of the bracket", FILE)
    hidden.send("M117 4711 0815", FILE)
    assert hidden.receive(line) == cut
    assert hidden.shown == [NOTE, f"{RECEIVED}{cut}"]


@pytest.mark.parametrize(
    "line",
    [
        "ok",
        "ok N12 P15 B3",
        "ok T:73.914 /73.914 B:12.001 /12.001 @:64 B@:0",
        "X:73.914 Y:12.001 Z:0.0412 E:0.0412 Count X:73914 Y:12001",
        "Resend: 12",
        "echo:busy: processing",
        "Error:Heating failed, system stopped! Heater_ID: E0",
        "Error:Line Number is not Last Line Number+1, Last Line: 12",
        "FIRMWARE_NAME:Marlin 2.1 PROTOCOL_VERSION:1.0",
    ],
)
def test_what_octoprint_needs_to_know_stays_whole(hidden: Connection, line: str) -> None:
    hidden.send("M104 S73.914", FILE)
    assert hidden.receive(line) == line
    assert hidden.shown == [NOTE, f"{RECEIVED}{line}"]


def test_prompts_for_the_operator_arrive_and_arent_written_down(
    hidden: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "//action:prompt_begin Insert the nut M4 now"
    hidden.send(f"M118 {prompt}", FILE)
    assert hidden.receive(prompt) == prompt
    assert hidden.shown[-1] == f"{RECEIVED}{CUT}"
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("octoprint.plugins.action_command_notification").info(
            "Got a notification: %s", "Insert the nut M4 now"
        )
    assert caplog.messages == [f"Got a notification: {CUT}"]


def test_logs_dont_quote_either(hidden: Connection, caplog: pytest.LogCaptureFixture) -> None:
    comm = hidden.comm
    with caplog.at_level(logging.DEBUG):
        hidden.send(SECRET, FILE)
        comm._logger.error('Command "%s" from file not enqueued', SECRET)
        comm._phaseLogger.debug(f"phase: sending | command: {SECRET}")
        comm._to_logfile_with_terminal("Received an error from the printer's firmware")
        try:
            raise ValueError(f"can't parse {SECRET}")
        except ValueError:
            comm._logger.exception("Unexpected error")
        hidden.send("M105")
    assert SECRET not in caplog.text
    assert 'Command "' + CUT in caplog.text
    assert "phase: sending | command: M105" in caplog.text
    assert "can't parse " + CUT in caplog.text

    other = Connection()
    with caplog.at_level(logging.DEBUG):
        other.send("G1 X1.5 Y1.5 E0.5", FILE)
    assert "command: G1 X1.5 Y1.5 E0.5" in caplog.text


def queue(comm: Any, line: str, tags: set[str]) -> list[Any]:
    comm._gcode_hooks = {"queuing": {"a_plugin": stumble}}
    results: list[Any] = comm._process_command_phase("queuing", line, gcode="G1", tags=tags)
    return results


def stumble(_comm: Any, _phase: str, command: str, *_args: Any, **_kwargs: Any) -> None:
    raise ValueError(f"no number: {command}")


def test_a_line_that_never_leaves_is_told_to_nobody(
    hidden: Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that OctoPrint holds back, and plugins that stumble over them before."""
    events: list[Any] = []
    bus = SimpleNamespace(fire=lambda event, payload: events.append(payload["command"]))
    monkeypatch.setattr(connectors.comm_module, "eventManager", lambda: bus)
    unseen = "G1 X88.888 Y88.888 E8"
    with caplog.at_level(logging.DEBUG):
        assert queue(hidden.comm, unseen, set(FILE)) == []
        assert "no number" in caplog.text
        assert "X88.888" not in caplog.text
        assert queue(hidden.comm, "G1 X7.777", {"source:api"}) == []
    assert events == ["G1", "G1 X7.777"]


def test_what_leaves_at_once_is_shown_when_somebody_typed_it(hidden: Connection) -> None:
    """Emergency commands, which OctoPrint sends before it has come to the phase of sending."""
    comm = hidden.comm
    comm._emergency_commands, comm._gcode_hooks = ["M410", "G1"], {"queuing": {}}
    comm._capability_supported = comm._use_up_clear = lambda _: True
    comm._do_send = lambda command, gcode: comm._do_send_without_checksum(command.encode())
    for line, tags in (
        ("M410", {"source:api"}),
        ("G1 X5.555 Y5.555", set(FILE)),
        ("M410 P1", {"source:api"}),
    ):
        comm._process_command_phase("queuing", line, gcode=line.split()[0], tags=tags)
    assert [line.strip() for line in hidden.wire[1:]] == [b"M410", b"G1 X5.555 Y5.555", b"M410 P1"]
    assert hidden.shown == [NOTE, SENT + "M410", SENT + "M410 P1"]


def test_what_is_cut_is_looked_up_in_all_lines(hidden: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line leaves while another thread looks up what the printer has just said."""
    latest = "G1 X66.666 Y66.666 E6"
    flat = terminal._flat

    def meanwhile(line: str) -> str:
        monkeypatch.setattr(terminal, "_flat", flat)
        sender = threading.Thread(target=hidden.send, args=(latest, FILE), daemon=True)
        sender.start()
        sender.join(0.2)
        return flat(line)

    monkeypatch.setattr(terminal, "_flat", meanwhile)
    hidden.receive("echo:busy: something else")
    wait_for("It has left", lambda: len(hidden.wire) == 2)
    assert hidden.receive(f"echo:{latest}") == f"echo:{CUT}"


@pytest.mark.parametrize("line", ['// Unknown command:"G1X73.914Y12.001"', "// G1 X73.914 Y12.001 E0.0412"])
def test_remarks_are_no_prompts(hidden: Connection, line: str) -> None:
    assert "X73.9" not in hidden.receive(line)


@pytest.mark.parametrize("short", ["G1 X5 Y6", "G0 Z2", "M104S7"])
def test_a_short_line_is_cut_as_a_whole(hidden: Connection, short: str) -> None:
    hidden.send(short, FILE)
    assert hidden.receive(f"echo:N7 {short}*33") == f"echo:N7 {CUT}"
    assert hidden.receive("echo:Home XYZ first") == "echo:Home XYZ first"


def test_errors_are_logged_without_what_their_functions_held(hidden: Connection) -> None:
    """Services that collect errors send the values of all variables along."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    hidden.comm._logger.addHandler(handler)
    try:
        raise ValueError("nothing of the file")
    except ValueError:
        hidden.comm._logger.exception("Unexpected error")
    finally:
        hidden.comm._logger.removeHandler(handler)
    assert kept[0].exc_info is None
    assert "nothing of the file" in logging.Formatter().format(kept[0])


def test_an_octoprint_that_works_otherwise_prints_nothing_confidential() -> None:
    with pytest.raises(terminal.CannotHide, match="terminal"):
        curtain_of(SimpleNamespace(_log=print))
