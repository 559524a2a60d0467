"""Virtual environments with OctoPrint and what the plugin requires, and nothing of ours: made in a moment."""

import os
import subprocess
import sys
from pathlib import Path

from support.octoprint import ENVIRONMENT

OURS = ("imprimatur", "octoprint_imprimatur")
"""Packages that an operator's wheel holds."""


def site_packages(environment: Path) -> Path:
    """Where its packages lie."""
    return next((environment / "lib").glob("python*/site-packages"))


def make_environment(folder: Path, pip: bool) -> Path:
    """Make one in `folder`, which is returned. Its packages are those of our OctoPrint, seen through links.

    Args:
        pip: whether it has one, as OctoPrint's Plugin Manager needs it; takes three seconds more.
    """
    python = os.path.realpath(sys._base_executable)
    options = [] if pip else ["--without-pip"]
    subprocess.run([python, "-m", "venv", *options, folder], check=True, timeout=120)
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    for entry in site_packages(ENVIRONMENT).iterdir():
        if not entry.name.removeprefix("__editable__").strip("_.").startswith(OURS):
            (dependencies / entry.name).symlink_to(entry)
    (site_packages(folder) / "dependencies.pth").write_text(f"{dependencies}\n")
    command = folder / "bin" / "octoprint"
    command.write_text(
        f"#!{folder / 'bin' / 'python'}\nimport sys\nfrom octoprint import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    return folder
