"""Random valid and invalid operations on the contracts and on their readable reference."""

from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from imprimatur.chain import typed_data
from imprimatur.chain.orders import Order
from reference.events import NOBODY
from reference.licenses import License, owner_of
from reference.machine import Comparison

HASHES = [int(digit * 64, 16) for digit in "ab"]
LATER = 2**40
DIGEST = st.sampled_from([bytes([n]) * 32 for n in (1, 2, 3)])


@cache
def comparison() -> Comparison:
    """One deployment for all examples."""
    return Comparison()


def mostly(right: st.SearchStrategy[Any], *wrong: Any) -> st.SearchStrategy[Any]:
    """From `right`, and one time in eight one of the values that are probably wrong.

    Random values alone would never get past the first check of a function.
    """
    return st.integers(0, 7).flatmap(lambda n: right if n else st.sampled_from(wrong))


class Contracts(RuleBasedStateMachine):
    """The same operations on both sides. A step that differs in outcome, events or state fails."""

    def __init__(self) -> None:
        super().__init__()
        self.both = comparison()
        self.both.restart()
        accounts = self.both.accounts
        self.owners, self.wallets, self.machines = accounts[:2], accounts[2:4], accounts[4:6]
        self.everybody = accounts[:7]

    # --- drawing -----------------------------------------------------------------------------------------

    def _account(self, data: st.DataObject, right: str) -> str:
        return data.draw(mostly(st.just(right), *self.everybody), "caller")

    def _license(self, data: st.DataObject) -> tuple[int, License | None]:
        """The id of a license that exists, mostly."""
        known = self.both.reference.licenses.licenses
        nowhere = int(self.owners[0], 16) << 96 | 99
        right = st.sampled_from(sorted(known)) if known else st.just(nowhere)
        id = data.draw(mostly(right, nowhere), "license")
        return id, known.get(id)

    def _device_of(self, data: st.DataObject, license: License | None) -> str:
        """The license's wallet, or a device that acts for it, mostly."""
        if license is None:
            return self.wallets[0]
        bound = self.both.reference.devices.wallets.items()
        acting = [license.printer, *(device for device, wallet in bound if wallet == license.printer)]
        return data.draw(mostly(st.sampled_from(acting), *self.everybody), "device")

    def _file_hash(self, data: st.DataObject, license: License | None) -> int:
        right = license.file_hash if license else HASHES[0]
        return data.draw(mostly(st.just(right), 0, *HASHES), "file hash")

    def _owners_side(self, data: st.DataObject, id: int) -> str:
        owner = owner_of(id)
        licenses = self.both.reference.licenses
        operators = [operator for of, operator in licenses.operators if of == owner]
        return data.draw(
            mostly(st.sampled_from([licenses.controller_of(owner), *operators]), *self.everybody), "caller"
        )

    def _order(self, data: st.DataObject) -> Order:
        soon = self.both.rpc.now() + 500
        allowed = data.draw(mostly(st.integers(0, 3), 63, 64))
        return Order(
            owner=data.draw(st.sampled_from(self.owners), "owner"),
            number=data.draw(st.integers(0, 3), "number"),
            printer=data.draw(mostly(st.sampled_from(self.wallets), NOBODY)),
            file_hash=f"{data.draw(mostly(st.sampled_from(HASHES), 0)):064x}",
            copies=data.draw(mostly(st.integers(1, 20), 0, 65_535, 65_535 - allowed)),
            deadline=data.draw(mostly(st.just(LATER), soon, soon - 1000)),
            valid_until=data.draw(mostly(st.just(0), soon, soon - 1000, 2**32 - 1)),
            flags=data.draw(mostly(st.sampled_from([3, 3, 3, 1, 2, 0, 7]), 8, 15, 255)),
            failures_allowed=allowed,
            manifest_hash=data.draw(DIGEST),
        )

    def _use(self, data: st.DataObject) -> tuple[typed_data.Use, str]:
        id, license = self._license(data)
        expected = license.used + 1 if license else 1
        use = typed_data.Use(
            id=id,
            file_hash=f"{self._file_hash(data, license):064x}",
            copy=data.draw(mostly(st.just(expected), 0, expected - 1, expected + 1, 2**200)),
            key_recipient=data.draw(DIGEST),
            encrypted_serial=data.draw(DIGEST),
            commitment=data.draw(DIGEST),
            deadline=data.draw(mostly(st.just(LATER), 1)),
        )
        return use, self._device_of(data, license)

    def _signed_by(self, data: st.DataObject, device: str) -> tuple[dict[str, Any], str]:
        """A domain to sign in, and who the contract will believe signed."""
        domain = self.both.license_domain
        elsewhere = data.draw(mostly(st.none(), "chainId", "verifyingContract"), "wrong domain")
        if elsewhere is None:
            return domain, device
        other = {"chainId": 5, "verifyingContract": self.both.devices.address}
        return domain | {elsewhere: other[elsewhere]}, NOBODY

    # --- issuing -----------------------------------------------------------------------------------------

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """A license and a bound device, so that the first steps do something."""
        owner, wallet = self.owners[0], self.wallets[0]
        flags = data.draw(st.sampled_from([3, 3, 0, 7]))
        order = Order(owner, 0, wallet, f"{HASHES[0]:064x}", 30, LATER, flags=flags, failures_allowed=3)
        self._send_order(owner, order)
        self._bind(wallet, self.machines[0], 0)

    def _send_order(self, caller: str, order: Order, as_operator: bool = False) -> None:
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.issue_call(order, as_operator),
            lambda to, now: (to.licenses.issue_for if as_operator else to.licenses.issue)(
                caller, order.values(), now
            ),
        )

    @rule(data=st.data(), as_operator=st.booleans())
    def issue(self, data: st.DataObject, as_operator: bool) -> None:
        order = self._order(data)
        self._send_order(self._owners_side(data, order.id), order, as_operator)

    @rule(data=st.data())
    def issue_batch(self, data: st.DataObject) -> None:
        orders = [self._order(data) for _ in range(data.draw(st.integers(0, 3)))]
        caller = self._owners_side(data, orders[0].id) if orders else self.owners[0]
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.issue_batch_call(orders),
            lambda to, now: to.licenses.issue_batch(caller, [order.values() for order in orders], now),
        )

    @rule(data=st.data())
    def redeem(self, data: st.DataObject) -> None:
        order = self._order(data)
        caller = data.draw(st.sampled_from(self.everybody))
        signer = self._account(data, self.both.reference.licenses.controller_of(order.owner))
        domain, believed = self._signed_by(data, signer)
        voucher = typed_data.sign_order(self.both.signer_of(signer), domain, order)
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.redeem_call(order, voucher),
            lambda to, now: to.licenses.redeem(caller, order.values(), believed, now),
        )

    # --- printing ----------------------------------------------------------------------------------------

    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        id, license = self._license(data)
        file_hash, caller = self._file_hash(data, license), self._device_of(data, license)
        usable = self.both.licenses.can_use(id, f"{file_hash:064x}", caller)
        licenses = self.both.reference.licenses
        assert usable.reason == licenses.why_not_usable(id, file_hash, caller, self.both.rpc.now())
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.use_license_call(id, f"{file_hash:064x}"),
            lambda to, now: to.licenses.use(caller, id, file_hash, now),
        )

    @rule(data=st.data())
    def use_and_log(self, data: st.DataObject) -> None:
        use, caller = self._use(data)
        call = self.both.licenses.use_license_and_log_call(
            use.id, use.file_hash, use.copy, use.key_recipient, use.encrypted_serial, use.commitment
        )
        self.both.do(
            caller,
            self.both.licenses,
            call,
            lambda to, now: to.licenses.use_and_log(caller, use.values(), now),
        )

    @rule(data=st.data())
    def use_signed(self, data: st.DataObject) -> None:
        signed, expected = [], []
        for _ in range(data.draw(st.integers(1, 3))):
            use, device = self._use(data)
            domain, believed = self._signed_by(data, device)
            signed.append(typed_data.sign_use(self.both.signer_of(device), domain, use))
            expected.append((use.values(), believed))
        self._submit_uses(data.draw(st.sampled_from(self.everybody)), signed, expected)

    @rule(data=st.data(), count=st.integers(4, 18))
    def use_many(self, data: st.DataObject, count: int) -> None:
        """Consecutive copies at once: past the window of failures, and to the end of a license."""
        id, license = self._license(data)
        if license is None:
            return
        device = self._device_of(data, license)
        if self.both.reference.licenses.why_not_usable(id, license.file_hash, device, self.both.rpc.now()):
            count = 1
        signed, expected = [], []
        for copy in range(license.used + 1, license.used + 1 + count):
            blank = bytes(32)
            use = typed_data.Use(id, f"{license.file_hash:064x}", copy, blank, blank, blank, LATER)
            signer = self.both.signer_of(device)
            signed.append(typed_data.sign_use(signer, self.both.license_domain, use))
            expected.append((use.values(), device))
        self._submit_uses(self.everybody[-1], signed, expected)

    def _submit_uses(self, caller: str, signed: list[Any], expected: list[Any]) -> None:
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.use_licenses_signed_call(signed),
            lambda to, now: to.licenses.use_signed(caller, expected, now),
        )

    def _failed_copy(self, data: st.DataObject, license: License | None) -> int:
        used = license.used if license else 0
        recent = st.integers(max(1, used - 17), max(1, used))
        return data.draw(mostly(recent, 0, used + 1, 2**200), "copy")

    @rule(data=st.data(), evidence=DIGEST)
    def report_failure(self, data: st.DataObject, evidence: bytes) -> None:
        id, license = self._license(data)
        self._report(self._device_of(data, license), id, self._failed_copy(data, license), evidence)

    def _report(self, caller: str, id: int, copy: int, evidence: bytes) -> None:
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.report_failure_call(id, copy, evidence),
            lambda to, now: to.licenses.report_failure(caller, id, copy, evidence),
        )

    @rule(data=st.data(), evidence=DIGEST)
    def report_signed(self, data: st.DataObject, evidence: bytes) -> None:
        signed, expected = [], []
        for _ in range(data.draw(st.integers(1, 2))):
            id, license = self._license(data)
            copy, device = self._failed_copy(data, license), self._device_of(data, license)
            deadline = data.draw(mostly(st.just(LATER), 1))
            failure = typed_data.Failure(id, copy, evidence, deadline)
            domain, believed = self._signed_by(data, device)
            signed.append(typed_data.sign_failure(self.both.signer_of(device), domain, failure))
            expected.append((failure.values(), believed))
        caller = data.draw(st.sampled_from(self.everybody))
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.report_failures_signed_call(signed),
            lambda to, now: to.licenses.report_signed(caller, expected, now),
        )

    # --- changing a license ------------------------------------------------------------------------------

    @rule(data=st.data())
    def grant(self, data: st.DataObject) -> None:
        id, license = self._license(data)
        used = license.used if license else 0
        caller = self._owners_side(data, id)
        copies = data.draw(mostly(st.integers(1, 5), 0, 65_535, 65_000))
        for_copy = data.draw(st.one_of(st.just(0), st.integers(0, used), st.just(used + 1)))
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.grant_copies_call(id, copies, for_copy),
            lambda to, now: to.licenses.grant(caller, id, copies, for_copy, now),
        )

    @rule(data=st.data(), manifest=DIGEST, approved=st.booleans())
    def approve_file(self, data: st.DataObject, manifest: bytes, approved: bool) -> None:
        id, _ = self._license(data)
        caller = self._owners_side(data, id)
        file_hash = data.draw(mostly(st.sampled_from(HASHES), 0))
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.approve_file_call(id, f"{file_hash:064x}", manifest, approved),
            lambda to, now: to.licenses.approve_file(caller, id, file_hash, manifest, approved, now),
        )

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """And fail afterwards, which must bring nothing back."""
        id, license = self._license(data)
        caller = self._owners_side(data, id)
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.revoke_call(id),
            lambda to, now: to.licenses.revoke(caller, id, now),
        )
        if license:
            self._report(license.printer, id, license.used, bytes(32))

    # --- moving a license --------------------------------------------------------------------------------

    @rule(data=st.data(), standard=st.booleans())
    def transfer(self, data: st.DataObject, standard: bool) -> None:
        id, license = self._license(data)
        holder = license.printer if license else self.wallets[0]
        caller = self._account(data, holder)
        to = data.draw(mostly(st.sampled_from(self.wallets), NOBODY))
        licenses = self.both.licenses
        if standard:
            sender = self._account(data, holder)
            left = license.remaining if license else 1
            value = data.draw(mostly(st.just(left), 0, left + 1, 1))
            call = licenses.safe_transfer_from_call(sender, to, id, value)
        else:
            call = licenses.transfer_license_call(id, to)
        self.both.do(
            caller,
            licenses,
            call,
            lambda twin, now: (
                twin.licenses.safe_transfer(caller, sender, to, id, value)
                if standard
                else twin.licenses.transfer(caller, id, to)
            ),
        )

    @rule(data=st.data(), approved=st.booleans())
    def approve_for_all(self, data: st.DataObject, approved: bool) -> None:
        caller = data.draw(st.sampled_from(self.wallets))
        operator = data.draw(mostly(st.sampled_from(self.everybody), NOBODY))
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.set_approval_for_all_call(operator, approved),
            lambda to, now: to.licenses.approve_for_all(caller, operator, approved),
        )

    # --- who acts for an owner ---------------------------------------------------------------------------

    @rule(data=st.data())
    def set_operator(self, data: st.DataObject) -> None:
        owner, operator = data.draw(st.sampled_from(self.owners)), data.draw(st.sampled_from(self.everybody))
        caller = self._account(data, self.both.reference.licenses.controller_of(owner))
        rights = data.draw(mostly(st.integers(0, 15), 16, 255))
        until = data.draw(mostly(st.just(LATER), 0, self.both.rpc.now() + 500))
        call = self.both.licenses._interface.encode_call("setOperator", owner, operator, rights, until)
        self.both.do(
            caller,
            self.both.licenses,
            call,
            lambda to, now: to.licenses.set_operator(caller, owner, operator, rights, until),
        )

    @rule(data=st.data())
    def offer_control(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        caller = self._account(data, self.both.reference.licenses.controller_of(owner))
        to = data.draw(mostly(st.sampled_from(self.everybody), NOBODY))
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.offer_control_call(owner, to),
            lambda twin, now: twin.licenses.offer_control(caller, owner, to),
        )

    @rule(data=st.data())
    def accept_control(self, data: st.DataObject) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        caller = self._account(data, self.both.reference.licenses.offers.get(owner, self.everybody[-1]))
        if caller == NOBODY:
            return
        self.both.do(
            caller,
            self.both.licenses,
            self.both.licenses.accept_control_call(owner),
            lambda to, now: to.licenses.accept_control(caller, owner),
        )

    # --- devices -----------------------------------------------------------------------------------------

    def _bind(self, wallet: str, device: str, nonce: int, deadline: int = LATER, caller: str = "") -> None:
        caller = caller or wallet
        signer = self.both.signer_of(device)
        consent = typed_data.sign_binding(signer, self.both.device_domain, wallet, nonce, deadline)
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.bind_call(device, deadline, consent),
            lambda to, now: to.devices.bind(caller, device, deadline, (device, wallet, nonce), now),
        )

    @rule(data=st.data())
    def bind(self, data: st.DataObject) -> None:
        wallet, device = data.draw(st.sampled_from(self.wallets)), data.draw(st.sampled_from(self.machines))
        nonce = self.both.reference.devices.nonce_of(device)
        nonce = data.draw(mostly(st.just(nonce), nonce + 1, max(0, nonce - 1)))
        deadline = data.draw(mostly(st.just(LATER), 1))
        self._bind(wallet, device, nonce, deadline, self._account(data, wallet))

    @rule(data=st.data())
    def unbind(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(self.machines))
        caller = self._account(data, device)
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.unbind_call(device),
            lambda to, now: to.devices.unbind(caller, device),
        )

    @rule(data=st.data(), evidence=DIGEST)
    def attest(self, data: st.DataObject, evidence: bytes) -> None:
        caller = data.draw(st.sampled_from(self.both.accounts))
        device = data.draw(st.sampled_from(self.wallets + self.machines))
        self._attest(caller, device, data.draw(mostly(st.just(evidence), bytes(32))))

    @rule(data=st.data())
    def retract(self, data: st.DataObject) -> None:
        stated = sorted(self.both.reference.devices.statements)
        nothing = (self.everybody[-1], self.machines[0])
        caller, device = data.draw(mostly(st.sampled_from(stated) if stated else st.just(nothing), nothing))
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.retract_call(device),
            lambda to, now: to.devices.retract(caller, device),
        )

    def _attest(self, caller: str, device: str, evidence: bytes) -> None:
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.attest_call(device, evidence),
            lambda to, now: to.devices.attest(caller, device, evidence),
        )

    @rule(data=st.data(), evidence=DIGEST)
    def trust(self, data: st.DataObject, evidence: bytes) -> None:
        """All that it takes for a trusted device, by its wallet, an attestor and an owner."""
        device, attestor = data.draw(st.sampled_from(self.wallets + self.machines)), self.everybody[-1]
        self._attest(attestor, device, evidence)
        self._present(device, device, attestor, True)
        for owner in self.owners:
            self._accept(owner, attestor, True)
            assert self.both.devices.is_trusted(device, owner) == self.both.reference.devices.is_trusted(
                device, owner
            )

    @rule(data=st.data(), presented=st.booleans())
    def present(self, data: st.DataObject, presented: bool) -> None:
        device = data.draw(st.sampled_from(self.wallets + self.machines))
        caller, attestor = self._account(data, device), data.draw(st.sampled_from(self.both.accounts))
        self._present(caller, device, attestor, presented)

    def _present(self, caller: str, device: str, attestor: str, presented: bool) -> None:
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.present_attestor_call(device, attestor, presented),
            lambda to, now: to.devices.present(caller, device, attestor, presented),
        )

    @rule(data=st.data())
    def present_everybody(self, data: st.DataObject) -> None:
        """Up to the most that a device shows, and one more."""
        device = data.draw(st.sampled_from(self.machines))
        for attestor in self.both.accounts[:9]:
            self._present(device, device, attestor, True)

    @rule(data=st.data(), accepted=st.booleans())
    def accept(self, data: st.DataObject, accepted: bool) -> None:
        self._accept(
            data.draw(st.sampled_from(self.owners)), data.draw(st.sampled_from(self.both.accounts)), accepted
        )

    def _accept(self, caller: str, attestor: str, accepted: bool) -> None:
        self.both.do(
            caller,
            self.both.devices,
            self.both.devices.accept_attestor_call(attestor, accepted),
            lambda to, now: to.devices.accept(caller, attestor, accepted),
        )

    @rule()
    def time_passes(self) -> None:
        self.both.rpc.tester.time_travel(self.both.rpc.now() + 400)

    def teardown(self) -> None:
        self.both.compare_everything()


TestContracts = Contracts.TestCase
