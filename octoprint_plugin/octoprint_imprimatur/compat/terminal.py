"""What OctoPrint writes down of its talk with the printer: nothing of a confidential job.

Each line that is sent goes to the terminal's buffer, to every open browser, to other plugins and, when
switched on, to serial.log. A curtain on one connection keeps those of a confidential job's file from all of
them, and cuts what the printer quotes of them: echoes, errors, notifications. What operators and OctoPrint
itself send meanwhile stays visible. Own files are shown as ever.
"""

import logging
import re
import threading
import weakref
from typing import Any

from octoprint_imprimatur.licensed_file import LicensedFile

FIRST = -99999
"""Order of the hook `received`: before every other plugin's, so that those see what was cut already."""
NOTE = "Lines of a licensed job aren't shown here."
CUT = "… (quotes a licensed job, not shown)"
MARK = "imprimatur:confidential"
"""Tag of a confidential line. It goes with the line through OctoPrint's queues and other plugins' changes."""
WINDOW = 8
"""Characters in a row, without spaces, that make a quotation; so does a shorter line, quoted as a whole."""
REMEMBERED = 200
"""Lines that a printer may still quote or ask for again; at least as many as OctoPrint keeps for that."""
LOGGERS = (
    "octoprint.plugins.action_command_notification",
    "octoprint.plugins.action_command_prompt",
    "octoprint.plugins.imprimatur.gate",
)
"""Of bundled plugins that write down what the printer tells operators: a file can make it say something. And
the gate's, which looks at each line."""
_SENT = {"S": "Send: ", ">": ">>> "}
"""By first letter; the second is OctoPrint 2's."""
_PLAIN = frozenset({"Recv: ok", "<<< ok"})
"""Every second line of a print: it quotes nothing."""
_NUMBERED = re.compile(r"N\d+ (.*)\*\d+\s*", re.DOTALL)
_ROUTINE = re.compile(
    r"\b(?:Recv|ok|wait|start|count|resend|rs)\b|\b[A-Z]{1,2}\d*@?:|\b[NPB]\d+\b", re.IGNORECASE
)
"""What acknowledgements and reports of temperatures and positions are made of, beside their numbers."""
_LETTER = re.compile("[A-Za-z]")
_SHORT = re.compile(rf"[GM]\d+[A-Z].{{0,{WINDOW - 4}}}")
"""A command too short for a quotation, with something behind it; spaces are taken out."""
_SPACES = dict.fromkeys(map(ord, " \t\r\n"))
_formatter = logging.Formatter()
_curtains: "weakref.WeakSet[Curtain]" = weakref.WeakSet()


class CannotHide(Exception):
    """This OctoPrint has no place for a curtain."""


