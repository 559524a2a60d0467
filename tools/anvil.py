"""A chain node of our own for tests and measurements: npm's anvil on a free port of 127.0.0.1."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imprimatur.chain.rpc import HttpRpc, NodeUnreachable

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 20
"""Seconds."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def anvil_binary() -> Path:
    """The native binary of npm's anvil package (its wrapper script doesn't pass signals on)."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if not found:
        raise SystemExit("anvil isn't installed; run: npm ci --ignore-scripts")
    return found[0]


@contextmanager
def running_anvil(*arguments: str) -> Iterator[HttpRpc]:
    """Start a node with a fresh chain, wait until it answers, stop it at the end."""
    port = free_port()
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    command = [str(anvil_binary()), *listen, "--silent", "--no-cors", *arguments]
    node = subprocess.Popen(command, stdout=sys.stderr)
    try:
        rpc = HttpRpc(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                rpc.call("eth_chainId", [])
                break
            except NodeUnreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield rpc
    finally:
        node.terminate()
        node.wait(timeout=10)
