"""Sealed files and Debian's `age` understand each other; an interpreter may end with a stream open."""

import io
import random
import shutil
import subprocess
import sys
import textwrap

import pytest

from imprimatur.sealing import (
    NotForThisKey,
    SealedFileDamaged,
    SealedFileUnusable,
    identity_text,
    new_key,
    open_sealed,
    public_key,
    recipient_text,
    seal,
    secret_from_text,
    unwrap_key,
    wrap_key,
)

SIZES = [0, 1, 65535, 65536, 65537, 131072, 3_000_000, 5 * 65536 * 16]


def program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing: apt-get install age"
    return path


def age(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program("age"), *arguments], input=data, capture_output=True, timeout=60)


@pytest.fixture
def key_file(tmp_path):
    """Writes a secret where `age` can read it."""

    def write(secret: bytes) -> str:
        path = tmp_path / "key.txt"
        path.write_text(identity_text(secret) + "\n")
        return str(path)

    return write


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_age_opens_ours(size, key_file):
    target = io.BytesIO()
    key = seal(io.BytesIO(content(size)), target).file_key
    opened = age("-d", "-i", key_file(key), data=target.getvalue())
    assert (opened.returncode, opened.stderr) == (0, b"")
    assert opened.stdout == content(size)


@pytest.mark.parametrize("size", SIZES)
def test_we_open_ages(size):
    key = new_key()
    made = age("-r", recipient_text(public_key(key)), data=content(size))
    with open_sealed(io.BytesIO(made.stdout), key) as stream:
        assert stream.read() == content(size)


def test_key_of_age_keygen_is_ours():
    made = subprocess.run([program("age-keygen")], capture_output=True, text=True, timeout=60, check=True)
    secret_line = made.stdout.splitlines()[-1]
    secret = secret_from_text(secret_line)
    assert identity_text(secret) == secret_line
    assert f"# public key: {recipient_text(public_key(secret))}" in made.stdout


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(range(32)), b"\xf8" + bytes(30) + b"\x40"])
def test_clamped_or_not_age_keygen_agrees(secret):
    made = subprocess.run(
        [program("age-keygen"), "-y"],
        input=identity_text(secret),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert made.stdout.strip() == recipient_text(public_key(secret))


def test_wrapped_keys_both_ways(key_file):
    file_key, job_key = new_key(), new_key()
    opened = age("-d", "-i", key_file(job_key), data=wrap_key(file_key, public_key(job_key)))
    assert opened.stdout == file_key
    made = age("-r", recipient_text(public_key(job_key)), data=file_key)
    assert unwrap_key(made.stdout, job_key) == file_key


def test_file_for_several_keys():
    keys = [new_key() for _ in range(3)]
    recipients = [option for key in keys for option in ("-r", recipient_text(public_key(key)))]
    made = age(*recipients, data=b"part").stdout
    for key in keys:
        with open_sealed(io.BytesIO(made), key) as stream:
            assert stream.read() == b"part"
    with open_sealed(io.BytesIO(made), new_key()) as stream, pytest.raises(NotForThisKey):
        stream.read()


def test_text_form_of_age_is_refused_until_decoded():
    key = new_key()
    made = age("-a", "-r", recipient_text(public_key(key)), data=b"part").stdout
    with open_sealed(io.BytesIO(made), key) as stream, pytest.raises(SealedFileDamaged, match="text form"):
        stream.read()


@pytest.mark.parametrize("seed", range(30))
def test_age_and_we_refuse_the_same(seed, key_file):
    chance = random.Random(seed)
    target = io.BytesIO()
    key = seal(io.BytesIO(content(70_000)), target).file_key
    data = bytearray(target.getvalue())
    match seed % 3:
        case 0:
            data[chance.choice([chance.randrange(300), chance.randrange(len(data))])] ^= (
                1 << chance.randrange(8)
            )
        case 1:
            del data[chance.choice([chance.randrange(300), chance.randrange(len(data))]) :]
        case 2:
            data += chance.randbytes(chance.randrange(1, 100))
    assert age("-d", "-i", key_file(key), data=bytes(data)).returncode != 0
    with open_sealed(io.BytesIO(data), key) as stream, pytest.raises(SealedFileUnusable):
        stream.read()


def run(program_text: str) -> subprocess.CompletedProcess[str]:
    prelude = """
        import io, os, sys
        from imprimatur.sealing import *
        target = io.BytesIO()
        key = seal(io.BytesIO(bytes(5_000_000)), target).file_key
        stream = open_sealed(io.BytesIO(target.getvalue()), key)
        stream.read(1)
    """
    text = textwrap.dedent(prelude) + textwrap.dedent(program_text)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", text], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "stream.circle = stream", "sys.keep = stream"])
def test_interpreter_ends_with_a_stream_open(ending):
    ended = run(ending)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("use", ["stream.close()", "del stream", "stream.read()"])
def test_a_forked_process_has_no_use_of_a_stream(use):
    ended = run(f"""
        child = os.fork()
        if child == 0:
            try:
                {use}
            except ValueError:
                os._exit(8)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(stream.read()))
    """)
    assert (ended.returncode, ended.stdout) == (0, f"{8 if 'read' in use else 7} 4999999\n")


def test_nothing_heavy_is_imported_before_it_is_needed():
    text = "import sys, imprimatur.sealing; print({'pyrage', 'Crypto', 'requests'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"
