"""The jobs whose gas is pinned: each a real transaction on a fresh chain, in steady state, always the same.

Keys, numbers, hashes and deadlines are constants, so calldata and signatures are too; the node has a fixed
chain id and hard fork. What a job needs is set up first; only the named transaction counts.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from imprimatur.chain import transactions, typed_data
from imprimatur.chain.contract import Contract, init_code
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.orders import Order, Right, Terms
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner
from tools.anvil import running_anvil

CHAIN_ID = 31337
HARDFORK = "prague"
NODE = ("--chain-id", str(CHAIN_ID), "--hardfork", HARDFORK, "--timestamp", "2000000000")
VALID_UNTIL = 0xF1F2F3F4
DEADLINE = 0xE1E2E3E4
GAS_LIMIT = 15_000_000


@dataclass(frozen=True)
class Cost:
    """Gas of one transaction that did `units` things; `calldata` is that for its `size` bytes of input."""

    gas: int
    calldata: int
    size: int
    units: int = 1

    @property
    def per_unit(self) -> float:
        return self.gas / self.units

    @property
    def execution(self) -> int:
        """Gas without what the values' zero bytes save: what must not grow."""
        return self.gas - self.calldata


def digest(*words: object) -> bytes:
    """32 bytes without a zero among them, always the same for the same words."""
    raw = hashlib.sha256("/".join(map(str, words)).encode()).digest()
    return bytes(byte or 1 for byte in raw)


def key(name: str) -> KeySigner:
    """The key of this name."""
    return KeySigner(digest("key", name))


def _log_words(order: Order, copy: int) -> tuple[bytes, bytes, bytes]:
    """Key recipient, encrypted serial and commitment of one part."""
    return (
        digest("recipient", order.id, copy),
        digest("serial", order.id, copy),
        digest("part", order.id, copy),
    )


