"""The program: its verbs, loaded when they are needed, and how it ends."""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from imprimatur import __version__
from imprimatur.cli import stopping
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.failure import Failure, failure_of, stopped_by
from imprimatur.cli.result import Result, complain, explain, nowhere, show, write

DEBUG = "IMPRIMATUR_DEBUG"
"""Environment variable: with 1, the trace of an unexpected error is shown."""

VERBS = {
    "hash": "imprimatur.cli.hashing:hash",
    "seal": "imprimatur.cli.sealing:seal",
    "open": "imprimatur.cli.sealing:open",
    "keys": "imprimatur.cli.keys:keys",
    "license": "imprimatur.cli.license:license",
    "certificate": "imprimatur.cli.certificate:certificate",
    "verify": "imprimatur.cli.verify:verify",
    "audit": "imprimatur.cli.audit:audit",
    "enrol": "imprimatur.cli.device:enrol",
    "jobs": "imprimatur.cli.device:jobs",
    "print": "imprimatur.cli.printing:print_",
    "completion": "imprimatur.cli.completion:completion",
}
"""Verb and where its command is. Modules of verbs import nothing heavy themselves."""


class Program(click.Group):
    """Verbs that return a `Result`. However one ends: one object or text on stdout, an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        **extra: Any,
    ) -> Any:
        """Run and end the process with one of `ExitCode`."""
        given = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in given[: given.index("--")] if "--" in given else "--json" in given
        try:
            if any("\0" in argument for argument in given):
                raise click.UsageError("No argument can hold a zero byte.")
            result = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
            stopping.let_go()
            if isinstance(result, Result):
                show(result, as_json)
                sys.exit(result.exit_code)
        except (Exception, KeyboardInterrupt) as error:
            stopping.let_go()
            sys.exit(_tell(error, as_json))
        # Help, version and completion have written what they have to say.
        sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _tell(error: BaseException, as_json: bool) -> ExitCode:
    if type(error).__name__ == "NoArgsIsHelpError" and isinstance(error, click.UsageError) and error.ctx:
        explain(error.ctx.get_help())
        failure = Failure("Usage", "There is no verb. `imprimatur --help` lists them.", ExitCode.USAGE)
    else:
        signal = stopping.received()
        failure = failure_of(error) if signal is None else stopped_by(signal)
        if failure.unexpected and os.environ.get(DEBUG) == "1":
            explain("".join(traceback.format_exception(error)))
        complain(failure.message)
    if as_json:
        import json

        with suppress(OSError):
            write(json.dumps(failure.members(), indent=2))
    return failure.exit_code


def prepare_process() -> None:
    """Before the program runs as a process of its own.

    Raises:
        SystemExit: there is no stdout, so nobody would get the answer.
    """
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a letter gets a question mark, not the end of the program.
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    stopping.catch()


def _open_streams() -> None:
    """Something in the place of each closed stream: the next file would get its number otherwise.

    Reading what stands for a closed stdin fails, as it should: there is nothing that could be hashed.
    """
    mute = sys.stdout is None
    if sys.stdin is None:
        sys.stdin = open(os.open(os.devnull, os.O_WRONLY))  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = nowhere()
    if sys.stderr is None:
        sys.stderr = nowhere()
    if mute:
        complain("There is no standard output for the answer. Leave it open; /dev/null is one too.")
        sys.exit(ExitCode.FAILED)


@click.command(
    cls=Program,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 yes, 1 no, 2 usage, 3 not anchored, 4 chain node, 5 no answer, 130 interrupted.",
)
@click.version_option(__version__, prog_name="imprimatur")
def program() -> None:
    """Print licenses on Ethereum: seal files, check parts and certificates, audit everything."""
