"""A real PostgreSQL server with a fresh cluster on a free port of 127.0.0.1."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tools.launcher.processes import end_with_launcher, free_port
from tools.launcher.system import POSTGRES

START_TIMEOUT = 30
"""Seconds."""


def _programs() -> Path:
    found = POSTGRES.find()
    assert found, "PostgreSQL is missing: sudo apt-get install postgresql"
    return Path(found).resolve().parent


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server, give the SQLAlchemy URL of its database, stop it at the end.

    It refuses to run as root: then it runs as the account that its package made.
    """
    programs, port, password = _programs(), free_port(), secrets.token_hex(16)
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="imprimatur-postgres-"))
    (folder / "password").write_text(password)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    data, whose = folder / "data", user if os.geteuid() == 0 else None
    log = (folder / "log").open("wb")
    try:
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "tests",
                "--pwfile",
                folder / "password",
                "-A",
                "scram-sha-256",
            ],
            check=True,
            stdout=log,
            stderr=log,
            user=whose,
            cwd=folder,
        )
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
        }
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
            stdout=log,
            stderr=log,
            user=whose,
            cwd=folder,
            preexec_fn=end_with_launcher,
        )
        try:
            address = f"tests:{password}@127.0.0.1:{port}/postgres"
            _wait(f"postgresql://{address}", server, folder / "log")
            yield f"postgresql+psycopg://{address}"
        finally:
            server.terminate()
            server.wait(timeout=30)
    finally:
        log.close()
        shutil.rmtree(folder)


def _wait(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL didn't start:\n{log.read_text(errors='replace')}") from None
            time.sleep(0.05)
