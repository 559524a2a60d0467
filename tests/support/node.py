"""A real anvil node with a fresh chain and a deployed PrintLicense."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur import artifacts
from imprimatur.address_book import Deployment, store
from imprimatur.chain import transactions
from imprimatur.chain.print_license import CONTRACT, Order, PrintLicense
from imprimatur.chain.rpc import HttpRpc, NodeUnreachable, Rpc
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.license_id import license_id, number_from_text
from tools.launcher.processes import end_with_launcher

ROOT = Path(__file__).resolve().parents[2]
ETHER = 10**18


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def anvil_binary() -> Path:
    """The native binary of npm's anvil package (its wrapper script doesn't pass signals on)."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    assert found, "anvil isn't installed; run: npm ci --ignore-scripts"
    return found[0]


@dataclass(frozen=True)
class Chain:
    """A running node and the contract on it."""

    url: str
    rpc: Rpc
    licenses: PrintLicense
    chain_id: int

    def account(self, ether: float = 10) -> KeySigner:
        """A new account that holds some ether."""
        signer = KeySigner(secrets.token_bytes(32))
        self.fund(signer.address, ether)
        return signer

    def fund(self, address: str, ether: float = 10) -> None:
        self.rpc.call("anvil_setBalance", [address, hex(int(ether * ETHER))])

    def send(self, signer: Signer, data: str) -> dict[str, Any]:
        """Do a call of the contract as a transaction; its receipt."""
        signed = transactions.sign(self.rpc, signer, self.licenses.address, data)
        transactions.broadcast(self.rpc, signed.raw)
        return transactions.wait_for_receipt(self.rpc, signed.hash, poll=0.02)

    def issue(
        self, owner: Signer, printer: str, file_hash: str, copies: int, number: str, **terms: Any
    ) -> int:
        """Issue a license as its owner; its id."""
        order = Order(
            owner=owner.address,
            number=number_from_text(number),
            printer=printer,
            file_hash=file_hash,
            copies=copies,
            deadline=int(time.time()) + 3600,
            **terms,
        )
        self.send(owner, self.licenses.issue_call(order))
        return license_id(owner.address, order.number)

    def write_address_book(self, folder: Path) -> None:
        store(
            folder,
            Deployment(self.chain_id, CONTRACT, self.licenses.address, self.licenses.since, "0x" + "0" * 64),
        )


@contextmanager
def running_chain() -> Iterator[Chain]:
    """Start a node, deploy the committed artifact, stop the node at the end."""
    port = free_port()
    node = subprocess.Popen(
        [anvil_binary(), "--host", "127.0.0.1", "--port", str(port), "--silent", "--no-cors"],
        stdout=sys.stderr,
        preexec_fn=end_with_launcher,
    )
    try:
        rpc = HttpRpc(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 20
        while True:
            try:
                chain_id = int(rpc.call("eth_chainId", []), 16)
                break
            except NodeUnreachable:
                assert time.monotonic() < deadline, "anvil didn't start within 20 s"
                time.sleep(0.05)
        accounts = rpc.call("eth_accounts", [])
        bytecode = artifacts.load(CONTRACT)["bytecode"]
        hash = rpc.call("eth_sendTransaction", [{"from": accounts[0], "data": bytecode}])
        receipt = transactions.wait_for_receipt(rpc, hash, poll=0.02)
        since = int(receipt["blockNumber"], 16)
        yield Chain(rpc.url, rpc, PrintLicense(rpc, receipt["contractAddress"], since), chain_id)
    finally:
        node.terminate()
        node.wait(timeout=10)
