"""A license as its events tell it."""

from dataclasses import dataclass, field

from imprimatur.chain.orders import FOR_EVER, Terms

NOBODY = "0x" + "0" * 40
"""ERC-1155's other side of a mint or a burn."""
WINDOW = 16
"""Copies that the contract remembers failures of (`LicenseState.sol`)."""
_MASK = (1 << WINDOW) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands. `time` is Unix seconds."""

    block: int
    block_hash: str
    time: int
    transaction: str


@dataclass(frozen=True, slots=True)
class Voucher:
    """Who vouched for a device, and the hash of the evidence."""

    attestor: str
    evidence: str


@dataclass(slots=True)
class Copy:
    """One consumed copy. Accounts have checksums, hashes are hexadecimal."""

    number: int
    place: Place
    device: str
    wallet: str
    """Holder of the license when the copy was consumed."""
    file_hash: str
    key_recipient: str
    attestors: list[Voucher]
    """Those that the license's owner accepted and the device showed at that moment."""
    sender: str | None = None
    """Who sent (and paid) the transaction: the device, its wallet, or a relay."""
    commitment: str | None = None
    failed: Place | None = None
    failure_evidence: str | None = None
    replaced: bool = False
    """The owner granted a copy for this one."""


@dataclass(slots=True)
class ApprovedFile:
    """Another file that the owner approved, or no longer does. Hashes are hexadecimal."""

    file_hash: str
    manifest_hash: str
    approved: bool


@dataclass(slots=True)
class LicenseHistory:
    """Terms, state and prints of one license after its events up to some block."""

    id: str
    owner: str
    issued: Place
    issued_to: str
    printer: str
    file_hash: str
    manifest_hash: str
    issued_copies: int
    valid_until: int
    flags: Terms
    failures_allowed: int
    sender: str | None = None
    """Who sent the transaction of its issue."""
    granted: int = 0
    forfeited: int = 0
    """Left at the revocation, and failed after it."""
    used: int = 0
    failed: int = 0
    tokens: int = 0
    """Copies left by the ERC-1155 events alone, here and below."""
    token_holder: str | None = None
    window: int = 0
    """As `failedWindow` of the contract."""
    copies: list[Copy] = field(default_factory=list)
    files: dict[str, ApprovedFile] = field(default_factory=dict)
    transfers: list[tuple[Place, str, str]] = field(default_factory=list)
    revoked: Place | None = None

    @property
    def remaining(self) -> int:
        """Copies left, by the rule that nothing is lost or made."""
        return self.issued_copies + self.granted + self.failed - self.used - self.forfeited

    @property
    def announced(self) -> int:
        """Parts that may exist: consumed and not reported as failed."""
        return self.used - self.failed

    def is_expired(self, time: int) -> bool:
        return self.valid_until != FOR_EVER and time > self.valid_until

    def allows(self, file_hash: str) -> bool:
        """Whether copies of this file can be consumed now."""
        other = self.files.get(file_hash)
        return file_hash == self.file_hash or (other is not None and other.approved)

    def copy(self, number: int) -> Copy | None:
        """The consumed copy with this number."""
        return next((copy for copy in reversed(self.copies) if copy.number == number), None)

    def is_open(self, number: int) -> bool:
        """Whether a consumed copy can still be reported as failed, as far as the window says."""
        age = self.used - number
        return 0 <= age < WINDOW and not self.window >> age & 1

    def consume(self, copy: Copy) -> None:
        """Take one more copy. Where others are missing, its number counts, so that a gap is one gap."""
        used = max(self.used, copy.number)
        self.copies.append(copy)
        self.window = self.window << (used - self.used) & _MASK
        self.used = used

    def close(self, number: int) -> None:
        """The copy can't be reported as failed any more."""
        if 0 <= (age := self.used - number) < WINDOW:
            self.window |= 1 << age

    def close_all(self) -> None:
        self.window = _MASK

    def move_tokens(self, giver: str, taker: str, amount: int) -> list[str]:
        """Follow an ERC-1155 transfer of the license; what can't be about it."""
        problems = []
        holder = self.token_holder or (taker if giver == NOBODY else giver)
        if giver not in (NOBODY, holder):
            problems.append(f"copies of {giver} moved, but {holder} held them")
        if giver == NOBODY:
            self.tokens += amount
            if taker != holder:
                problems.append(f"{taker} got copies, but {holder} holds the license")
        elif taker == NOBODY:
            self.tokens -= amount
        else:
            if amount != self.tokens:
                problems.append(f"{amount} of {self.tokens} copies changed hands")
            holder = taker
        self.token_holder = holder
        return problems
