"""The readable twin of DeviceRegistry: bindings, statements, who shows and who believes them."""

from reference.events import NOBODY, EventLog, Refused

MOST_ATTESTORS = 8


class Devices:
    """Every function raises `Refused` and changes nothing, or changes the registry and logs it."""

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self.wallets: dict[str, str] = {}
        self.bindings: dict[str, int] = {}
        """How often each device was bound."""
        self.statements: dict[tuple[str, str], bytes] = {}
        """Evidence by (attestor, device)."""
        self.shown: dict[str, list[str]] = {}
        self.accepted: set[tuple[str, str]] = set()
        """(owner, attestor)."""

    def wallet_of(self, device: str) -> str:
        return self.wallets.get(device, NOBODY)

    def nonce_of(self, device: str) -> int:
        return self.bindings.get(device, 0)

    def is_trusted(self, device: str, owner: str) -> bool:
        return any(
            (owner, attestor) in self.accepted and (attestor, device) in self.statements
            for attestor in self.shown.get(device, [])
        )

    def bind(self, caller: str, device: str, deadline: int, consent: tuple[str, str, int], now: int) -> None:
        """`consent` is what was signed: by which device, for which wallet, with which nonce."""
        if device in self.wallets:
            raise Refused("DeviceIsBound")
        if now > deadline:
            raise Refused("BindingExpired")
        if consent != (device, caller, self.nonce_of(device)):
            raise Refused("InvalidDeviceSignature")
        self.bindings[device] = self.nonce_of(device) + 1
        self.wallets[device] = caller
        self.events.add("DeviceBound", device=device, wallet=caller)

    def unbind(self, caller: str, device: str) -> None:
        self._require_device_or_wallet(caller, device)
        if device not in self.wallets:
            raise Refused("DeviceIsNotBound")
        wallet = self.wallets.pop(device)
        self.events.add("DeviceUnbound", device=device, wallet=wallet)

    def attest(self, caller: str, device: str, evidence: bytes) -> None:
        if not any(evidence):
            raise Refused("NoEvidence")
        self.statements[caller, device] = evidence
        self.events.add("DeviceAttested", device=device, attestor=caller, evidence=evidence)

    def retract(self, caller: str, device: str) -> None:
        if (caller, device) not in self.statements:
            raise Refused("NotAttested")
        del self.statements[caller, device]
        self.events.add("AttestationRetracted", device=device, attestor=caller)

    def present(self, caller: str, device: str, attestor: str, presented: bool) -> None:
        self._require_device_or_wallet(caller, device)
        shown = self.shown.setdefault(device, [])
        if presented:
            if attestor in shown:
                raise Refused("AlreadyPresented")
            if len(shown) == MOST_ATTESTORS:
                raise Refused("TooManyAttestors")
            shown.append(attestor)
        else:
            if attestor not in shown:
                raise Refused("NotPresented")
            shown.remove(attestor)
        self.events.add("AttestorPresented", device=device, attestor=attestor, presented=presented)

    def accept(self, caller: str, attestor: str, accepted: bool) -> None:
        if accepted:
            self.accepted.add((caller, attestor))
        else:
            self.accepted.discard((caller, attestor))
        self.events.add("AttestorAccepted", owner=caller, attestor=attestor, accepted=accepted)

    def _require_device_or_wallet(self, caller: str, device: str) -> None:
        if caller not in (device, self.wallets.get(device)):
            raise Refused("NotTheDevice")