class Bench:
    """A fresh chain with both contracts, on which people of fixed names do things."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self._paid_by = rpc.call("eth_accounts", [])[0]
        self.devices = DeviceRegistry(rpc, self.deploy(init_code(DeviceRegistry.NAME)))
        self.licenses = PrintLicense(rpc, self.deploy(init_code(PrintLicense.NAME, self.devices.address)))
        self.license_domain = typed_data.license_domain(CHAIN_ID, self.licenses.address)
        self.device_domain = typed_data.device_domain(CHAIN_ID, self.devices.address)
        self.people = {}
        for name in ("owner", "operator", "relay", "printer", "buyer", "attestor"):
            self.people[name] = key(name)
            rpc.call("anvil_setBalance", [key(name).address, hex(10**20)])
            rpc.call("anvil_impersonateAccount", [key(name).address])
        self._numbers = 0

    def deploy(self, code: str) -> str:
        """Address of newly deployed code."""
        hash = self.rpc.call("eth_sendTransaction", [{"from": self._paid_by, "data": code}])
        address: str = transactions.wait_for_receipt(self.rpc, hash, poll=0.005)["contractAddress"]
        return address

    def address(self, name: str) -> str:
        return self.people[name].address

    def send(self, who: str, data: str, to: Contract | str | None = None) -> str:
        """Hand in a transaction; its hash."""
        to = to or self.licenses
        address = to.address if isinstance(to, Contract) else to
        transaction = {"from": self.address(who), "to": address, "data": data, "gas": hex(GAS_LIMIT)}
        return str(self.rpc.call("eth_sendTransaction", [transaction]))

    def cost(self, who: str, data: str, to: Contract | str | None = None, units: int = 1) -> Cost:
        """Do a transaction that must succeed."""
        receipt = transactions.wait_for_receipt(self.rpc, self.send(who, data, to), poll=0.005)
        if receipt["status"] != "0x1":
            raise RuntimeError(f"{who}'s transaction was refused: {data[:74]}")
        raw = bytes.fromhex(data[2:])
        return Cost(int(receipt["gasUsed"], 16), 16 * len(raw) - 12 * raw.count(0), len(raw), units)

    def order(self, **changes: Any) -> Order:
        """The next order of the owner."""
        self._numbers += 1
        order = Order(
            owner=self.address("owner"),
            number=int.from_bytes(digest("number", self._numbers)[:12], "big"),
            printer=self.address("printer"),
            file_hash=digest("file", self._numbers).hex(),
            copies=0x7777,
            deadline=DEADLINE,
            valid_until=VALID_UNTIL,
            failures_allowed=3,
            manifest_hash=digest("manifest", self._numbers),
        )
        return replace(order, **changes)

    def issued(self, **changes: Any) -> Order:
        order = self.order(**changes)
        self.cost("owner", self.licenses.issue_call(order))
        return order

    def use(self, order: Order) -> Cost:
        return self.cost("printer", self.licenses.use_license_call(order.id, order.file_hash))

    def use_and_log(self, order: Order, copy: int) -> Cost:
        words = _log_words(order, copy)
        call = self.licenses.use_license_and_log_call(order.id, order.file_hash, copy, *words)
        return self.cost("printer", call)

    def relayed(self, orders: list[Order], copy: int) -> Cost:
        """The same copy of several licenses, signed by their printer, submitted by the relay."""
        signed = []
        for order in orders:
            recipient, serial, commitment = _log_words(order, copy)
            use = typed_data.Use(order.id, order.file_hash, copy, recipient, serial, commitment, DEADLINE)
            signed.append(typed_data.sign_use(self.people["printer"], self.license_domain, use))
        return self.cost("relay", self.licenses.use_licenses_signed_call(signed), units=len(orders))

    def report(self, order: Order, copy: int) -> Cost:
        call = self.licenses.report_failure_call(order.id, copy, digest("evidence", copy))
        return self.cost("printer", call)

    def use_up_to(self, order: Order, count: int) -> None:
        """Consume this many copies of a fresh license, many to a block."""
        call = self.licenses.use_license_call(order.id, order.file_hash)
        use = {"from": self.address("printer"), "to": self.licenses.address, "data": call, "gas": hex(60_000)}
        self.rpc.call("evm_setAutomine", [False])
        for _ in range(count):
            self.rpc.call("eth_sendTransaction", [use])
        while (license := self.licenses.license_of(order.id)) and license.used < count:
            self.rpc.call("evm_mine", [])
        self.rpc.call("evm_setAutomine", [True])


def _printing(bench: Bench) -> Iterator[tuple[str, Cost]]:
    used, logged, relayed, old = (bench.issued() for _ in range(4))
    yield "use, part 1", bench.use(used)
    yield "use and log, part 1", bench.use_and_log(logged, 1)
    yield "relayed, part 1", bench.relayed([relayed], 1)
    yield "report failure, part 1", bench.report(used, 1)
    bench.use_up_to(old, 999)
    yield "use, part 1000", bench.use(old)
    yield "use and log, part 1001", bench.use_and_log(old, 1001)
    yield "relayed, part 1002", bench.relayed([old], 1002)
    yield "report failure, part 1002", bench.report(old, 1002)


def _issuing(bench: Bench) -> Iterator[tuple[str, Cost]]:
    owner, operator = bench.address("owner"), bench.address("operator")
    operate = bench.licenses.set_operator_call(owner, operator, Right.ISSUE, DEADLINE)
    yield "set operator", bench.cost("owner", operate)
    yield "issue", bench.cost("owner", bench.licenses.issue_call(bench.order()))
    yield "issue for", bench.cost("operator", bench.licenses.issue_call(bench.order(), as_operator=True))
    voucher = bench.order()
    signature = typed_data.sign_order(bench.people["owner"], bench.license_domain, voucher)
    yield "redeem", bench.cost("relay", bench.licenses.redeem_call(voucher, signature))
    batch = [bench.order() for _ in range(100)]
    yield "issue a batch of 100", bench.cost("owner", bench.licenses.issue_batch_call(batch), units=100)
    yield "relayed, batch of 10", bench.relayed(batch[:10], 1)
    fresh = [*batch[10:], *(bench.issued() for _ in range(10))]
    yield "relayed, batch of 100", bench.relayed(fresh, 1)


def _changing(bench: Bench) -> Iterator[tuple[str, Cost]]:
    licenses = bench.licenses
    order = bench.issued(flags=Terms.TRANSFERABLE | Terms.REVOCABLE)
    bench.use(order)
    yield "grant copies", bench.cost("owner", licenses.grant_copies_call(order.id, 3, for_copy=1))
    approve = licenses.approve_file_call(order.id, digest("re-slice").hex(), digest("manifest"))
    yield "approve a file", bench.cost("owner", approve)
    yield "transfer", bench.cost("printer", licenses.transfer_license_call(order.id, bench.address("buyer")))
    yield "revoke", bench.cost("owner", licenses.revoke_call(order.id))


def _devices(bench: Bench) -> Iterator[tuple[str, Cost]]:
    devices, device, wallet = bench.devices, key("device"), bench.address("printer")
    bench.people["device"] = device
    bench.rpc.call("anvil_setBalance", [device.address, hex(10**20)])
    bench.rpc.call("anvil_impersonateAccount", [device.address])
    consent = typed_data.sign_binding(device, bench.device_domain, wallet, 0, DEADLINE)
    yield (
        "bind a device",
        bench.cost("printer", devices.bind_call(device.address, DEADLINE, consent), devices),
    )
    attest = devices.attest_call(device.address, digest("certificate"))
    yield "attest a device", bench.cost("attestor", attest, devices)
    present = devices.present_attestor_call(device.address, bench.address("attestor"))
    yield "present an attestor", bench.cost("printer", present, devices)
    accept = devices.accept_attestor_call(bench.address("attestor"))
    yield "accept an attestor", bench.cost("owner", accept, devices)
    plain, trusted = bench.issued(), bench.issued(flags=Terms.TRUSTED_DEVICE)
    for name, order in (("use by a bound device", plain), ("use by a trusted device", trusted)):
        yield name, bench.cost("device", bench.licenses.use_license_call(order.id, order.file_hash))


def _many_licenses(bench: Bench) -> Iterator[tuple[str, Cost]]:
    """On a chain of its own: what was issued before is counted."""
    first = bench.order()
    yield "issue, license 1", bench.cost("owner", bench.licenses.issue_call(first))
    for count in (100, 100, 98):
        bench.cost("owner", bench.licenses.issue_batch_call([bench.order() for _ in range(count)]))
    last = bench.order()
    yield "issue, license 300", bench.cost("owner", bench.licenses.issue_call(last))
    yield "use, license 1", bench.use(first)
    yield "use, license 300", bench.use(last)


def _on_a_fresh_chain(jobs: Callable[[Bench], Iterator[tuple[str, Cost]]]) -> dict[str, Cost]:
    with running_anvil(*NODE) as rpc:
        return dict(jobs(Bench(rpc)))


def measure() -> dict[str, Cost]:
    """All jobs by name."""
    measured: dict[str, Cost] = {}
    for jobs in (_issuing, _printing, _changing, _devices, _many_licenses):
        measured |= _on_a_fresh_chain(jobs)
    return measured
