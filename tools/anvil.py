"""A chain node of our own for tests and measurements: npm's anvil on a free port of 127.0.0.1."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from imprimatur.chain.rpc import HttpRpc, NodeUnreachable
from tools.launcher.processes import end_with_launcher, free_port
from tools.launcher.toolchain import anvil

START_TIMEOUT = 20
"""Seconds."""


@contextmanager
def running_anvil(*arguments: str) -> Iterator[HttpRpc]:
    """Start a node with a fresh chain, wait until it answers, stop it at the end."""
    port = free_port()
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    command = [str(anvil()), *listen, "--silent", "--no-cors", *arguments]
    node = subprocess.Popen(command, stdout=sys.stderr, preexec_fn=end_with_launcher)
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
