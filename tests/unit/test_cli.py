"""The command line where no chain is needed: what it prints, how it ends, what it leaves behind."""

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from imprimatur.chain.signers import open_keystore
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.new_files import new_file
from imprimatur.cli.program import VERBS, program
from imprimatur.cli.tags import read_tag
from imprimatur.sealing import identity_text
from imprimatur.serials.tag import Tag
from imprimatur.serials.tag_key import TagKey
from support.node import ROOT

PART = b"G28\nG1 X10 E1\n" * 20_000
COMMAND = Path(sys.executable).with_name("imprimatur")
PASSWORD = "a long password"


def run(*arguments, **options):
    return CliRunner().invoke(program, [str(a) for a in arguments], **options)


def as_json(*arguments, **options):
    result = run(*arguments, "--json", **options)
    return result.exit_code, json.loads(result.stdout)


def process(*arguments, **options):
    """The installed command, as users run it."""
    options = {"capture_output": True, "text": True, "cwd": ROOT, "timeout": 60} | options
    return subprocess.run([COMMAND, *map(str, arguments)], **options)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "part.gcode"
    path.write_bytes(PART)
    return path


@pytest.fixture
def sealed(part, tmp_path):
    """A sealed file and its key file."""
    out, key = tmp_path / "part.age", tmp_path / "part.key"
    assert run("seal", part, "-o", out, "--key-out", key).exit_code == 0
    return out, key


# --- hash ------------------------------------------------------------------------------------------------


def test_hash_prints_what_sha256sum_prints(part):
    expected = subprocess.run(["sha256sum", part], capture_output=True, text=True, check=True).stdout
    assert process("hash", part).stdout == expected


def test_hash_of_the_standard_input_and_of_several_files(part):
    code, answer = as_json("hash", part, "-", input=b"other")
    assert code == 0
    assert answer["files"] == [
        {"file": str(part), "sha256": hashlib.sha256(PART).hexdigest(), "size": len(PART)},
        {"file": "-", "sha256": hashlib.sha256(b"other").hexdigest(), "size": 5},
    ]


