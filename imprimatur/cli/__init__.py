"""The command line `imprimatur`: for owners, auditors and whoever checks a part. Manual: `docs/cli.md`."""

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command that the process was started with; ends the process with one of `exit_codes`."""
    if find_spec("click") is None:
        print(
            "The command line needs the package click. Install it with: pip install 'imprimatur[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from imprimatur.cli.program import prepare_process, program

    prepare_process()
    program(prog_name="imprimatur")
