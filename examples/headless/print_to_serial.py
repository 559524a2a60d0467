"""Print one copy of a license at a serial port, or into a file, without a printer host.

    python3 print_to_serial.py LICENSE --profile device/ --node https://… --to /dev/ttyUSB0

The folder of `--profile` comes from `imprimatur enrol`. Stopped at any moment, the same command goes on where
it was; a copy that is paid and wasn't begun costs nothing more.
"""

import argparse
import fcntl
import getpass
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol, Self

from marlin import Marlin, PrinterFailed, commands, is_extruding

from imprimatur import address_book
from imprimatur.chain.node import chain_id
from imprimatur.chain.outbox import Rules, parse_finality
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import open_keystore
from imprimatur.device import Delivery, Desk, Job, Journal, Portal, State, profile, why
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import (
    InvalidLicenseNumber,
    format_id,
    license_id,
    number_from_text,
    parse_id,
)

PIECE = 1 << 16
REPORTING = 60.0
"""Seconds for which the end of a print is told before that is left to the next start."""


class CannotPrint(ImprimaturError):
    """This host's own reasons."""


class Printer(Protocol):
    """What a job is printed with."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def print(self, plain: BinaryIO, begin_part: Any) -> None:
        """Print everything; call `begin_part` before the first thing that makes a part leaves."""

    def stop(self) -> None:
        """Safe again, after whatever went wrong."""


class SerialPrinter(Marlin):
    """Sends the commands of G-code."""

    def print(self, plain: BinaryIO, begin_part: Any) -> None:
        begun = False
        for command in commands(plain):
            if not begun and is_extruding(command):
                begin_part()
                begun = True
            self.do(command)


class FilePrinter:
    """Writes a new file. For files of any kind; from its first byte on, the copy is used."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def print(self, plain: BinaryIO, begin_part: Any) -> None:
        begin_part()
        while piece := plain.read(PIECE):
            self._file.write(piece)
        self._file.flush()
        os.fsync(self._file.fileno())

    def stop(self) -> None:
        """Nothing gets hot."""


def main() -> int:
    """Exit code: 0 when the copy was printed, or its failure stands on the chain; 1 when not, and why."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = _options()
    try:
        _require_places(options)
        with _alone(options.profile), closing(Journal(options.profile / "journal.db")) as journal:
            licenses, delivery = _delivery(options, journal)
            delivery.recover()
            known = journal.open_job(options.license, options.chain, licenses.address)
            if options.to is None:
                return _report_failure(delivery, journal, options.license)
            job = known or delivery.pick(options.license)
            job = delivery.run(job, options.patience, _tell_progress)
            if not job.is_ready:
                raise CannotPrint(f"The job is {job.state}: {job.reason}")
            print(f"Copy {job.copy} of {job.name} is paid. Checking the file …", file=sys.stderr)
            _print(delivery, job, options)
            return 0
    except (ImprimaturError, PrinterFailed, OSError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on where this was.", file=sys.stderr)
    return 1


def _require_places(options: argparse.Namespace) -> None:
    """Folder and printer are there before a copy is paid. Raises CannotPrint."""
    if not options.profile.is_dir():
        raise CannotPrint(f"There is no folder {options.profile}: `imprimatur enrol` makes it.")
    path: Path | None = options.to
    if path is None or _is_port(path):
        return
    if path.absolute().is_relative_to("/dev"):
        raise CannotPrint(f"There is no serial port {path}. No copy was used; is the printer switched on?")
    if path.exists() or not path.parent.is_dir():
        raise CannotPrint(f"{path} can't be made: it exists, or its folder doesn't. No copy was used.")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process has a journal: `recover` would end what another one prints. The system forgets the lock of
    a process that was killed."""
    with (folder / "running.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotPrint(
                "Another print with this profile is running. No copy was used; wait for its end."
            ) from error
        yield


def _print(delivery: Delivery, job: Job, options: argparse.Namespace) -> None:
    """Print a paid copy, and say how it ended. Raises what went wrong."""
    with closing(delivery.open(job)) as plain, _printer(options) as printer:
        delivery.arm(job)
        started = time.monotonic()
        try:
            printer.print(plain, lambda: delivery.begin_part(job))
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            if delivery.journal.job(job.id).state is State.ARMED:
                delivery.cancel_early(job, None if stopped else why("failed_early", copy=job.copy))
            else:
                delivery.fail(job, why("cancelled", copy=job.copy) if stopped else None, _since(started))
            _stop(printer)
            _settle(delivery)
            raise
        delivery.finish(job, _since(started))
    tag = delivery.tag(job)
    print(f"Printed copy {tag.copy}, serial {tag.serial}.")
    _settle(delivery)


