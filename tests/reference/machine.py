"""Does the same to the contracts and to their reference, and compares everything that can be seen."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from imprimatur.chain import typed_data
from imprimatur.chain.contract import Contract, revert_of
from imprimatur.chain.interface import interface_of
from imprimatur.chain.rpc import NodeRefused
from imprimatur.chain.signers import KeySigner
from reference.devices import Devices
from reference.events import Event, EventLog, Refused
from reference.ledger import Ledger
from reference.licenses import Licenses
from reference.tester import TesterRpc
from support.node import deploy_contracts

SKIPPED = ("UseSkipped", "FailureSkipped")


class Reference:
    """Both twins on one log."""

    def __init__(self) -> None:
        self.events = EventLog()
        self.devices = Devices(self.events)
        self.licenses = Licenses(self.devices, self.events)


class Comparison:
    """The contracts on a chain of their own, and their reference beside them."""

    def __init__(self) -> None:
        self.rpc = TesterRpc()
        self.licenses, self.devices = deploy_contracts(self.rpc)
        keys = self.rpc.tester.backend.account_keys
        self.signers = [KeySigner(key.to_bytes()) for key in keys]
        self.accounts = [signer.address for signer in self.signers]
        chain_id = self.rpc.tester.backend.chain.chain_id
        self.license_domain = typed_data.license_domain(chain_id, self.licenses.address)
        self.device_domain = typed_data.device_domain(chain_id, self.devices.address)
        self._fresh = self.rpc.tester.take_snapshot()
        self.restart()

    def restart(self) -> None:
        """Forget everything but the deployment."""
        self.rpc.tester.revert_to_snapshot(self._fresh)
        self.reference = Reference()
        self.ledger = Ledger()

    def signer_of(self, account: str) -> KeySigner:
        return self.signers[self.accounts.index(account)]

    def do(
        self, caller: str, contract: Contract, data: str, expected: Callable[[Reference, int], None]
    ) -> None:
        """Send a call, do what is `expected` to the reference at the block's time, compare."""
        now = self.rpc.now()
        reference, refusal = deepcopy(self.reference), None
        try:
            expected(reference, now)
            self.reference = reference
        except Refused as refused:
            refusal = refused.name
        transaction = {"from": caller, "to": contract.address, "data": data}
        assert self._refusal(transaction) == refusal
        if refusal is None:
            hash = self.rpc.call("eth_sendTransaction", [transaction])
            receipt = self.rpc.call("eth_getTransactionReceipt", [hash])
            assert receipt["status"] == "0x1"
            decoded = contract.events_in(receipt)
            assert len(decoded) == len(receipt["logs"])
            assert [
                self._plain(event.name, event.values) for event in decoded
            ] == self.reference.events.take()
            for event in decoded:
                self.ledger.enter(event, now)
            self.compare_licenses({e.values["id"] for e in decoded if "id" in e.values})

    def _refusal(self, transaction: dict[str, Any]) -> str | None:
        try:
            self.rpc.call("eth_call", [transaction, "latest"])
        except NodeRefused as refused:
            error = revert_of(refused)
            return error.name if error else f"a refusal without a name: {refused.data}"
        return None

    def _plain(self, name: str, values: dict[str, Any]) -> Event:
        """An event as the reference writes it: reasons by name."""
        if name in SKIPPED:
            return name, values | {"reason": interface_of("PrintLicense").error_name(values["reason"])}
        return name, values

    def compare_licenses(self, ids: set[int]) -> None:
        """These licenses on the chain are the reference's, and their books are right."""
        for id in ids:
            found, expected = self.licenses.license_of(id), self.reference.licenses.licenses.get(id)
            if found is None or expected is None:
                assert found is expected is None
                continue
            assert (found.printer, int(found.file_hash, 16)) == (expected.printer, expected.file_hash)
            assert (found.remaining, found.used) == (expected.remaining, expected.used)
            assert (found.flags, found.valid_until) == (expected.flags, expected.valid_until)
            assert (found.failed, found.failures_allowed) == (expected.failed, expected.failures_allowed)
            assert found.failed_window == expected.window()
            self.ledger.check(found, self.licenses.balance_of(found.printer, id))

    def compare_everything(self) -> None:
        """All that the contracts can be asked about the accounts that took part."""
        licenses, devices = self.reference.licenses, self.reference.devices
        self.compare_licenses(set(licenses.licenses))
        for id, file_hash in licenses.alternatives:
            assert self.licenses.check_hash(id, f"{file_hash:064x}")
        for (owner, operator), (rights, until) in licenses.operators.items():
            found = self.licenses.operator_of(owner, operator)
            assert (found.rights, found.until) == (rights, until)
        for account in self.accounts:
            assert self.licenses.controller_of(account) == licenses.controller_of(account)
            assert self.devices.wallet_of(account) == devices.wallets.get(account)
            assert self.devices.nonce_of(account) == devices.nonce_of(account)
            assert sorted(self.devices.attestors_of(account)) == sorted(devices.shown.get(account, []))
        for holder, operator in licenses.approvals:
            assert self.licenses.is_approved_for_all(holder, operator)
        for (attestor, device), evidence in devices.statements.items():
            assert self.devices.attestation_of(attestor, device) == evidence
        for owner, attestor in devices.accepted:
            assert self.devices.accepts_attestor(owner, attestor)