def test_a_file_name_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "\x1b[31mred"
    path.write_bytes(b"")
    done = process("hash", path)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\x1b" not in process("hash", tmp_path / "\x1b[31mmissing").stderr


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\x85", "\v"])
def test_a_name_writes_no_line_of_its_own(tmp_path, end):
    """Nor does it turn the direction of what stands beside it."""
    path = tmp_path / f"a{end}0 contradictions\u202e"
    assert len(run("hash", path).stderr.splitlines()) == 1
    path.write_bytes(b"")
    result = run("hash", path)
    assert len(result.stdout.splitlines()) == 1
    assert "\u202e" not in result.stdout
    result = run("seal", path, "-o", tmp_path / f"s{end}x", "--key-out", tmp_path / f"k{end}x")
    assert len(result.stdout.splitlines()) == 4
    result = run("open", tmp_path / f"s{end}x", "--key", tmp_path / f"k{end}x", "-o", tmp_path / f"p{end}x")
    assert len(result.stdout.splitlines()) == 2
    result = run("keys", "new", tmp_path / f"w{end}x", "--password-env", "P", env={"P": PASSWORD})
    assert len(result.stdout.splitlines()) == 2


def test_a_bar_shows_names_without_what_steers_the_terminal(tmp_path):
    path = tmp_path / "a\x1b]0;title\x07\nb"
    path.write_bytes(PART)
    terminal, end = pty.openpty()
    subprocess.run([COMMAND, "hash", path], stdout=subprocess.PIPE, stderr=end, cwd=ROOT, timeout=60)
    os.close(end)
    shown = os.read(terminal, 1 << 16)
    os.close(terminal)
    assert b"100%" in shown
    assert b"\x1b]0;" not in shown


def test_progress_shows_on_a_terminal_only(part):
    """stderr is a terminal here, stdout a pipe: the bar goes to the one, the answer to the other."""
    terminal, end = pty.openpty()
    done = subprocess.run([COMMAND, "hash", part], stdout=subprocess.PIPE, stderr=end, cwd=ROOT, timeout=60)
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert "100%" in shown
    assert done.stdout.decode().startswith(hashlib.sha256(PART).hexdigest())
    assert process("hash", part).stderr == ""


# --- seal and open ---------------------------------------------------------------------------------------


def test_seal_and_open(part, tmp_path):
    out, key, plain = tmp_path / "a.age", tmp_path / "a.key", tmp_path / "plain"
    code, sealed = as_json("seal", part, "-o", out, "--key-out", key)
    assert code == 0
    assert sealed["fileHash"] == hashlib.sha256(PART).hexdigest()
    assert sealed["sealedHash"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (sealed["size"], sealed["sealedSize"]) == (len(PART), out.stat().st_size)
    code, opened = as_json("open", out, "--key", key, "-o", plain, "--expect", sealed["fileHash"])
    assert code == 0
    assert plain.read_bytes() == PART
    assert {name: opened[name] for name in ("fileHash", "size", "keyCommitment")} == {
        name: sealed[name] for name in ("fileHash", "size", "keyCommitment")
    }


def test_keys_and_plain_files_are_for_their_owner_only(sealed, tmp_path):
    out, key = sealed
    run("open", out, "--key", key, "-o", tmp_path / "plain")
    for path in (key, tmp_path / "plain"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_is_printed(part, tmp_path):
    key = tmp_path / "k"
    result = run("seal", part, "-o", tmp_path / "s", "--key-out", key, "--json")
    secret = key.read_text().splitlines()[-1]
    assert secret.startswith("AGE-SECRET-KEY-1")
    assert secret not in result.output


def test_age_opens_what_seal_made(sealed, tmp_path):
    age = shutil.which("age")
    assert age, "age is missing: apt-get install age"
    out, key = sealed
    opened = subprocess.run([age, "-d", "-i", key, out], capture_output=True, check=True)
    assert opened.stdout == PART


def test_open_takes_an_identity_of_age(part, tmp_path):
    age, keygen = shutil.which("age"), shutil.which("age-keygen")
    assert age, "age is missing: apt-get install age"
    assert keygen
    key = tmp_path / "age.key"
    subprocess.run([keygen, "-o", key], check=True, capture_output=True)
    recipient = subprocess.run([keygen, "-y", key], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([age, "-r", recipient, "-o", tmp_path / "x.age", part], check=True)
    assert run("open", tmp_path / "x.age", "--key", key, "-o", tmp_path / "plain").exit_code == 0
    assert (tmp_path / "plain").read_bytes() == PART


@pytest.mark.parametrize(
    ("harm", "type"),
    [
        (lambda data: data[:-1], "SealedFileDamaged"),
        (lambda data: data + b"\0", "SealedFileDamaged"),
        (lambda data: data[:70_000] + b"\xff\xff" + data[70_002:], "SealedFileDamaged"),
        (lambda data: b"", "SealedFileDamaged"),
    ],
)
def test_a_damaged_file_leaves_nothing(sealed, tmp_path, harm, type):
    out, key = sealed
    damaged = tmp_path / "damaged.age"
    damaged.write_bytes(harm(out.read_bytes()))
    before = left_in(tmp_path)
    code, answer = as_json("open", damaged, "--key", key, "-o", tmp_path / "plain")
    assert (code, answer["error"]["type"]) == (ExitCode.NO, type)
    assert left_in(tmp_path) == before


def test_another_key_opens_nothing(sealed, part, tmp_path):
    out, _ = sealed
    other = tmp_path / "other.key"
    run("seal", part, "-o", tmp_path / "other.age", "--key-out", other)
    code, answer = as_json("open", out, "--key", other, "-o", tmp_path / "plain")
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "NotForThisKey")
    assert not (tmp_path / "plain").exists()


def test_another_file_than_expected_isnt_kept(sealed, tmp_path):
    out, key = sealed
    code, answer = as_json("open", out, "--key", key, "-o", tmp_path / "plain", "--expect", "ab" * 32)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "OtherFile")
    assert not (tmp_path / "plain").exists()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "two\nlines\n", "x" * 70_000])
