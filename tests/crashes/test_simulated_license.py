"""The simulated contract says what the real one says, after the same messages."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from crashes.simulation.contract import ADDRESS, Contract, Terms

from imprimatur.chain.interface import interface_of
from imprimatur.chain.print_license import CONTRACT, PrintLicense
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Failure, Signed, Use, license_domain, sign_failure, sign_use
from support.node import Chain, running_chain

HASH, OTHER_HASH = "ab" * 32, "cd" * 32
COPIES, FAILURES = 4, 2


@dataclass
class Model(Rpc):
    """Reads of the simulated contract, as a node answers them."""

    contract: Contract

    def call(self, method: str, params: list[Any]) -> Any:
        assert method == "eth_call"
        return "0x" + self.contract.read(bytes.fromhex(params[0]["data"][2:])).hex()


@dataclass
class Both:
    """The same license on the real chain and in the model."""

    chain: Chain
    id: int
    wallet: KeySigner
    devices: list[KeySigner]
    stranger: KeySigner
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        wallets = {device.address: self.wallet.address for device in self.devices}
        contract = Contract(self.chain.chain_id, wallets | {self.stranger.address: self.stranger.address})
        self.model = Model(
            contract.with_license(self.id, Terms(self.wallet.address, int(HASH, 16), COPIES, FAILURES))
        )

    def send(self, message: Use | Failure | None, signer: KeySigner) -> tuple[Any, Any]:
        """What both write about a message; None: the device uses a copy by itself."""
        real, licenses = self.chain, self.chain.licenses
        if message is None:
            call = licenses.use_license_call(self.id, HASH)
            receipt = real.send(signer, call)
            return self._compared(receipt, call, signer.address)
        sign: Any = sign_use if isinstance(message, Use) else sign_failure
        encode: Any = (
            licenses.use_licenses_signed_call
            if isinstance(message, Use)
            else licenses.report_failures_signed_call
        )
        ours: Signed[Any] = sign(signer, license_domain(real.chain_id, ADDRESS), message)
        receipt = real.send(self.stranger, encode([sign(signer, real.license_domain, message)]))
        return self._compared(receipt, encode([ours]), self.stranger.address)

    def _compared(self, receipt: dict[str, Any], data: str, sender: str) -> tuple[Any, Any]:
        names = ("LicenseUsed", "PrintFailed", "UseSkipped", "FailureSkipped")
        real = [(e.name, e.values) for e in self.chain.licenses.events_in(receipt, *names)]
        self.model.contract, logs = self.model.contract.after(
            sender, bytes.fromhex(data[2:]), int(time.time())
        )
        place = {"blockNumber": "0x0", "blockHash": "", "transactionHash": "", "logIndex": "0x0"}
        found = [interface_of(CONTRACT).decode_event(log | place) for log in logs]
        return real, [(event.name, event.values) for event in found if event is not None]

    def reads(self, licenses: PrintLicense) -> list[Any]:
        """What can be asked about the license."""
        callers = [*self.devices, self.wallet, self.stranger]
        asked = [(id, hash, c.address) for id in (self.id, 7) for hash in (HASH, OTHER_HASH) for c in callers]
        return [
            licenses.license_of(self.id),
            licenses.license_of(7),
            *(licenses.can_use(*one) for one in asked),
        ]


@pytest.fixture(scope="module")
def both() -> Any:
    with running_chain() as chain:
        owner, wallet, *devices = (chain.account() for _ in range(4))
        for device in devices:
            chain.bind(wallet, device)
        id = chain.issue(owner, wallet.address, HASH, COPIES, "twin", failures_allowed=FAILURES)
        yield Both(chain, id, wallet, devices, chain.account())


def test_the_model_and_the_contract_agree_after_every_message(both: Both) -> None:
    device, other = both.devices
    soon, past = int(time.time()) + 3600, int(time.time()) - 3600

    def use(copy: int, deadline: int = soon, file_hash: str = HASH) -> Use:
        return Use(both.id, file_hash, copy, os.urandom(32), os.urandom(32), os.urandom(32), deadline)

    def failure(copy: int, deadline: int = soon) -> Failure:
        return Failure(both.id, copy, os.urandom(32), deadline)

    licenses = PrintLicense(both.model, ADDRESS)
    story: list[tuple[Use | Failure | None, KeySigner, str]] = [
        (use(2), device, "UseSkipped"),
        (use(1, past), device, "UseSkipped"),
        (use(1, file_hash=OTHER_HASH), device, "UseSkipped"),
        (use(1), both.stranger, "UseSkipped"),
        (failure(1), device, "FailureSkipped"),
        (use(1), device, "LicenseUsed"),
        (use(1), device, "UseSkipped"),
        (None, other, "LicenseUsed"),
        (failure(1, past), device, "FailureSkipped"),
        (failure(1), both.stranger, "FailureSkipped"),
        (failure(1), other, "PrintFailed"),
        (failure(1), device, "FailureSkipped"),
        (use(3), other, "LicenseUsed"),
        (failure(3), device, "PrintFailed"),
        (failure(2), device, "FailureSkipped"),
        *((use(copy), device, "LicenseUsed") for copy in (4, 5, 6)),
        (use(7), device, "UseSkipped"),
        (failure(0), device, "FailureSkipped"),
    ]
    assert both.reads(licenses) == both.reads(both.chain.licenses)
    for message, signer, name in story:
        real, simulated = both.send(message, signer)
        assert simulated == real
        assert [event for event, _ in real] == [name]
        assert both.reads(licenses) == both.reads(both.chain.licenses)
