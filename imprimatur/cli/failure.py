"""Which sentence and exit code an error means."""

import signal
from dataclasses import dataclass, field
from typing import Any

import click

from imprimatur.cli.exit_codes import ExitCode
from imprimatur.errors import ImprimaturError

_LONGEST_FACT = 200


class CommandFailed(ImprimaturError):
    """A command can't be carried out for a reason of the command line's own: nothing was changed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is told: `type` is a stable name, `facts` are the error's own values."""

    type: str
    message: str
    exit_code: ExitCode
    facts: dict[str, Any] = field(default_factory=dict)
    unexpected: bool = False

    def members(self) -> dict[str, Any]:
        error: dict[str, Any] = {"type": self.type, "message": self.message, "exitCode": int(self.exit_code)}
        return {"error": error | ({"facts": self.facts} if self.facts else {})}


def failure_of(error: BaseException) -> Failure:
    """What to say about an error that ended a command."""
    name = type(error).__name__
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "imprimatur"
        # click lists what can be chosen in lines of their own.
        sentence = " ".join(error.format_message().split())
        return Failure("Usage", f"{sentence} `{command} --help` explains it.", ExitCode.USAGE)
    if isinstance(error, click.ClickException):
        return Failure("Usage", error.format_message(), ExitCode.USAGE)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return stopped_by(signal.SIGINT)
    if isinstance(error, ImprimaturError):
        return Failure(name, str(error), _exit_code(error), _facts(error))
    if isinstance(error, OSError):
        return Failure("File", _about_file(error), ExitCode.FAILED)
    if isinstance(error, ModuleNotFoundError):
        sentence = f"The package {error.name} is missing. Install it with: pip install 'imprimatur[cli]'"
        return Failure("Installation", sentence, ExitCode.FAILED)
    sentence = (
        f"Something went wrong that shouldn't ({name}). Run it again with IMPRIMATUR_DEBUG=1 and report "
        "what it prints."
    )
    return Failure("Unexpected", sentence, ExitCode.FAILED, unexpected=True)


def stopped_by(number: int) -> Failure:
    """What to say when the signal with this number stopped a command."""
    code = ExitCode(128 + number)
    type, sentence = {
        ExitCode.HUNG_UP: ("HungUp", "The terminal went away."),
        ExitCode.INTERRUPTED: ("Interrupted", "Interrupted."),
        ExitCode.TERMINATED: ("Terminated", "Stopped from outside."),
    }[code]
    return Failure(type, f"{sentence} Nothing half-written was left.", code)


def _exit_code(error: ImprimaturError) -> ExitCode:
    from imprimatur.address_book import AddressBookDamaged, NotDeployed
    from imprimatur.audit.portal import PortalUnreadable
    from imprimatur.audit.rebuild import BlockUnknown, NothingToAudit
    from imprimatur.certificate.errors import NodeInconsistent as AnswersDiffer
    from imprimatur.chain.events.errors import NodeInconsistent
    from imprimatur.chain.interface import MalformedData
    from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
    from imprimatur.chain.signers import KeystoreUnusable
    from imprimatur.device.errors import AddressRefused, PortalBusy, PortalConfused, PortalUnreachable
    from imprimatur.device.profile import ProfileUnusable

    no_answer = (NodeUnreachable, NodeRefused, NodeInconsistent, AnswersDiffer, MalformedData, BlockUnknown)
    if isinstance(error, no_answer):
        return ExitCode.NODE
    unusable = (AddressBookDamaged, CommandFailed, KeystoreUnusable, NotDeployed, PortalUnreadable)
    portal = (AddressRefused, PortalBusy, PortalConfused, PortalUnreachable, ProfileUnusable)
    if isinstance(error, (*unusable, *portal, NothingToAudit)):
        return ExitCode.FAILED
    return ExitCode.NO


def _facts(error: ImprimaturError) -> dict[str, Any]:
    """The error's own values, as far as JSON has them."""
    return {
        name: value
        for name, value in vars(error).items()
        if isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= _LONGEST_FACT)
    }


def _about_file(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"A file can't be read or written: {reason}."
    if isinstance(error, FileExistsError):
        return f"There is something at {error.filename} already. Choose another name: nothing is overwritten."
    return f"{error.filename}: {reason}."