def test_a_key_file_holds_one_key(sealed, tmp_path, text):
    out, key = sealed
    key.write_text(text)
    result = run("open", out, "--key", key, "-o", tmp_path / "plain")
    assert result.exit_code == ExitCode.FAILED
    assert "isn't a key file" in result.stderr


def test_a_damaged_key_isnt_repeated(sealed, tmp_path):
    out, key = sealed
    text = identity_text(b"\x17" * 32)[:-1] + "Q"
    key.write_text(text)
    result = run("open", out, "--key", key, "-o", tmp_path / "plain", "--json")
    assert result.exit_code == ExitCode.NO
    assert text not in result.output


@pytest.mark.parametrize("taken", ["a.age", "a.key"])
def test_seal_overwrites_nothing(part, tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    before = left_in(tmp_path)
    result = run("seal", part, "-o", tmp_path / "a.age", "--key-out", tmp_path / "a.key")
    assert result.exit_code == ExitCode.FAILED
    assert "nothing is overwritten" in result.stderr
    assert (tmp_path / taken).read_text() == "precious"
    assert left_in(tmp_path) == before


def test_a_file_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "new"

    def write():
        with new_file(path) as file:
            file.write(b"ours")
            path.write_text("precious")

    with pytest.raises(FileExistsError):
        write()
    assert path.read_text() == "precious"
    assert left_in(tmp_path) == ["new"]


def test_a_file_system_without_links_works_too(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with new_file(tmp_path / "new") as file:
        file.write(b"ours")
    assert (tmp_path / "new").read_bytes() == b"ours"
    assert left_in(tmp_path) == ["new"]


def test_seal_follows_no_dangling_link(part, tmp_path):
    (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
    result = run("seal", part, "-o", tmp_path / "a.age", "--key-out", tmp_path / "a.key")
    assert result.exit_code == ExitCode.FAILED
    assert not (tmp_path / "elsewhere").exists()


def test_sealed_file_and_key_differ(part, tmp_path):
    result = run("seal", part, "-o", tmp_path / "a", "--key-out", tmp_path / "a")
    assert result.exit_code == ExitCode.USAGE


STOPPED = [
    (signal.SIGHUP, ExitCode.HUNG_UP, "HungUp"),
    (signal.SIGINT, ExitCode.INTERRUPTED, "Interrupted"),
    (signal.SIGTERM, ExitCode.TERMINATED, "Terminated"),
]


@pytest.mark.parametrize(("number", "code", "type"), STOPPED)
def test_a_stopped_seal_leaves_nothing(tmp_path, number, code, type):
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    command = [COMMAND, "seal", slow, "-o", tmp_path / "out", "--key-out", tmp_path / "key", "--json"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=hang_up_counts,
    )
    with slow.open("wb") as writer:
        writer.write(bytes(1 << 20))
        writer.flush()
        deadline = time.monotonic() + 30
        while not any(name.endswith(".partial") for name in left_in(tmp_path)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(number)
        answer, said = running.communicate(timeout=30)
    assert running.returncode == code
    error = json.loads(answer)["error"]
    assert (error["type"], error["exitCode"]) == (type, code)
    assert said.strip() == error["message"]
    assert left_in(tmp_path) == ["slow"]


def hang_up_counts():
    """Whoever runs the tests may have told its children to ignore it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


LOSSY_SEAL = """
import os, signal, sys
from imprimatur import sealing
number, fate = sys.argv.pop(1), sys.argv.pop(1)
real = sealing.seal
def lossy(source, target, done):
    try:
        os.kill(os.getpid(), int(number))
    except BaseException:
        if fate == "changed":
            raise RuntimeError("a signal, told in other words")
    return real(source, target, done)
sealing.seal = lossy
from imprimatur.cli import main
main()
"""
"""What pyrage does with a signal now and then: it comes out as an error of its own, or not at all."""


@pytest.mark.parametrize("fate", ["changed", "lost"])
@pytest.mark.parametrize(("number", "code", "type"), STOPPED)
def test_a_signal_counts_whatever_becomes_of_it(part, tmp_path, number, code, type, fate):
    arguments = ["seal", part, "-o", tmp_path / "out", "--key-out", tmp_path / "key", "--json"]
    command = [sys.executable, "-c", LOSSY_SEAL, str(int(number)), fate, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, preexec_fn=hang_up_counts
    )
    assert done.returncode == code
    assert json.loads(done.stdout)["error"]["type"] == type
    assert left_in(tmp_path) == ["part.gcode"]


def test_nohup_is_respected(tmp_path):
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    command = ["nohup", COMMAND, "hash", slow]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    # Opening a pipe waits for the reader: the command has started then.
    with slow.open("wb"):
        running.send_signal(signal.SIGHUP)
    assert running.communicate(timeout=30)[0].startswith(hashlib.sha256(b"").hexdigest())
    assert running.returncode == 0


# --- keys ------------------------------------------------------------------------------------------------


def test_keys_new_and_show(tmp_path):
    path, password = tmp_path / "owner.json", tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    code, made = as_json("keys", "new", path, "--password-file", password)
    assert code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keystore(path, PASSWORD).address == made["address"]
    assert as_json("keys", "show", path) == (0, made)
    assert run("keys", "show", path).stdout == made["address"] + "\n"


def test_the_password_can_stand_in_the_environment(tmp_path):
    path = tmp_path / "owner.json"
    result = run("keys", "new", path, "--password-env", "SECRET", env={"SECRET": PASSWORD})
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    open_keystore(path, PASSWORD)


def test_a_password_that_is_no_text_is_refused(tmp_path):
    secret = os.fsdecode(b"\xff" * 9)
    result = run("keys", "new", tmp_path / "k", "--password-env", "SECRET", env={"SECRET": secret})
    assert result.exit_code == ExitCode.USAGE
    assert "SECRET doesn't hold text" in result.stderr


def test_a_bottomless_keystore_is_refused(tmp_path):
    path = tmp_path / "deep"
    path.write_text('{"address":' * 100_000)
    result = run("keys", "show", path)
    assert result.exit_code == ExitCode.FAILED
    assert f"{path} isn't a keystore" in result.stderr


def test_keys_new_overwrites_nothing(tmp_path):
    path = tmp_path / "owner.json"
    path.write_text("precious")
    result = run("keys", "new", path, "--password-env", "SECRET", env={"SECRET": PASSWORD})
    assert result.exit_code == ExitCode.FAILED
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "options",
    [
        ["--password-env", "SHORT"],
        ["--password-env", "NOT_THERE"],
        ["--password-env", "SHORT", "--password-file", "x"],
        [],
    ],
)
def test_keys_new_needs_a_password(tmp_path, options):
    """The last case: no option and no terminal to ask."""
    result = run("keys", "new", tmp_path / "k", *options, env={"SHORT": "1234567"})
    assert result.exit_code == ExitCode.USAGE
    assert left_in(tmp_path) == []


def test_a_password_is_typed_unseen(tmp_path):
    terminal, end = pty.openpty()
    command = [COMMAND, "keys", "new", tmp_path / "k"]
    running = subprocess.Popen(command, stdin=end, stdout=subprocess.PIPE, stderr=end, cwd=ROOT)
    os.close(end)
    shown = ""
    for question in ("Password:", "Repeat"):
        while question not in shown:
            shown += os.read(terminal, 1024).decode()
        # getpass throws away what was typed before it asked.
        time.sleep(0.3)
        os.write(terminal, f"{PASSWORD}\n".encode())
    answer, _ = running.communicate(timeout=60)
    os.close(terminal)
    assert running.returncode == 0
    assert PASSWORD not in shown
    assert open_keystore(tmp_path / "k", PASSWORD).address in answer.decode()


# --- tags ------------------------------------------------------------------------------------------------


def test_a_tags_secret_is_dropped_at_once(capsys):
    key = TagKey.generate()
    tag = Tag(1 << 100, 1, "A1", key.address, key)
    assert read_tag(tag.url("https://parts.example")) == tag.public
    assert "secret key" in capsys.readouterr().err


# --- how it ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], ExitCode.USAGE),
        (["print"], ExitCode.USAGE),
        (["hash"], ExitCode.USAGE),
        (["hash", "--nothing"], ExitCode.USAGE),
        (["license", "show", "0x12", "--node", "http://127.0.0.1:9"], ExitCode.USAGE),
        (["license", "show", f"0x{1:064x}"], ExitCode.USAGE),
        (["license", "show", "0x52908400098527886E0F7030069857D2E4169EE8/1"], ExitCode.USAGE),
        (["license", "show", f"0x{1:064x}", "--node", "ftp://x"], ExitCode.USAGE),
        (["license", "show", f"0x{1:064x}", "--node", "http://[::x/"], ExitCode.USAGE),
        (["license", "show", f"0x{1:064x}", "--node", "http://x:99999/"], ExitCode.USAGE),
        (["license", "show", f"0x{1:064x}", "--node", "https://"], ExitCode.USAGE),
        (["certificate", "build", f"0x{1:064x}", "1", "-o", "x", "--state-at", "9" * 5000], ExitCode.USAGE),
        (["hash", "a\0b"], ExitCode.USAGE),
        (["verify", "a\0.b"], ExitCode.USAGE),
        (["open", "a", "--key", "b", "-o", "c", "--expect", "12"], ExitCode.USAGE),
        (["certificate", "build", f"0x{1:064x}", "1", "-o", "x", "--state-at", "soon"], ExitCode.USAGE),
        (["certificate", "build", f"0x{1:064x}", "0", "-o", "x"], ExitCode.USAGE),
        (["verify", "123456AA0987654321"], ExitCode.USAGE),
        (["verify", "123456AA0987654321", "--copy", "1"], ExitCode.USAGE),
        (["audit", "--unverified", "--trusted-head", "ab" * 32, "--node", "x"], ExitCode.USAGE),
        (["hash", "not there"], ExitCode.FAILED),
        (["hash", "/"], ExitCode.FAILED),
        (["keys", "show", "not there"], ExitCode.FAILED),
        (["verify", "not/there"], ExitCode.FAILED),
        (["audit", "--node", "http://127.0.0.1:9", "--address-book", ROOT / "contracts"], ExitCode.NODE),
    ],
)
def test_exit_codes(arguments, code):
    done = run(*arguments)
    assert done.exit_code == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert done.stdout == ""
        assert done.stderr.strip()


def test_exit_codes_reach_the_shell():
    for arguments, code in ((["--help"], 0), (["print"], ExitCode.USAGE), (["hash", "/"], ExitCode.FAILED)):
        assert process(*arguments).returncode == code


def test_an_error_is_one_json_object_and_one_sentence():
    done = process("hash", "not there", "--json")
    assert json.loads(done.stdout) == {
        "error": {"type": "File", "message": "not there: No such file or directory.", "exitCode": 5}
    }
    assert done.stderr == "not there: No such file or directory.\n"


def test_wrong_usage_is_json_too():
    done = process("hash", "--json")
    assert json.loads(done.stdout)["error"]["type"] == "Usage"


def test_a_file_may_be_called_json(tmp_path):
    (tmp_path / "--json").write_bytes(b"")
    done = process("hash", "--", "--json", cwd=tmp_path)
    assert done.stdout == f"{hashlib.sha256(b'').hexdigest()}  --json\n"


def test_a_url_with_a_password_is_never_printed(tmp_path):
    url = "http://user:very-secret@127.0.0.1:9/key-in-path?token=hidden"
    done = process("license", "show", f"0x{1:064x}", "--node", url, "--address-book", tmp_path, "--json")
    assert done.returncode == ExitCode.NODE
    for secret in ("very-secret", "key-in-path", "hidden"):
        assert secret not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_error():
    shell = f"'{COMMAND}' completion bash | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n", "")


def in_shell(line):
    """A line of bash in which $0 is the command; gives exit code, stdout and stderr."""
    done = subprocess.run(["bash", "-c", line, COMMAND], capture_output=True, text=True, cwd=ROOT, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("away", ["2>&-", "2>/dev/full", "2> >(exec 0<&-)"])
def test_the_answer_comes_without_a_stderr(away):
    """Closed, full, and a pipe whose reader went away."""
    code, answer, said = in_shell(f'"$0" hash "not there" --json {away}')
    assert (code, json.loads(answer)["error"]["type"], said) == (ExitCode.FAILED, "File", "")
    assert in_shell(f'"$0" {away}') == (ExitCode.USAGE, "", "")


def test_a_broken_stderr_changes_no_answer():
    """The reader is gone before the warning is written: Python starts later than `true` ends."""
    tag = "https://x.example/#secret"
    code, answer, _ = in_shell(
        f'{{ "$0" verify "{tag}" --json 2>&1 >&3 3>&- | true; }} 3>&1; exit $PIPESTATUS'
    )
    assert json.loads(answer)["error"]["type"] == "TagInvalid"
    assert code == ExitCode.NO


@pytest.mark.parametrize("others", ["", "<&-"])
def test_without_a_stdout_there_is_no_answer(part, tmp_path, others):
    """And no file gets the number that stdout had."""
    line = f'"$0" seal "{part}" -o "{tmp_path}/out" --key-out "{tmp_path}/key" >&- {others}'
    code, _, said = in_shell(line)
    assert code == ExitCode.FAILED
    assert said.startswith("There is no standard output")
    assert left_in(tmp_path) == ["part.gcode"]
    assert in_shell(f"{line} 2>&-")[0] == ExitCode.FAILED


def test_a_closed_stdin_isnt_an_empty_file():
    code, answer, said = in_shell('"$0" hash - --json <&-')
    assert (code, json.loads(answer)["error"]["type"]) == (ExitCode.FAILED, "File")
    assert len(said.splitlines()) == 1
    code, answer, _ = in_shell('"$0" keys new "$(mktemp -u)" --json <&-')
    assert (code, json.loads(answer)["error"]["type"]) == (ExitCode.USAGE, "Usage")


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_an_answer_that_cant_be_written_is_an_error(part, option):
    with Path("/dev/full").open("w") as full:
        done = process("hash", part, *option, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == "A file can't be read or written: No space left on device.\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_the_unexpected_is_a_sentence_and_on_demand_a_trace(monkeypatch, part, debug):
    def broken(*_arguments):
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr("imprimatur.cli.hashing._hashed", broken)
    result = run("hash", part, env={"IMPRIMATUR_DEBUG": debug})
    assert result.exit_code == ExitCode.FAILED
    assert ("secret of the inside" in result.stderr) == bool(debug)
    assert "IMPRIMATUR_DEBUG=1" in result.stderr


def entry(**change):
    sound = {"address": "0x" + "ab" * 20, "block": 1, "transaction": "0x"}
    return json.dumps({"contracts": {"PrintLicense": sound | change}})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"contracts": {"PrintLicense": {"address": "0x"}}}',
        '{"contracts":' * 100_000,
        entry(address="0x12"),
        entry(retired=["0x12"]),
        entry(block="1"),
        entry(block=-1),
    ],
)
def test_a_damaged_address_book_is_named(tmp_path, content):
    (tmp_path / "31337.json").write_text(content)
    (tmp_path / "certificate").write_text("{}")
    done = run("verify", tmp_path / "certificate", "--address-book", tmp_path)
    assert done.exit_code == ExitCode.FAILED
    assert "31337.json can't be read" in done.stderr


def test_a_missing_address_book_is_not_a_forged_certificate(tmp_path):
    (tmp_path / "certificate").write_text("{}")
    done = run("verify", tmp_path / "certificate", "--address-book", tmp_path / "nowhere")
    assert done.exit_code == ExitCode.FAILED
    assert "There is no address book" in done.stderr


def test_a_sound_address_book_is_taken(tmp_path):
    (tmp_path / "31337.json").write_text(entry())
    (tmp_path / "certificate").write_text("{}")
    assert run("verify", tmp_path / "certificate", "--address-book", tmp_path).exit_code == ExitCode.NO


def test_what_is_no_certificate_is_refused(tmp_path):
    (tmp_path / "certificate").write_text("{}")
    code, answer = as_json("verify", tmp_path / "certificate", "--address-book", tmp_path)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "CertificateInvalid")


# --- what the manual says --------------------------------------------------------------------------------


def test_the_manual_names_every_exit_code_and_kind_of_contradiction():
    manual = (ROOT / "docs" / "cli.md").read_text()
    rows = [line.split("|")[1] for line in manual.splitlines() if line.startswith("|")]
    for code in ExitCode:
        assert any(str(int(code)) in row.replace(",", "").split() for row in rows), code
    source = "".join(path.read_text() for path in (ROOT / "imprimatur" / "audit").glob("*.py"))
    kinds = set(re.findall(r'(?:_say|Contradiction)\(\s*"([a-z0-9-]+)"', source))
    assert len(kinds) > 20
    listed = {kind for row in rows for kind in re.findall("`([a-z0-9-]+)`", row)}
    assert kinds <= listed, kinds - listed


def test_the_manual_names_every_verb():
    manual = (ROOT / "docs" / "cli.md").read_text()
    for verb in VERBS:
        assert f"imprimatur {verb}" in manual


# --- starting --------------------------------------------------------------------------------------------


def test_every_verb_has_help():
    def commands(group, path):
        for name, command in group.commands.items() if group is not program else ():
            yield from visit(command, [*path, name])

    def visit(command, path):
        yield path
        if isinstance(command, click.Group):
            yield from commands(command, path)

    paths = [path for verb in VERBS for path in visit(program.get_command(None, verb), [verb])]
    assert ["keys", "new"] in paths
    for path in paths:
        result = run(*path, "--help")
        assert result.exit_code == 0
        assert path == ["keys"] or "--json" in result.output or "Commands:" in result.output


def test_help_is_light():
    code = (
        "import sys\n"
        "sys.argv = ['imprimatur', '--help']\n"
        "from imprimatur.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'web3', 'eth_account', 'eth_abi', 'eth_utils', 'requests', 'Crypto', 'pyrage', "
        "'jsonschema', 'rlp', 'sqlite3', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_click_it_says_what_to_install():
    code = "import sys; sys.modules['click'] = None; from imprimatur.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == ExitCode.USAGE
    assert "pip install 'imprimatur[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    done = process("completion", shell)
    assert done.returncode == 0
    assert "_IMPRIMATUR_COMPLETE" in done.stdout
    assert json.loads(process("completion", shell, "--json").stdout)["script"].strip() == done.stdout.strip()


def test_bash_completes_verbs_and_options():
    def completed(line):
        script = (
            f'export PATH="{COMMAND.parent}:$PATH"; eval "$(imprimatur completion bash)"; '
            f'COMP_WORDS=({line} ""); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); '
            '_imprimatur_completion imprimatur; echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert set(completed("imprimatur")) == set(VERBS)
    assert completed("imprimatur license") == ["show"]
