"""Random histories of the contracts' readable twin (`tests/reference`), with the rows that an index has."""

import json
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from reference.devices import Devices
from reference.events import ZERO_HASH, EventLog, Refused
from reference.licenses import Licenses, Values

from imprimatur.chain.events import Row
from imprimatur.chain.events.layout import json_safe, layouts_of
from imprimatur.license_id import format_id

ACCOUNTS = [f"0x{digit * 40}" for digit in "123456"]
OWNERS, WALLETS, DEVICES, ATTESTORS = ACCOUNTS[:2], ACCOUNTS[1:4], ACCOUNTS[2:6], ACCOUNTS[3:5]
FILES = [0x5A, 0xC3]
IDS = [int(owner, 16) << 96 | number for owner in OWNERS for number in (1, 2)]
KINDS = {
    layout.name: layout.kinds
    for contract in ("PrintLicense", "DeviceRegistry")
    for layout in layouts_of(contract).values()
}


class History:
    """The twin, and the rows that an index would have of what it did. Each operation is a block."""

    def __init__(self) -> None:
        self.events = EventLog()
        self.devices = Devices(self.events)
        self.licenses = Licenses(self.devices, self.events)
        self.now = 1_000
        self.rows: list[Row] = []
        self.blocks = 0

    def do(self, pause: int, function: str, *arguments: Any) -> None:
        """One operation; whether it is refused is the twin's business."""
        self.now += pause
        self.blocks += 1
        with suppress(Refused):
            getattr(self, f"_{function}")(*arguments)
        for index, (name, values) in enumerate(self.events.take()):
            self.rows.append(row_of(self.blocks, self.now, index, name, values))

    def _issue(self, id: int, wallet: str, copies: int, until: int, flags: int, failures: int) -> None:
        owner = f"0x{id >> 96:040x}"
        order: Values = {
            "owner": owner,
            "number": id & 3,
            "printer": wallet,
            "fileHash": FILES[0],
            "copies": copies,
            "validUntil": until and self.now + until,
            "flags": flags,
            "failuresAllowed": failures,
            "manifestHash": ZERO_HASH,
            "deadline": self.now,
        }
        self.licenses.issue(self.licenses.controller_of(owner), order, self.now)

    def _use(self, id: int, by: int, file: int, logged: bool) -> None:
        device = self._acting(id, by)
        if not logged:
            self.licenses.use(device, id, file, self.now)
            return
        license = self.licenses.licenses.get(id)
        use = {
            "id": id,
            "fileHash": file,
            "copy": license.used + 1 if license else 1,
            "keyRecipient": ZERO_HASH,
            "encryptedSerial": ZERO_HASH,
            "commitment": self.blocks.to_bytes(32, "big"),
        }
        self.licenses.use_and_log(device, use, self.now)

    def _fail(self, id: int, by: int, age: int) -> None:
        self.licenses.report_failure(self._acting(id, by), id, self._copy(id, age), b"\x0e" * 32)

    def _grant(self, id: int, copies: int, age: int | None) -> None:
        for_copy = 0 if age is None else self._copy(id, age)
        self.licenses.grant(self._controller(id), id, copies, for_copy, self.now)

    def _copy(self, id: int, age: int) -> int:
        """The copy `age` copies before the last."""
        license = self.licenses.licenses.get(id)
        return max(0, license.used - age) if license else 0

    def _acting(self, id: int, by: int) -> str:
        """The wallet of a license, one of its devices, or a stranger."""
        license = self.licenses.licenses.get(id)
        wallet = license.printer if license else ACCOUNTS[0]
        bound = [device for device, other in self.devices.wallets.items() if other == wallet]
        return [wallet, *bound, ACCOUNTS[0]][by % (2 + len(bound))]

    def _approve(self, id: int, approved: bool) -> None:
        self.licenses.approve_file(self._controller(id), id, FILES[1], ZERO_HASH, approved, self.now)

    def _revoke(self, id: int) -> None:
        self.licenses.revoke(self._controller(id), id, self.now)

    def _transfer(self, id: int, to: str) -> None:
        license = self.licenses.licenses.get(id)
        self.licenses.transfer(license.printer if license else to, id, to)

    def _control(self, owner: str, to: str) -> None:
        self.licenses.offer_control(self.licenses.controller_of(owner), owner, to)
        self.licenses.accept_control(to, owner)

    def _bind(self, wallet: str, device: str) -> None:
        consent = (device, wallet, self.devices.nonce_of(device))
        self.devices.bind(wallet, device, self.now, consent, self.now)

    def _unbind(self, device: str) -> None:
        self.devices.unbind(device, device)

    def _attest(self, attestor: str, device: str) -> None:
        self.devices.attest(attestor, device, b"\x0e" * 32)

    def _retract(self, attestor: str, device: str) -> None:
        self.devices.retract(attestor, device)

    def _present(self, device: str, attestor: str, presented: bool) -> None:
        self.devices.present(device, device, attestor, presented)

    def _accept(self, owner: str, attestor: str, accepted: bool) -> None:
        self.devices.accept(owner, attestor, accepted)

    def _controller(self, id: int) -> str:
        return self.licenses.controller_of(f"0x{id >> 96:040x}")