class Curtain:
    """In front of one connection, as long as it lasts. Use `curtain_of`."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._job: LicensedFile | None = None
        self._recent: dict[str, None] = {}
        self._known: tuple[str, list[str]] | None = None
        """Those of `_recent`, as quotations are looked up in them, and the short ones; None when it has to be
        made."""
        self._lock = threading.Lock()
        """Around those two: lines leave while another thread looks up what the printer has said."""
        self._leaving = False
        """The line that leaves next is a confidential one."""
        self._foreign = ""
        """The last line that wasn't."""
        self._at_once: str | None = None
        """What somebody has typed, and leaves without being queued."""
        try:
            self._log_phase, self._log = comm._log_command_phase, comm._log
            self._queue = comm._command_phase_queuing
            loggers = [comm._logger, comm._phaseLogger, *map(logging.getLogger, LOGGERS)]
        except AttributeError as error:
            raise CannotHide(f"lines can't be kept out of this OctoPrint's terminal ({error})") from error
        comm._log_command_phase, comm._log = self._on_phase, self._on_log
        comm._command_phase_queuing = self._on_queuing
        comm.imprimatur_curtain = self
        _curtains.add(self)
        for logger in loggers:
            logger.addFilter(_cut_record)

    def hide(self, job: LicensedFile) -> None:
        """From now on nothing of this job's file is written down; the terminal says so once."""
        self._job = job
        self._log(NOTE)

    # In OctoPrint's place ----------------------------------------------------------------------------------

    def _on_phase(self, phase: str, command: str, *args: Any, tags: Any = None, **kwargs: Any) -> None:
        """First thing that OctoPrint does with a line in each phase."""
        confidential = False
        if tags and "source:file" in tags:
            confidential = MARK in tags
            if not confidential and self._job is not None:
                if self._comm._currentFile is self._job:
                    confidential = True
                    tags.add(MARK)
                    # Now, not when it leaves: a plugin may stumble over it before.
                    self._remember(command)
                elif phase == "sending":
                    self._forget()
        if phase == "sending":
            self._leaving, self._foreign = confidential, command
        if not confidential:
            self._log_phase(phase, command, *args, tags=tags, **kwargs)

    def _on_queuing(
        self, command: str, *args: Any, gcode: Any = None, tags: Any = None, **kwargs: Any
    ) -> Any:
        """What OctoPrint does with a line before it queues it: it may hold it back, and tell everybody so."""
        confidential = bool(tags) and MARK in tags
        if gcode in self._comm._emergency_commands:
            self._at_once = None if confidential else command
        elif gcode and confidential:
            command = gcode
        try:
            return self._queue(command, *args, gcode=gcode, tags=tags, **kwargs)
        finally:
            self._at_once = None

    def _on_log(self, message: str) -> None:
        """Each line for the terminal."""
        if self._job is None or message in _PLAIN:
            self._log(message)
            return
        sent = _SENT.get(message[:1])
        if sent is None or not message.startswith(sent):
            self._log(self.cut(message))
        elif not self._hides(message[len(sent) :]):
            self._log(message)

    def _hides(self, sent: str) -> bool:
        """Whether what leaves, or leaves once more, is a line of the job's file."""
        numbered = _NUMBERED.fullmatch(sent)
        line = numbered[1] if numbered else sent
        if line == self._at_once:
            return False
        if line not in self._recent:
            if not self._leaving and (self._comm._currentFile is not self._job or line == self._foreign):
                return False
            self._remember(line)
        return True

    def _remember(self, line: str) -> None:
        with self._lock:
            self._recent.pop(line, None)
            self._recent[line] = self._known = None
            if len(self._recent) > REMEMBERED:
                del self._recent[next(iter(self._recent))]

    def _forget(self) -> None:
        """Another file is being printed: its first line has cleared what OctoPrint could send again."""
        with self._lock:
            self._job, self._recent, self._known = None, {}, None

    @property
    def remembers(self) -> bool:
        """Whether there are lines that could be quoted."""
        return bool(self._recent)

    # Quotations --------------------------------------------------------------------------------------------

    def cut(self, text: str) -> str:
        """`text` up to where it quotes a line of the job's file."""
        if not self._recent or len(text) < WINDOW or not _LETTER.search(_ROUTINE.sub("", text)):
            return text
        with self._lock:
            if self._known is None:
                lines = [_flat(line) for line in self._recent]
                self._known = "\n".join(lines), [line for line in lines if _SHORT.fullmatch(line)]
            known, short = self._known
        places = [place for place, letter in enumerate(text) if not letter.isspace()]
        flat = "".join(text[place] for place in places).upper()
        if len(flat) != len(places):
            # A letter with a capital of several letters: no G-code.
            flat = "".join(text[place] for place in places)
        windows = (start for start in range(len(flat) - WINDOW + 1) if flat[start : start + WINDOW] in known)
        found = [next(windows, -1), *(flat.find(line) for line in short)]
        start = min((start for start in found if start >= 0), default=None)
        return text if start is None else text[: places[start]] + CUT


def _flat(line: str) -> str:
    return line.translate(_SPACES).upper()


def _cut_record(record: logging.LogRecord) -> bool:
    """A filter for what is logged about lines; every record passes."""
    for curtain in list(_curtains):
        if not curtain.remembers:
            continue
        text = record.getMessage()
        cut = curtain.cut(text)
        if cut is not text:
            record.msg, record.args = cut, None
        if record.exc_info:
            # As text only: services that collect errors would add what each function's variables held.
            record.exc_text, record.exc_info = _formatter.formatException(record.exc_info), None
        if record.exc_text:
            record.exc_text = curtain.cut(record.exc_text)
    return True


def curtain_of(comm: Any) -> Curtain:
    """The curtain of a connection, made when it is first needed.

    Raises:
        CannotHide
    """
    found = getattr(comm, "imprimatur_curtain", None)
    return found if isinstance(found, Curtain) else Curtain(comm)


def live_hooks(comm: Any) -> dict[str, list[str]]:
    """Plugins by hook, in order, that a connection shows lines to: it keeps those of when it was made."""
    protocol = "octoprint.comm.protocol"
    gcode = {f"{protocol}.gcode.{phase}": list(hooks) for phase, hooks in comm._gcode_hooks.items()}
    at = {f"{protocol}.atcommand.{phase}": list(hooks) for phase, hooks in comm._atcommand_hooks.items()}
    others = {
        f"{protocol}.gcode.received": list(comm._received_message_hooks),
        "octoprint.comm.transport.serial.factory": list(comm._serial_factory_hooks),
    }
    return gcode | at | others


def on_received(comm: Any, line: str) -> str:
    """What OctoPrint and its plugins get to see of a line from the printer.

    Action commands stay whole: prompts of the file are made for the operator in front of the printer.
    """
    curtain = getattr(comm, "imprimatur_curtain", None)
    if curtain is None or (line.startswith("//") and line[2:].lstrip().startswith("action:")):
        return line
    cut: str = curtain.cut(line)
    return cut
