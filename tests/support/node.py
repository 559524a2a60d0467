"""A real anvil node with a fresh chain and the deployed contracts."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur.address_book import Deployment, store
from imprimatur.chain import transactions, typed_data
from imprimatur.chain.contract import Contract, init_code
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.orders import Order
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.license_id import number_from_text
from tools.anvil import running_anvil

ROOT = Path(__file__).resolve().parents[2]
ETHER = 10**18
FOR_EVER = 2**63
"""A deadline (Unix seconds) that no test lives to see."""


@dataclass(frozen=True)
class Chain:
    """A running node and the contracts on it."""

    url: str
    rpc: Rpc
    licenses: PrintLicense
    devices: DeviceRegistry
    chain_id: int

    @property
    def license_domain(self) -> typed_data.Domain:
        return typed_data.license_domain(self.chain_id, self.licenses.address)

    @property
    def device_domain(self) -> typed_data.Domain:
        return typed_data.device_domain(self.chain_id, self.devices.address)

    def account(self, ether: float = 10) -> KeySigner:
        """A new account that holds some ether."""
        signer = KeySigner(secrets.token_bytes(32))
        self.fund(signer.address, ether)
        return signer

    def fund(self, address: str, ether: float = 10) -> None:
        self.rpc.call("anvil_setBalance", [address, hex(int(ether * ETHER))])

    def send(self, signer: Signer, data: str, to: Contract | None = None) -> dict[str, Any]:
        """Do a call of PrintLicense, or of another contract, as a transaction; its receipt."""
        signed = transactions.sign(self.rpc, signer, (to or self.licenses).address, data)
        transactions.broadcast(self.rpc, signed.raw)
        return transactions.wait_for_receipt(self.rpc, signed.hash, poll=0.02)

    def order(
        self, owner: str, printer: str, file_hash: str, copies: int, number: str, **terms: Any
    ) -> Order:
        """An order that can be executed for an hour."""
        return Order(
            owner=owner,
            number=number_from_text(number),
            printer=printer,
            file_hash=file_hash,
            copies=copies,
            deadline=int(time.time()) + 3600,
            **terms,
        )

    def issue(
        self, owner: Signer, printer: str, file_hash: str, copies: int, number: str, **terms: Any
    ) -> int:
        """Issue a license as its owner; its id."""
        order = self.order(owner.address, printer, file_hash, copies, number, **terms)
        self.send(owner, self.licenses.issue_call(order))
        return order.id

    def bind(self, wallet: Signer, device: Signer) -> None:
        """Let a device act for a wallet."""
        nonce = self.devices.nonce_of(device.address)
        signature = typed_data.sign_binding(device, self.device_domain, wallet.address, nonce, FOR_EVER)
        self.send(wallet, self.devices.bind_call(device.address, FOR_EVER, signature), self.devices)

    def write_address_book(self, folder: Path) -> None:
        for contract in (self.devices, self.licenses):
            transaction = "0x" + "0" * 64
            store(
                folder,
                Deployment(self.chain_id, contract.NAME, contract.address, contract.since, transaction),
            )


DEPLOYMENT_GAS = 6_000_000
"""More than any of our contracts costs. Asked for an estimate, eth-tester tries a dozen deployments."""


def deploy_contracts(rpc: Rpc) -> tuple[PrintLicense, DeviceRegistry]:
    """Deploy the committed artifacts from the node's first own account."""
    sender = rpc.call("eth_accounts", [])[0]

    def deploy(code: str) -> tuple[str, int]:
        hash = rpc.call("eth_sendTransaction", [{"from": sender, "data": code, "gas": hex(DEPLOYMENT_GAS)}])
        receipt = transactions.wait_for_receipt(rpc, hash, poll=0.02)
        return receipt["contractAddress"], int(receipt["blockNumber"], 16)

    devices = DeviceRegistry(rpc, *deploy(init_code(DeviceRegistry.NAME)))
    return PrintLicense(rpc, *deploy(init_code(PrintLicense.NAME, devices.address))), devices


@contextmanager
def running_chain() -> Iterator[Chain]:
    """Start a node, deploy the committed artifacts, stop the node at the end."""
    with running_anvil() as rpc:
        licenses, devices = deploy_contracts(rpc)
        yield Chain(rpc.url, rpc, licenses, devices, int(rpc.call("eth_chainId", []), 16))
