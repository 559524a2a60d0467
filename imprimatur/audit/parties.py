"""Who acts for whom: devices for wallets, controllers and operators for owners, attestors for devices."""

from collections import defaultdict
from dataclasses import dataclass, field

from imprimatur.audit.history import Voucher
from imprimatur.chain.events import Row
from imprimatur.chain.orders import Right


@dataclass(frozen=True, slots=True)
class Operator:
    """What an operator may do for an owner, until a Unix second."""

    account: str
    rights: Right
    until: int


@dataclass(slots=True)
class Parties:
    """The DeviceRegistry and the owners' side of PrintLicense, replayed. Accounts have checksums."""

    wallets: dict[str, str] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    """All that were ever bound, in this order."""
    controllers: dict[str, str] = field(default_factory=dict)
    operators: dict[str, dict[str, Operator]] = field(default_factory=lambda: defaultdict(dict))
    _evidence: dict[tuple[str, str], str] = field(default_factory=dict)
    _shown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    _accepted: set[tuple[str, str]] = field(default_factory=set)

    def controller_of(self, owner: str) -> str:
        """The account that acts for an owner."""
        return self.controllers.get(owner, owner)

    def acts_for(self, device: str, wallet: str) -> bool:
        """Whether a device is the wallet itself or bound by it."""
        return device == wallet or self.wallets.get(device) == wallet

    def vouchers_for(self, device: str, owner: str) -> list[Voucher]:
        """Statements that the device shows by attestors whom the owner, or who acts for her, accepts."""
        controller = self.controller_of(owner)
        return [
            Voucher(attestor, self._evidence[attestor, device])
            for attestor in self._shown[device]
            if (attestor, device) in self._evidence and (controller, attestor) in self._accepted
        ]

    def apply(self, row: Row) -> str | None:
        """Follow one event; a sentence when the contracts can't have logged it."""
        match row.name, row.values:
            case "DeviceBound", {"device": device, "wallet": wallet}:
                self.devices[device] = None
                if device in self.wallets:
                    return f"the device {device} was bound while it acted for {self.wallets[device]}"
                self.wallets[device] = wallet
            case "DeviceUnbound", {"device": device, "wallet": wallet}:
                if self.wallets.pop(device, None) != wallet:
                    return f"the device {device} was unbound from {wallet}, for which it didn't act"
            case "DeviceAttested", {"device": device, "attestor": attestor, "evidence": evidence}:
                self._evidence[attestor, device] = evidence
            case "AttestationRetracted", {"device": device, "attestor": attestor}:
                if self._evidence.pop((attestor, device), None) is None:
                    return f"{attestor} took a statement about {device} back that it never made"
            case "AttestorPresented", {"device": device, "attestor": attestor, "presented": presented}:
                shown = self._shown[device]
                if presented == (attestor in shown):
                    return f"the device {device} showed or hid {attestor} twice"
                if presented:
                    shown.append(attestor)
                else:
                    shown.remove(attestor)
            case "AttestorAccepted", {"owner": owner, "attestor": attestor, "accepted": accepted}:
                (self._accepted.add if accepted else self._accepted.discard)((owner, attestor))
            case "ControlTransferred", {"owner": owner, "from": giver, "to": taker}:
                if self.controller_of(owner) != giver:
                    return f"{giver} handed over control of {owner} without having it"
                self.controllers[owner] = taker
            case "OperatorSet", {"owner": owner, "operator": operator, "rights": rights, "until": until}:
                self.operators[owner][operator] = Operator(operator, Right(rights), int(until, 16))
        return None
