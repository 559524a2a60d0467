"""The headless host of examples/headless: a licensed print to a serial port, without OctoPrint."""

import fcntl
import hashlib
import io
import json
import os
import pty
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import tty
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprimatur.chain.account import load_account
from imprimatur.chain.signers import KeySigner
from imprimatur.device import Journal, Portal, State, profile
from imprimatur.key_answer import Refusal
from imprimatur.manifest.signature import sign_manifest
from imprimatur.sealing import new_key, public_key
from support.delivery_portal import Fault
from support.node import ROOT

HOST = ROOT / "examples" / "headless"
sys.path.insert(0, str(HOST))

import marlin  # noqa: E402

MARK = "G1 X123.456 Y65.432 E0.98765"
"""A line of the part that stands nowhere else."""
PART = b"G28\nM104 S200\nG1 Z5 F3000\n" + b"".join(
    b"G1 X%d Y10 E%d.5\n" % (n % 200, n) if n % 9 else f"{MARK}{n}\n".encode() for n in range(400)
)
COMMANDS = PART.decode().splitlines()
OFF = ["M104 S0", "M140 S0", "M84"]
PASSWORD = "a long password"


@dataclass
class Board:
    """A printer's firmware at the other end of a pseudo terminal."""

    port: str
    terminal: int
    taken: list[str] = field(default_factory=list)
    garble: set[int] = field(default_factory=set)
    """Numbers of commands that arrive changed, once."""
    halt_at: int | None = None
    mute_at: int | None = None
    unplug_at: int | None = None
    hold_at: int | None = None
    """Number of the command with which it waits for `go_on`."""
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        expected, heard = 0, b""
        self.say("start", "echo:Marlin 2.1")
        while True:
            try:
                heard += os.read(self.terminal, 4096)
            except OSError:
                return
            while b"\n" in heard:
                line, _, heard = heard.partition(b"\n")
                found = re.fullmatch(rb"(N(\d+) (.*))\*(\d+)", line)
                if found is None:
                    # An empty line, or the rest of one.
                    if line.strip():
                        self.say("Error:No Checksum", f"Resend: {expected}", "ok")
                    continue
                number = int(found[2])
                checksum = 0
                for byte in found[1]:
                    checksum ^= byte
                if number in self.garble:
                    self.garble.remove(number)
                    checksum ^= 1
                if checksum != int(found[4]) or (number != expected and not found[3].startswith(b"M110")):
                    self.say(
                        f"Error:checksum mismatch, Last Line: {expected - 1}", f"Resend: {expected}", "ok"
                    )
                    continue
                if number == self.unplug_at:
                    os.close(self.terminal)
                    return
                if number == self.mute_at:
                    continue
                if number == self.halt_at:
                    self.say("Error:Printer halted. kill() called!")
                    continue
                if number == self.hold_at:
                    self.hold_at = None
                    self.held.set()
                    assert self.go_on.wait(60)
                if not found[3].startswith(b"M110"):
                    self.taken.append(found[3].decode())
                expected = number + 1
                if number % 50 == 7:
                    self.say("echo:busy: processing", " T:204.9 /205.0 B:60.0 /60.0")
                self.say("ok")

    def say(self, *lines: str) -> None:
        os.write(self.terminal, "".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
def board():
    terminal, end = pty.openpty()
    tty.setraw(terminal)
    board = Board(os.ttyname(end), terminal)
    thread = threading.Thread(target=board.run)
    thread.start()
    yield board
    os.close(end)
    thread.join(10)
    assert not thread.is_alive()
    if board.unplug_at is None:
        os.close(terminal)


@pytest.fixture
def printer(board):
    with marlin.Marlin(board.port, patience=5, settle=0.1) as printer:
        yield printer


def print_all(printer):
    for command in COMMANDS:
        printer.do(command)


# --- the line protocol -----------------------------------------------------------------------------------


def test_every_command_arrives_once_and_in_order(board, printer):
    print_all(printer)
    assert board.taken == COMMANDS


def test_a_garbled_command_is_sent_again(board, printer):
    board.garble = {1, 2, 77, 401}
    print_all(printer)
    assert board.garble == set()
    assert board.taken == COMMANDS


def test_a_printer_that_halts(board, printer):
    board.halt_at = 5
    with pytest.raises(marlin.PrinterFailed, match="halted"):
        print_all(printer)
    assert board.taken == COMMANDS[:4]


def test_a_printer_that_says_nothing(board):
    board.mute_at = 3
    with (
        marlin.Marlin(board.port, patience=0.3, settle=0.1) as printer,
        pytest.raises(marlin.PrinterFailed, match="nothing"),
    ):
        print_all(printer)


def test_a_printer_that_is_unplugged(board, printer):
    board.unplug_at = 3
    with pytest.raises(marlin.PrinterFailed, match="unplugged"):
        print_all(printer)


def test_a_baud_rate_that_no_port_has():
    with pytest.raises(marlin.PrinterFailed, match="123"):
        marlin.Marlin("/dev/null", baud=123)


# --- G-code ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["G28", "G1 X1 E2", "M104 S200"])), st.sampled_from(["\n", "\r\n"]), st.data()
)
def test_comments_arent_sent(lines, end, data):
    """However long they are, and wherever they stand."""
    comment = st.sampled_from(["", ";", " ; a comment", ";" + "x" * 5000, "   "])
    text = "".join(line + data.draw(comment) + end + data.draw(comment) + end for line in lines)
    assert list(marlin.commands(io.BytesIO(text.encode()))) == lines


