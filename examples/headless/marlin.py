"""A printer at a serial port with Marlin's line protocol, without any package.

One command is on its way at a time. It carries a number and a checksum (`N12 G28*21`); the printer says `ok`
when the next one may come, or `Resend: 12` when it got another text. `busy` and reports of temperatures mean
that it is still at work.
"""

import os
import re
import select
import termios
import time
import tty
from collections.abc import Iterator
from typing import BinaryIO, Self

LONGEST_COMMAND = 200
"""Bytes; Marlin's buffer has 96."""
MOST_RESENDS = 10
QUIET = 0.5
"""Seconds."""
_RESEND = re.compile(r"(?:Resend|rs):? *N?(\d+)", re.IGNORECASE)
_HALTED = re.compile(r"halted|kill\(\)|!!", re.IGNORECASE)
_EXTRUDING = re.compile(r"G0*[0-35](?![0-9]).*E", re.IGNORECASE)


class PrinterFailed(Exception):
    """The printer doesn't answer, or says that it can't go on."""


def is_extruding(command: str) -> bool:
    """Whether this is a move that drives the extruder: from here on, a part is made."""
    return _EXTRUDING.match(command) is not None


def commands(stream: BinaryIO) -> Iterator[str]:
    """The commands of a G-code stream without comments. Nothing but the line at hand is kept.

    Raises:
        PrinterFailed: a line can't be a command.
    """
    while line := stream.readline(LONGEST_COMMAND):
        command, comment, _ = line.partition(b";")
        while not line.endswith(b"\n") and (line := stream.readline(LONGEST_COMMAND)):
            # Comments may be as long as they like.
            if not comment:
                raise PrinterFailed("The file has a line that is no G-code.")
        if text := command.decode("ascii", "replace").strip():
            yield text


class Marlin:
    """The printer at a serial port.

    Args:
        port: such as /dev/ttyUSB0.
        baud: bits per second, one of those that the system knows.
        patience: seconds without a word after which the printer counts as gone.
        settle: seconds of silence that end its greeting: most boards restart when the port is opened.

    Raises:
        OSError, PrinterFailed
    """

    def __init__(self, port: str, baud: int = 115200, patience: float = 60.0, settle: float = 2.0) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise PrinterFailed(f"This system has no serial port with {baud} bits per second.")
        self._port = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self._patience = patience
        self._heard = b""
        self._number = 0
        try:
            tty.setraw(self._port)
            settings = termios.tcgetattr(self._port)
            settings[4] = settings[5] = speed
            termios.tcsetattr(self._port, termios.TCSANOW, settings)
            while self._line(settle) is not None:
                pass
            self._send("M110 N0")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._port)

    def do(self, command: str) -> None:
        """Hand over one command; returns when the printer wants the next one.

        Raises:
            PrinterFailed: it doesn't answer, halts, or never gets the command right.
        """
        self._number += 1
        self._send(command)

    def stop(self) -> None:
        """Heaters and motors off, after whatever went wrong: a command may be on its way, or half of one."""
        self._write(b"\n")
        while self._line(QUIET) is not None:
            pass
        self._number = 0
        self._send("M110 N0")
        for command in ("M104 S0", "M140 S0", "M84"):
            self.do(command)

    def _send(self, command: str) -> None:
        text = f"N{self._number} {command}".encode("ascii", "replace")
        checksum = 0
        for byte in text:
            checksum ^= byte
        for _ in range(MOST_RESENDS):
            self._write(b"%b*%d\n" % (text, checksum))
            if self._is_taken():
                return
        raise PrinterFailed("The printer doesn't get a command right. Check the cable.")

    def _is_taken(self) -> bool:
        """Wait for `ok`; False when the command has to be sent again."""
        again = False
        while (line := self._line(self._patience)) is not None:
            if wanted := _RESEND.match(line):
                if int(wanted[1]) != self._number:
                    raise PrinterFailed("The printer asks for a command that it has taken before.")
                again = True
            elif line.startswith("ok"):
                return not again
            elif _HALTED.search(line):
                raise PrinterFailed("The printer has halted.")
        raise PrinterFailed(f"The printer has said nothing for {self._patience:.0f} s.")

    def _line(self, patience: float) -> str | None:
        """The next line that the printer says, or None when it says nothing."""
        until = time.monotonic() + patience
        while b"\n" not in self._heard:
            readable, _, _ = select.select([self._port], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                return None
            if not (piece := self._read()):
                raise PrinterFailed("The printer was unplugged.")
            self._heard = (self._heard + piece)[-4096:]
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode("ascii", "replace").strip()

    def _read(self) -> bytes:
        try:
            return os.read(self._port, 1024)
        except OSError:
            # How Linux says that nobody is at the other end any more.
            return b""

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._port, data) :]