def row_of(block: int, time: int, index: int, name: str, values: Values) -> Row:
    safe = {key: json_safe(kind, values[key]) for key, kind in KINDS[name].items()}
    id = safe.get("id")
    hash = f"0x{block:064x}"
    return Row("0x" + "0" * 40, name, json.dumps(safe), id, block, hash, time, hash, index)


FLAGS = (0, 1, 2, 3, 3, 6, 7)
ARGUMENTS: dict[str, Callable[[Random], tuple[Any, ...]]] = {
    "issue": lambda r: (r.choice(IDS), r.choice(WALLETS), 3, 0, 3, 1),
    "use": lambda r: (
        r.choice(IDS),
        r.choice((0, 0, 1, 1, 2)),
        r.choice((*FILES, FILES[0])),
        r.random() < 0.6,
    ),
    "fail": lambda r: (r.choice(IDS), r.choice((0, 0, 1, 2)), r.randint(0, 3)),
    "grant": lambda r: (r.choice(IDS), r.randint(1, 3), r.choice((None, 0, 1, 2))),
    "approve": lambda r: (r.choice(IDS), r.random() < 0.7),
    "revoke": lambda r: (r.choice(IDS),),
    "transfer": lambda r: (r.choice(IDS), r.choice(WALLETS)),
    "control": lambda r: (r.choice(OWNERS), r.choice(ACCOUNTS)),
    "bind": lambda r: (r.choice(WALLETS), r.choice(DEVICES)),
    "unbind": lambda r: (r.choice(DEVICES),),
    "attest": lambda r: (r.choice(ATTESTORS), r.choice(DEVICES)),
    "retract": lambda r: (r.choice(ATTESTORS), r.choice(DEVICES)),
    "present": lambda r: (r.choice(DEVICES), r.choice(ATTESTORS), r.random() < 0.7),
    "accept": lambda r: (r.choice(OWNERS), r.choice(ATTESTORS), r.random() < 0.7),
}


def with_devices() -> History:
    """A history in which each wallet has a device by now, and the first owner trusts them."""
    history = History()
    for wallet, device in zip(WALLETS, DEVICES[1:], strict=True):
        history.do(1, "bind", wallet, device)
        history.do(1, "attest", ATTESTORS[0], device)
        history.do(1, "present", device, ATTESTORS[0], True)
    history.do(1, "accept", OWNERS[0], ATTESTORS[0], True)
    return history


def state_of(history: History) -> dict[str, tuple[Any, ...]]:
    """What the contract would say: by id, the fields that a replay keeps."""
    return {
        format_id(id): (
            license.printer,
            license.flags,
            license.used,
            license.remaining,
            license.failed,
            license.window(),
        )
        for id, license in history.licenses.licenses.items()
    }