def test_the_example_part():
    path = ROOT / "examples" / "cable-clip" / "cable-clip.gcode"
    bare = (line.partition(";")[0].strip() for line in path.read_text().splitlines())
    with path.open("rb") as stream:
        found = list(marlin.commands(stream))
    assert found == [line for line in bare if line]
    first = next(number for number, command in enumerate(found) if marlin.is_extruding(command))
    # Heated up before the permit burns.
    assert any(command.startswith("M109") for command in found[:first])


def test_a_file_that_is_no_gcode():
    with pytest.raises(marlin.PrinterFailed):
        list(marlin.commands(io.BytesIO(b"x" * 1000)))


@pytest.mark.parametrize(
    "command",
    ["G1 X1 E1", "G0 E5", "G5 I1 J1 P1 Q1 X1 Y1 E1", "g1 e-1", "G01 X1 E1", "G2 X1 Y1 I1 E.2", "G1E1"],
)
def test_moves_that_drive_the_extruder(command):
    assert marlin.is_extruding(command)


@pytest.mark.parametrize("command", ["G28", "G1 X1 Y1", "G10 E1", "M83", "G92 E0", "M104 S200", "M117 G1 E1"])
def test_what_makes_no_part(command):
    assert not marlin.is_extruding(command)


# --- the whole host --------------------------------------------------------------------------------------


@pytest.fixture
def served(portal):
    portal.reset()
    portal.outcomes = {}
    return portal


