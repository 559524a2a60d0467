"""Uploading a print file to the portal, beside hashing and storing the same bytes in the clear.

    .venv/bin/python -m benchmarks.upload [--megabytes 10 100 1000] [--rounds 3]

A signed-in owner sends the file with PUT to a real gunicorn with the real app on 127.0.0.1, which hashes it,
seals it, hashes the sealed file, and answers once file and design are on the disk. The peer runs in this
process: SHA-256, write and fsync, without network or encryption. Both take turns, on the same disk. Promised:
at least 0.35 of the peer's speed for the largest file (in a small one the request itself counts), and a peak
memory that doesn't grow with the file (from 10 MB to 1 GB).
"""

import argparse
import hashlib
import http.client
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imprimatur.chain.signers import KeySigner
from imprimatur.sealing import new_key, public_key
from tools.launcher.processes import end_with_launcher, free_port

TARGET = 0.35
"""Of the peer's speed."""
FLAT = 16
"""MiB that the peaks may differ by."""
MEGABYTE = 1_000_000
ROOT = Path(__file__).resolve().parents[1]
FORM = "application/x-www-form-urlencoded"
EMAIL, PASSWORD = "owner@example.com", "correct horse"


def block() -> bytes:
    """A megabyte of moves."""
    chance = random.Random(7)  # noqa: S311  # no secret: the same file in every run
    lines = bytearray()
    while len(lines) < MEGABYTE:
        x, y, e = (chance.uniform(0, 250) for _ in range(3))
        lines += f"G1 X{x:.3f} Y{y:.3f} E{e:.5f}\n".encode()
    return bytes(lines[: MEGABYTE - 1]) + b"\n"


def content(megabytes: int, moves: bytes) -> Iterator[bytes]:
    """A file that nobody has uploaded before."""
    head = f"; {os.urandom(16).hex()}\n".encode()
    yield head + moves[: MEGABYTE - len(head)]
    for _ in range(megabytes - 1):
        yield moves


def plainly(folder: Path, megabytes: int, moves: bytes) -> float:
    """Seconds to hash and store the bytes in the clear."""
    path = folder / "plain"
    started = time.perf_counter()
    hash = hashlib.sha256()
    with path.open("wb") as file:
        for chunk in content(megabytes, moves):
            hash.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    elapsed = time.perf_counter() - started
    path.unlink()
    return elapsed


class Browser:
    """An owner who is signed in."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}
        token = self._token("/login")
        form = urlencode({"csrf_token": token, "email": EMAIL, "password": PASSWORD})
        status, _ = self._send("POST", "/login", form.encode(), {"Content-Type": FORM})
        assert status == 302, status
        self._csrf = self._token("/printers")

    def upload(self, megabytes: int, moves: bytes) -> float:
        """Seconds."""
        headers = {"X-CSRFToken": self._csrf, "Content-Length": str(megabytes * MEGABYTE)}
        started = time.perf_counter()
        status, body = self._send("PUT", "/designs/files?name=a.gcode", content(megabytes, moves), headers)
        elapsed = time.perf_counter() - started
        assert status == 201, (status, body[:300])
        return elapsed

    def _token(self, path: str) -> str:
        _, body = self._send("GET", path)
        found = re.search(r'name="csrf_token" value="([^"]+)"', body.decode())
        assert found, body[:300]
        return found[1]

    def _send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.request(method, path, body, {"Cookie": cookie, **(headers or {})})
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = line.partition(";")[0].partition("=")
                self._cookies[name] = value
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def running_portal(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process id of one web process on a fresh database."""
    port = free_port()
    desk = folder / "desk.json"
    address, recipient = KeySigner(os.urandom(32)).address, public_key(new_key()).hex()
    desk.write_text(f'{{"address": "{address}", "recipient": "{recipient}"}}')
    environment = os.environ | {
        "IMPRIMATUR_DATABASE_URL": f"sqlite:///{folder / 'portal.db'}",
        "IMPRIMATUR_STORAGE_URL": (folder / "files").as_uri(),
        "IMPRIMATUR_SECRET_KEY_FILE": str(folder / "secret"),
        "IMPRIMATUR_DESK_FILE": str(desk),
        "IMPRIMATUR_CHAIN_URL": "http://127.0.0.1:1",
        "IMPRIMATUR_MAX_UPLOAD_MB": "100000",
    }
    program = Path(sys.executable)
    flask: list[str | Path] = [program.with_name("flask"), "--app", "app"]
    quiet: Any = {"env": environment, "cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    subprocess.run([*flask, "db", "upgrade"], check=True, **quiet)
    owner = ["add-owner", EMAIL, "--name", "Owner", "--account", address]
    subprocess.run([*flask, *owner], check=True, input=f"{PASSWORD}\n".encode(), **quiet)
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            program.with_name("gunicorn"),
            "app:create_app()",
            "--worker-class=gthread",
            "--workers=1",
            "--threads=4",
            "--no-control-socket",
            f"--bind=127.0.0.1:{port}",
        ],
        env=environment,
        cwd=ROOT,
        stdout=log,
        stderr=log,
        preexec_fn=end_with_launcher,
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        yield port, int(children[0])
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/login")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def forget_peak(process: int) -> None:
    """Let the kernel count the peak anew."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def peak(process: int) -> float:
    """MiB of memory that the process had at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    moves, ratios, peaks = block(), {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_portal(folder) as (port, process):
            browser = Browser(port)
            browser.upload(1, moves)  # imports what only an upload needs
            for megabytes in options.megabytes:
                plain, sealed = [], []
                forget_peak(process)
                for _ in range(options.rounds):
                    plain.append(plainly(folder, megabytes, moves))
                    os.sync()
                    sealed.append(browser.upload(megabytes, moves))
                    # As the plain one: both sides write to memory that the system has just got back.
                    for file in (folder / "files").iterdir():
                        file.unlink()
                    os.sync()
                ratios[megabytes] = statistics.median(plain) / statistics.median(sealed)
                peaks[megabytes] = peak(process)
                print(
                    f"{megabytes:5} MB: uploaded in {statistics.median(sealed):6.2f} s "
                    f"({megabytes / statistics.median(sealed):4.0f} MB/s), hashed and stored in "
                    f"{statistics.median(plain):6.2f} s ({megabytes / statistics.median(plain):4.0f} MB/s): "
                    f"{ratios[megabytes]:.2f} x, peak {peaks[megabytes]:.0f} MiB"
                )
    grown = max(peaks.values()) - min(peaks.values())
    kept = "kept" if ratios[max(ratios)] >= TARGET and grown <= FLAT else "NOT kept"
    print(f"promised: {TARGET} x for {max(ratios)} MB, peaks within {FLAT} MiB ({grown:.1f}): {kept}")


if __name__ == "__main__":
    main()
