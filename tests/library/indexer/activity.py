"""Blocks full of license events, made from the accounts that anvil holds the keys of."""

from random import Random
from typing import Any

from imprimatur.chain.contract import init_code
from imprimatur.chain.events import Source
from imprimatur.chain.orders import Order, Terms
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.transactions import wait_for_receipt
from support.node import Chain

FILE_HASH = "5a" * 32
LATE = 2**40
GAS = hex(3_000_000)
"""Given, not estimated: so that transactions that fail are mined too."""


class Activity:
    """Random transactions, several to a block; some fail, some go to a contract that nobody indexes."""

    def __init__(self, chain: Chain, random: Random) -> None:
        self.chain = chain
        self.random = random
        self.accounts: list[str] = chain.rpc.call("eth_accounts", [])[:5]
        sender = self.accounts[0]
        code = init_code(PrintLicense.NAME, chain.devices.address)
        hash = chain.rpc.call("eth_sendTransaction", [{"from": sender, "data": code}])
        address = wait_for_receipt(chain.rpc, hash, poll=0.02)["contractAddress"]
        self.clone = PrintLicense(chain.rpc, address)
        self.number = 0
        self.ids: list[int] = []
        self.newest: list[Order] = []

    @property
    def sources(self) -> list[Source]:
        licenses, devices = self.chain.licenses, self.chain.devices
        return [
            Source(licenses.NAME, licenses.address, licenses.since),
            Source(devices.NAME, devices.address, devices.since),
        ]

    def orders(self, count: int) -> list[Order]:
        orders = []
        for _ in range(count):
            self.number += 1
            printer = self.random.choice(self.accounts[1:4])
            flags = Terms.TRANSFERABLE | Terms.REVOCABLE
            orders.append(Order(self.accounts[0], self.number, printer, FILE_HASH, 3, LATE, flags=flags))
        self.ids += [order.id for order in orders]
        self.newest = orders
        return orders

    def block(self, transactions: int) -> None:
        """Mine one block with so many transactions."""
        rpc = self.chain.rpc
        rpc.call("evm_setAutomine", [False])
        for _ in range(transactions):
            rpc.call("eth_sendTransaction", [self._transaction() | {"gas": GAS}])
        rpc.call("evm_mine", [])
        rpc.call("evm_setAutomine", [True])

    def _transaction(self) -> dict[str, Any]:
        random, licenses, devices = self.random, self.chain.licenses, self.chain.devices
        owner, *printers, attestor = self.accounts
        kind = random.randrange(9) if self.ids else 0
        if kind == 0:
            return {"from": owner, "to": licenses.address, "data": licenses.issue_batch_call(self.orders(3))}
        if kind == 1:
            return {
                "from": owner,
                "to": self.clone.address,
                "data": licenses.issue_batch_call(self.orders(1)),
            }
        if kind == 2:
            data = devices.attest_call(random.choice(printers), random.randbytes(32))
            return {"from": attestor, "to": devices.address, "data": data}
        if kind == 3:
            until = random.randrange(2**64)
            data = licenses.set_operator_call(owner, attestor, random.randrange(4), until)
            return {"from": owner, "to": licenses.address, "data": data}
        id, printer = random.choice(self.ids), random.choice(printers)
        if kind == 4:
            printer = self.newest[0].printer
            some = [order.id for order in self.newest if order.printer == printer]
            data = licenses.safe_batch_transfer_from_call(printer, printers[0], some, [3] * len(some))
        elif kind == 5:
            data = licenses.transfer_license_call(id, random.choice(printers))
        elif kind == 6:
            data, printer = licenses.revoke_call(id), owner
        else:
            data = licenses.use_license_call(id, FILE_HASH)
        return {"from": printer, "to": licenses.address, "data": data}
