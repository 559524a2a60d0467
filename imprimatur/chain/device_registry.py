"""Typed access to the DeviceRegistry contract: which devices act for which wallets, who vouches for them."""

from collections.abc import Iterator

from imprimatur.chain.contract import Block, Contract
from imprimatur.chain.interface import DecodedEvent

CONTRACT = "DeviceRegistry"


class DeviceRegistry(Contract):
    """The contract at `address`, asked through `rpc`. Logs are searched from block `since`."""

    NAME = CONTRACT

    def wallet_of(self, device: str, block: Block = "latest") -> str | None:
        """The wallet that a device acts for, if any."""
        wallet = str(self._read("walletOf", device, block=block)["0"])
        return wallet if int(wallet, 16) else None

    def nonce_of(self, device: str, block: Block = "latest") -> int:
        """How often a device has been bound; the next binding's signature holds it."""
        return int(self._read("nonceOf", device, block=block)["0"])

    def attestation_of(self, attestor: str, device: str, block: Block = "latest") -> bytes | None:
        """The evidence (32 bytes) that `attestor` states about `device`, if any."""
        evidence: bytes = self._read("attestationOf", attestor, device, block=block)["evidence"]
        return evidence if any(evidence) else None

    def attestors_of(self, device: str, block: Block = "latest") -> list[str]:
        """Whose statements a device shows."""
        return list(self._read("attestorsOf", device, block=block)["0"])

    def accepts_attestor(self, owner: str, attestor: str, block: Block = "latest") -> bool:
        """Whether `owner` accepts statements of `attestor`."""
        return bool(self._read("acceptsAttestor", owner, attestor, block=block)["0"])

    def is_trusted(self, device: str, owner: str, block: Block = "latest") -> bool:
        """Whether a statement that the device shows comes from somebody whom `owner` accepts."""
        return bool(self._read("isTrusted", device, owner, block=block)["0"])

    def bind_call(self, device: str, deadline: int, signature: str) -> str:
        """Calldata of `bind`; the wallet sends it, `signature` is `typed_data.sign_binding`'s."""
        raw = bytes.fromhex(signature.removeprefix("0x"))
        return self._interface.encode_call("bind", device, deadline, raw)

    def unbind_call(self, device: str) -> str:
        """Calldata of `unbind`; the wallet or the device sends it."""
        return self._interface.encode_call("unbind", device)

    def attest_call(self, device: str, evidence: bytes) -> str:
        """Calldata of `attest`; the attestor sends it. `evidence` is a hash of 32 bytes, not zero."""
        return self._interface.encode_call("attest", device, evidence)

    def retract_call(self, device: str) -> str:
        """Calldata of `retract`; the attestor sends it."""
        return self._interface.encode_call("retract", device)

    def present_attestor_call(self, device: str, attestor: str, presented: bool = True) -> str:
        """Calldata of `presentAttestor`; the device or its wallet sends it."""
        return self._interface.encode_call("presentAttestor", device, attestor, presented)

    def accept_attestor_call(self, attestor: str, accepted: bool = True) -> str:
        """Calldata of `acceptAttestor`; the owner of licenses sends it."""
        return self._interface.encode_call("acceptAttestor", attestor, accepted)

    def events(
        self, *names: str, device: str | None = None, since: int | None = None
    ) -> Iterator[DecodedEvent]:
        """Events in chain order; all names when none is given.

        Args:
            device: only those whose first indexed value is this account: the device, or the owner of
                `AttestorAccepted`.
            since: first block; the contract's first by default.
        """
        return self._events(names, [None if device is None else int(device, 16)], since)