def _stop(printer: Printer) -> None:
    try:
        printer.stop()
    except (PrinterFailed, OSError) as error:
        print(f"The printer couldn't be told to stop ({error}). Switch it off.", file=sys.stderr)


def _report_failure(delivery: Delivery, journal: Journal, id: int) -> int:
    """Report the newest failed copy of a license, and wait until the chain says what became of that."""
    failed = next(
        (job for job in journal.recent() if job.license_id == id and job.state is State.FAILED), None
    )
    if failed is None:
        raise CannotPrint(f"No print of the license {format_id(id)} has failed here.")
    job = delivery.report_failure(failed)
    _settle(delivery)
    job = journal.job(job.id)
    print(job.reason)
    return 0 if job.reason is not None and job.reason.code == "given_back" else 1


def _settle(delivery: Delivery) -> None:
    """Tell what is queued. What can't be told now is told at the next start."""
    until = time.monotonic() + REPORTING
    while not delivery.settle_open() and time.monotonic() < until:
        time.sleep(1)


def _delivery(options: argparse.Namespace, journal: Journal) -> tuple[PrintLicense, Delivery]:
    """The contract from the address book, and everything that belongs to a print of it."""
    device = profile.load(options.profile)
    about = device.enrolment.portal
    rpc = HttpRpc(options.node)
    options.chain = chain_id(rpc)
    trusted = address_book.load(options.address_book, options.chain, PrintLicense.NAME)
    if (about.chain_id, about.contract.lower()) != (options.chain, trusted.address.lower()):
        raise CannotPrint("The portal works with another contract than the address book trusts.")
    licenses = PrintLicense(rpc, about.contract, trusted.block)
    finality = (
        parse_finality(options.finality) if options.finality else Rules.for_chain(options.chain).finality
    )
    signer = open_keystore(device.keystore, _password(options.password_file))
    delivery = Delivery(
        journal,
        signer,
        licenses,
        options.chain,
        Portal(device.url, signer, device.allow_http),
        Desk(about.desk_url, about.desk_address, signer, device.allow_http),
        options.profile / profile.SEALED,
        finality,
    )
    return licenses, delivery


def _printer(options: argparse.Namespace) -> Printer:
    path: Path = options.to
    return SerialPrinter(str(path), options.baud) if _is_port(path) else FilePrinter(path)


def _is_port(path: Path) -> bool:
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)


def _since(started: float) -> int:
    return int(time.monotonic() - started)


def _tell_progress(done: int, size: int) -> None:
    if sys.stderr.isatty():
        print(f"\rdownloading {100 * done // size} %", end="\n" if done == size else "", file=sys.stderr)


def _password(file: Path | None) -> str:
    if file is None:
        return getpass.getpass("Password of the device's key: ")
    return file.read_text().partition("\n")[0]


def _interrupt(_number: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _license(text: str) -> int:
    owner, slash, number = text.partition("/")
    try:
        return license_id(owner, number_from_text(number)) if slash else parse_id(text)
    except (InvalidLicenseNumber, ValueError) as error:
        raise argparse.ArgumentTypeError("a license is 0x and 64 digits, or OWNER/NUMBER") from error


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Print one copy of a license without a printer host.")
    parser.add_argument("license", type=_license, help="0x and 64 digits, or OWNER/NUMBER")
    parser.add_argument(
        "--profile", type=Path, required=True, help="folder that `imprimatur enrol` has filled"
    )
    parser.add_argument("--node", required=True, help="JSON-RPC address of a chain node")
    book = Path(os.environ.get("IMPRIMATUR_DEPLOYMENTS", "deployments"))
    parser.add_argument("--address-book", type=Path, default=book, help="contracts to trust")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--to", type=Path, help="serial port, or a file to make")
    what.add_argument(
        "--report-failure", action="store_true", help="report the last failed print of this license"
    )
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument(
        "--finality", help="`finalized`, or a number of confirmations; by the chain if left out"
    )
    parser.add_argument("--patience", type=float, default=3600, help="seconds to wait for chain and desk")
    parser.add_argument("--password-file", type=Path, help="file whose first line opens the device's key")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
