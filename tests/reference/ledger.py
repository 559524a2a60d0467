"""The books of every license, kept from the chain's events alone, and what must always be true of them."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.orders import Terms
from imprimatur.chain.print_license import License
from reference.events import NOBODY


@dataclass
class Account:
    """What the events said about one license."""

    issued: int = 0
    valid_until: int = 0
    failures_allowed: int = 0
    granted: int = 0
    used: int = 0
    forfeited: int = 0
    revoked: bool = False
    minted: int = 0
    burned: int = 0
    serials: Counter[int] = field(default_factory=Counter)
    failures: Counter[int] = field(default_factory=Counter)


class Ledger:
    """Enters events; `check` holds a license as the contract shows it against its books."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = defaultdict(Account)

    def enter(self, event: DecodedEvent, time: int) -> None:
        """Enter one event of a block with this time (Unix seconds)."""
        values = event.values
        account = self.accounts[values["id"]] if "id" in values else Account()
        match event.name:
            case "LicenseIssued":
                assert account.issued == 0, "issued twice"
                account.issued = values["copies"]
                account.valid_until = values["validUntil"]
                account.failures_allowed = values["failuresAllowed"]
            case "CopiesGranted":
                account.granted += values["copies"]
            case "LicenseUsed":
                account.used += 1
                assert values["copy"] == account.used, "copies are numbered without a gap"
                assert not account.revoked, "nothing is consumed after revocation"
                assert not account.valid_until or time <= account.valid_until, "nothing after expiry"
            case "PrintLogged":
                account.serials[values["copy"]] += 1
            case "PrintFailed":
                account.failures[values["copy"]] += 1
                # Counted, but not given back.
                account.forfeited += account.revoked
            case "LicenseRevoked":
                account.revoked = True
                account.forfeited += values["forfeited"]
            case "TransferSingle":
                account.minted += values["value"] * (values["from"] == NOBODY)
                account.burned += values["value"] * (values["to"] == NOBODY)

    def check(self, license: License, balance: int) -> None:
        """The invariants of one license; `balance` is what ERC-1155 says its holder has."""
        account = self.accounts[license.id]
        assert all(count == 1 for count in account.failures.values()), "no copy fails twice"
        assert all(count == 1 for count in account.serials.values()), "one serial for a copy"
        assert sum(account.serials.values()) <= account.used == license.used
        failed = sum(account.failures.values())
        assert failed == license.failed <= account.failures_allowed == license.failures_allowed
        given = account.issued + account.granted + failed - account.forfeited
        assert license.remaining + license.used == given
        assert balance == license.remaining == account.minted - account.burned
        assert license.has(Terms.REVOKED) == account.revoked
        assert license.valid_until == account.valid_until
