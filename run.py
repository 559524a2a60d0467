#!/usr/bin/env python3
"""Imprimatur's one entry point: `python3 run.py demo`, `python3 run.py test`. Standard library only."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where the user learns it
    sys.exit(f"Imprimatur needs Python 3.11 or newer; this is {sys.version.split()[0]}.")

from tools.launcher.commands import main

if __name__ == "__main__":
    sys.exit(main())
