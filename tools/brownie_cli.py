"""Brownie, made to work: `.venv-brownie/bin/python tools/brownie_cli.py test|run|compile|console …`

- Its wheels hold compiled modules that crash on settings this project needs; their sources, installed
  beside them, don't. An import finder prefers the sources.
- HOME is a temporary folder with the project's own networks: the user's ~/.brownie isn't touched.
- The compiler is tools/solcx (npm's solc), the node npm's anvil, on a port of its own: `brownie test`
  attaches to whatever listens on its port and reverts its blocks.
- `--network imprimatur` is the chain at IMPRIMATUR_RPC_URL.
"""

import atexit
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


class SourceFinder(MetaPathFinder):
    """Finds Brownie's modules as .py files, never as compiled extensions."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "brownie":
            return None
        for entry in path if path is not None else sys.path:
            spec = FileFinder(entry, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chain_id_of(url: str) -> int:
    """Chain id of the node at `url`; exits with a sentence when it doesn't answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(json.load(response)["result"], 16)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"No chain node answers at IMPRIMATUR_RPC_URL ({error}). Start one, or correct the address.")


def networks(rpc_url: str | None) -> dict[str, object]:
    """Brownie's network list (JSON is YAML)."""
    live = []
    if rpc_url:
        chain = {"id": "imprimatur", "name": "Imprimatur", "host": rpc_url, "chainid": chain_id_of(rpc_url)}
        live = [{"name": "Imprimatur", "networks": [chain]}]
    settings = {"port": free_port(), "base_fee": 0, "host": "127.0.0.1"}
    anvil = {
        "id": "anvil",
        "name": "Anvil",
        "cmd": "anvil",
        "host": "http://127.0.0.1",
        "cmd_settings": settings,
    }
    return {"live": live, "development": [anvil]}


def stop(number: int, _frame: object) -> None:
    """End as a program does, so that Brownie stops the node that it started."""
    sys.exit(128 + number)


def compile_once() -> None:
    """Compile when a source has changed; of several Brownies at once, one does it and the others wait.

    They share the build folder, and Brownie itself writes there without asking who reads.
    """
    sources = sorted((ROOT / "contracts").rglob("*.sol"))
    files = [ROOT / "brownie-config.yaml", ROOT / "package-lock.json", *sources]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    BUILD.mkdir(exist_ok=True)
    stamp = BUILD / "stamp"
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == digest:
            return
        stamp.unlink(missing_ok=True)
        from brownie import project

        project.load(ROOT, raise_if_loaded=False).close()
        stamp.write_text(digest)


def wait_for_receipts() -> None:
    """Ask again for a receipt that isn't there yet.

    On a busy machine anvil counts a transaction a moment before it shows its receipt. Brownie looks at the
    count first and at the receipt once, and then calls the transaction dropped.
    """
    from brownie.network.web3 import web3
    from web3.exceptions import TransactionNotFound

    ask_once = web3.eth.get_transaction_receipt

    def ask(transaction_hash: object) -> object:
        for _ in range(20):
            try:
                return ask_once(transaction_hash)
            except TransactionNotFound:
                time.sleep(0.05)
        return ask_once(transaction_hash)

    web3.eth.get_transaction_receipt = ask


def main() -> None:
    rpc_url = os.environ.get("IMPRIMATUR_RPC_URL")
    if "imprimatur" in sys.argv and not rpc_url:
        sys.exit("Set IMPRIMATUR_RPC_URL: the address of the chain node behind `--network imprimatur`.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    home = tempfile.TemporaryDirectory(prefix="imprimatur-brownie-")
    atexit.register(home.cleanup)
    data = Path(home.name) / ".brownie"
    data.mkdir()
    (data / "network-config.yaml").write_text(json.dumps(networks(rpc_url), indent=2))
    os.environ["HOME"] = home.name
    os.environ.setdefault("SOLCX_BINARY_PATH", str(ROOT / "tools" / "solcx"))
    binaries = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin"))
    os.environ["PATH"] = os.pathsep.join([*map(str, binaries), os.environ["PATH"]])
    os.chdir(ROOT)
    sys.meta_path.insert(0, SourceFinder())
    sys.argv[0] = "brownie"
    # Brownie remembers deployments by chain id; a fresh development chain has the same id. The address book
    # in deployments/ is the memory.
    shutil.rmtree(BUILD / "deployments", ignore_errors=True)
    compile_once()
    wait_for_receipts()
    from brownie._cli.__main__ import main as brownie

    brownie()


if __name__ == "__main__":
    main()
