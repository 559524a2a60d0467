"""A real S3 server on 127.0.0.1: OpenStack Swift with its S3 API, one process of each kind, on one folder."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from tools.launcher.processes import end_with_launcher, free_port

START_TIMEOUT = 30
"""Seconds."""
PACKAGES = "swift-proxy swift-account swift-container swift-object memcached"
ACCESS_KEY = "test:tester"
_KINDS = ("account", "container", "object")
_PROGRAMS = ("swift-ring-builder", "memcached", *(f"swift-{kind}-server" for kind in (*_KINDS, "proxy")))
_RINGS = """
import sys
from swift.common.ring import RingBuilder

for kind, port in zip(sys.argv[1::2], sys.argv[2::2]):
    ring = RingBuilder(4, 1, 0)
    disk = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1}
    ring.add_dev(disk)
    ring.rebalance()
    ring.get_ring().save(f"{kind}.ring.gz")
"""
"""For Swift's own interpreter: the rings that say which disk holds what. All of it is on the one there is."""
_SERVER = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}
mount_check = false
fallocate_reserve = 0
log_level = WARNING
"""
_STORING = """
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""
_PROXY = """
[pipeline:main]
pipeline = catch_errors cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memory}
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:slo]
use = egg:swift#slo
"""


@dataclass(frozen=True)
class S3:
    """Where it is, and what lets in."""

    url: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that S3's clients read."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def client(self, bucket: str) -> Any:
        """obstore's own client of a bucket."""
        from obstore.store import S3Store

        return S3Store(
            bucket,
            endpoint=self.url,
            access_key_id=ACCESS_KEY,
            secret_access_key=self.secret_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def make_bucket(self, name: str) -> None:
        import obstore

        address = obstore.sign(self.client(name), "PUT", "", timedelta(minutes=1))
        urllib.request.urlopen(urllib.request.Request(address, method="PUT", data=b"")).close()


@contextmanager
def running_s3() -> Iterator[S3]:
    """Start a server with an empty storage, stop it at the end."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    assert not missing, f"{', '.join(missing)} is missing: sudo apt-get install {PACKAGES}"
    folder, secret = Path(tempfile.mkdtemp(prefix="imprimatur-s3-")), secrets.token_hex(16)
    ports = {kind: free_port() for kind in (*_KINDS, "proxy", "memory")}
    user = pwd.getpwuid(os.geteuid()).pw_name
    servers: list[subprocess.Popen[bytes]] = []
    log = (folder / "log").open("wb")

    def start(*command: str | Path) -> None:
        servers.append(
            subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, preexec_fn=end_with_launcher)
        )

    try:
        (folder / "disk").mkdir()
        (folder / "swift.conf").write_text(
            f"[swift-hash]\nswift_hash_path_suffix = {secret}\n"
            "[storage-policy:0]\nname = only\ndefault = yes\n"
        )
        rings = [word for kind in _KINDS for word in (kind, str(ports[kind]))]
        subprocess.run(
            [*_interpreter(), "-c", _RINGS, *rings], check=True, stdout=log, stderr=log, cwd=folder
        )
        start("memcached", "-l", "127.0.0.1", "-p", str(ports["memory"]), "-u", user, "-U", "0")
        for kind in (*_KINDS, "proxy"):
            text = _SERVER.format(port=ports[kind], user=user, folder=folder)
            text += (
                _PROXY.format(memory=ports["memory"], secret=secret)
                if kind == "proxy"
                else _STORING.format(kind=kind)
            )
            (folder / f"{kind}.conf").write_text(text)
            start(f"swift-{kind}-server", folder / f"{kind}.conf")
        for port in ports.values():
            _wait(port, servers, folder / "log")
        yield S3(f"http://127.0.0.1:{ports['proxy']}", secret)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=30)
        log.close()
        shutil.rmtree(folder)


def _interpreter() -> list[str]:
    """The Python that Swift was installed for."""
    program = shutil.which("swift-ring-builder")
    assert program is not None
    with open(program) as file:
        return file.readline().removeprefix("#!").split()


def _wait(port: int, servers: Sequence["subprocess.Popen[bytes]"], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            ended = any(server.poll() is not None for server in servers)
            if ended or time.monotonic() > deadline:
                raise RuntimeError(
                    f"The S3 server didn't start:\n{log.read_text(errors='replace')}"
                ) from None
            time.sleep(0.05)