@dataclass
class Machine:
    """An enrolled device and the command that prints with it."""

    key: KeySigner
    folder: Path
    line: list[str]

    def run(self, id, *more, timeout=60):
        """Exit code, stdout and stderr."""
        done = subprocess.run(
            [*self.line, f"0x{id:064x}", *map(str, more)],
            capture_output=True, text=True, cwd=ROOT, timeout=timeout,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    @contextmanager
    def running(self, id, *more):
        """The command while it runs; killed at the end if it still does."""
        process = subprocess.Popen(
            [*self.line, f"0x{id:064x}", *map(str, more)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def jobs(self):
        journal = Journal(self.folder / "journal.db")
        try:
            return [(job.state, job.copy, job.reason and job.reason.code) for job in journal.recent()]
        finally:
            journal.close()


@pytest.fixture
def tmp_path():
    """Never below /dev, where pytest's own may be in memory: the host takes a path there for a port."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def machine(served, chain, book, tmp_path):
    key = secrets.token_bytes(32)
    signer = KeySigner(key)
    folder = tmp_path / "device"
    folder.mkdir(mode=0o700)
    keystore = tmp_path / "device.json"
    keystore.write_text(json.dumps(load_account().encrypt(key, PASSWORD, "pbkdf2", 1)))
    (tmp_path / "password").write_text(PASSWORD)
    served.invitations["A" * 20] = None
    enrolment = Portal(served.url, signer).enrol("A" * 20, signer.address, public_key(new_key()))
    kept = profile.Profile(served.url, False, keystore, enrolment)
    (folder / "profile.json").write_bytes(kept.to_bytes())
    line = [sys.executable, str(HOST / "print_to_serial.py"), "--profile", folder, "--node", chain.url,
            "--address-book", book, "--password-file", tmp_path / "password", "--patience", "20"]  # fmt: skip
    return Machine(signer, folder, [str(part) for part in line])


@pytest.fixture
def license(served, chain, machine):
    """A license for three prints of the part, one free failure."""
    return served.offer(chain.account(), machine.key.address, PART, number="4711", failures_allowed=1)


def uses(chain, id):
    return [event.values["copy"] for event in chain.licenses.events("LicenseUsed", id=id)]


def plaintext_in(folder):
    """Files below a folder that hold a line of the part."""
    return [path for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


def test_a_licensed_print_at_a_serial_port(machine, license, board, chain, served):
    code, out, problem = machine.run(license, "--to", board.port)
    assert code == 0, problem
    assert "".join(f"{command}\n" for command in board.taken).encode() == PART
    assert uses(chain, license) == [1]
    assert machine.jobs() == [(State.FINISHED, 1, "finished")]
    (outcome,) = served.outcomes.values()
    assert (outcome["outcome"], outcome["copy"]) == ("finished", 1)
    assert re.search(r"copy 1, serial [0-9A-Z]{16}", out)
    assert chain.rpc.call("eth_getBalance", [machine.key.address, "latest"]) == "0x0"
    assert plaintext_in(machine.folder) == []
    assert not list((machine.folder / "sealed").iterdir())


def test_two_prints_with_one_profile(machine, license, chain, tmp_path):
    """The second would take the first one's job for a left-over of a crash."""
    with (machine.folder / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert (code, uses(chain, license)) == (1, [])
    assert "Another print with this profile is running" in problem
    code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert code == 0, problem


def test_a_licensed_print_into_files(machine, served, chain, tmp_path):
    """Byte for byte, comments and all, and as often as there are copies."""
    part = b"; a comment\n" + PART + bytes(range(256)) * 900
    id = served.offer(chain.account(), machine.key.address, part, copies=2, number="4711-file")
    for copy in (1, 2):
        code, _, problem = machine.run(id, "--to", tmp_path / f"part-{copy}")
        assert code == 0, problem
        assert (tmp_path / f"part-{copy}").read_bytes() == part
    code, _, problem = machine.run(id, "--to", tmp_path / "part-3")
    assert code == 1
    assert "no copies left" in problem
    assert not (tmp_path / "part-3").exists()
    assert uses(chain, id) == [1, 2]


def test_a_file_that_is_there_is_kept_and_the_copy_too(machine, license, chain, tmp_path):
    target = tmp_path / "part"
    target.write_text("mine")
    code, _, problem = machine.run(license, "--to", target)
    assert (code, uses(chain, license)) == (1, [])
    assert "No copy was used" in problem
    assert target.read_text() == "mine"
    assert machine.run(license, "--to", tmp_path / "other")[0] == 0
    assert uses(chain, license) == [1]


def test_nothing_plain_is_on_a_disk_while_it_prints(machine, license, board):
    board.hold_at = 200
    with machine.running(license, "--to", board.port) as process:
        assert board.held.wait(60)
        assert plaintext_in(machine.folder.parent) == []
        # Files without a name too, which only the process itself can reach.
        opened = [Path(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")]
        files = [path for path in opened if path.is_file()]
        assert any(path.resolve().suffix == ".age" for path in files)
        assert not [path for path in files if MARK.encode() in path.read_bytes()]
        board.go_on.set()
        assert process.wait(60) == 0
    assert board.taken == COMMANDS


def test_killed_before_the_part_begins_the_copy_isnt_lost(machine, license, board, chain, tmp_path):
    board.hold_at = 3
    with machine.running(license, "--to", board.port) as process:
        assert board.held.wait(60)
        process.kill()
        process.wait(60)
    board.go_on.set()
    assert [state for state, *_ in machine.jobs()] == [State.ARMED]
    code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert code == 0, problem
    assert (tmp_path / "part").read_bytes() == PART
    assert uses(chain, license) == [1]


def test_killed_while_the_part_is_made_it_is_over(machine, license, board, chain, tmp_path):
    board.hold_at = 50
    with machine.running(license, "--to", board.port) as process:
        assert board.held.wait(60)
        process.kill()
        process.wait(60)
    board.go_on.set()
    code, out, problem = machine.run(license, "--report-failure")
    assert code == 0, problem + out
    assert "gave the copy back" in out
    assert [(state, copy) for state, copy, _ in machine.jobs()] == [(State.FAILED, 1)]
    assert chain.licenses.license_of(license).remaining == 3
    assert machine.run(license, "--to", tmp_path / "part")[0] == 0
    assert uses(chain, license) == [1, 2]


def test_stopped_while_the_part_is_made_heaters_go_off(machine, license, board, served):
    board.hold_at = 50
    with machine.running(license, "--to", board.port) as process:
        assert board.held.wait(60)
        process.send_signal(signal.SIGTERM)
        board.go_on.set()
        assert process.wait(60) == 1
    assert board.taken[-3:] == OFF
    assert len(board.taken) < 60
    assert machine.jobs() == [(State.FAILED, 1, "cancelled")]
    assert [outcome["outcome"] for outcome in served.outcomes.values()] == ["failed"]


def test_a_printer_that_fails_early_costs_nothing(machine, license, board, chain):
    board.halt_at = 2
    code, _, problem = machine.run(license, "--to", board.port)
    assert code == 1
    assert "halted" in problem
    assert machine.jobs() == [(State.KEYED, 1, "failed_early")]
    assert uses(chain, license) == [1]


def test_another_file_than_the_licensed_one_never_reaches_the_printer(machine, served, chain, board):
    """What was sealed has the promised ciphertext and key, and isn't the file of the license."""
    owner = chain.account()
    id = served.offer(owner, machine.key.address, PART, number="4711-swap", issue=False)
    entry = served.served[id]
    entry.manifest = replace(entry.manifest, file_hash=hashlib.sha256(b"another part").hexdigest())
    entry.entry = served.entry(sign_manifest(entry.manifest, owner), "4711-swap", 1)
    chain.issue(owner, machine.key.address, entry.manifest.file_hash, 1, "4711-swap",
                manifest_hash=entry.manifest.hash, failures_allowed=1)  # fmt: skip
    code, _, problem = machine.run(id, "--to", board.port)
    assert code == 1
    assert "isn't the licensed file" in problem
    assert board.taken == []
    assert machine.run(id, "--report-failure")[0] == 0
    assert chain.licenses.license_of(id).remaining == 1


def test_a_withheld_key_leaves_the_copy_to_be_printed_later(machine, license, served, chain, tmp_path):
    served.refusal = Refusal.STOPPED
    code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert code == 1
    assert "withholds" in problem
    assert not (tmp_path / "part").exists()
    served.refusal = None
    assert machine.run(license, "--to", tmp_path / "part")[0] == 0
    assert uses(chain, license) == [1]


def test_faults_on_the_way_are_lived_through(machine, license, served, chain, tmp_path):
    served.faults = [
        Fault("/file", keep=2000),
        Fault("POST .*/uses", status=503, headers={"Retry-After": "1"}),
        Fault("POST .*/uses", keep=0),
        Fault("POST /desk", status=503, headers={"Retry-After": "1"}),
        Fault("/outcomes", keep=0),
    ]
    code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert code == 0, problem
    assert served.faults == []
    assert (tmp_path / "part").read_bytes() == PART
    assert uses(chain, license) == [1]
    assert len(served.outcomes) == 1


def test_a_printer_that_isnt_plugged_in_costs_nothing(machine, license, chain):
    """And no file is made in its place."""
    port = Path(f"/dev/tty{secrets.token_hex(4)}")
    code, _, problem = machine.run(license, "--to", port)
    assert (code, uses(chain, license)) == (1, [])
    assert "no serial port" in problem
    assert not port.exists()


def test_a_profile_that_isnt_there(machine, license, tmp_path):
    machine.line[machine.line.index("--profile") + 1] = tmp_path / "none"
    code, _, problem = machine.run(license, "--to", tmp_path / "part")
    assert code == 1
    assert "imprimatur enrol" in problem


def test_another_contract_than_the_trusted_one(machine, license):
    path = machine.folder / "profile.json"
    document = json.loads(path.read_text())
    document["enrolled"]["portal"]["contract"] = machine.key.address
    path.write_text(json.dumps(document))
    code, _, problem = machine.run(license, "--to", "/dev/null")
    assert code == 1
    assert "another contract" in problem
