"""Build the one file that operators install: the plugin with the library inside, which is published nowhere.

    python -m tools.wheel [--to dist]

Both packages are copied beside each other and built by setuptools with the plugin's own metadata, less its
requirement of the library. The same sources give the same bytes: times are SOURCE_DATE_EPOCH, or the oldest
that a wheel can hold. Prints the path and the SHA-256 to publish with it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.translations import compile_all

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "octoprint_plugin"
LIBRARY = "imprimatur"
LICENSE = "AGPL-3.0-or-later AND Apache-2.0"
"""Of the plugin, and of the library in it."""
OLDEST = "315532800"
"""1980-01-01T00:00:00Z, where the times of zip archives begin."""
_BUILD = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"


class BuildFailed(Exception):
    """setuptools couldn't build it; the text is what it said."""


def metadata() -> dict[str, Any]:
    """What the wheel says about itself: the plugin's `[project]` with the library's license, and without it
    among the requirements."""
    project: dict[str, Any] = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    needed = [requirement for requirement in project["dependencies"] if requirement != LIBRARY]
    return project | {"dependencies": needed, "license": LICENSE, "license-files": ["LICENSES/*"]}


def _toml(name: str, table: Mapping[str, Any]) -> str:
    """A table with its sub-tables. Strings and lists of strings are written as in JSON."""
    # A quoted key is right whatever stands in it.
    flat = [f"{json.dumps(key)} = {json.dumps(v)}" for key, v in table.items() if not isinstance(v, dict)]
    deep = [_toml(f"{name}.{json.dumps(key)}", v) for key, v in table.items() if isinstance(v, dict)]
    return "\n".join([f"[{name}]", *flat, "", *deep])


def _stage(folder: Path) -> None:
    """Lay out everything that goes into the wheel."""
    described = tomllib.loads((PLUGIN / "pyproject.toml").read_text())
    library = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = {
        **described["tool"]["setuptools"]["package-data"],
        **library["tool"]["setuptools"]["package-data"],
    }
    setuptools = {"package-data": data, "packages": {"find": {"namespaces": False}}}
    text = [_toml("build-system", described["build-system"]), _toml("project", metadata())]
    text.append(_toml("tool", {"setuptools": setuptools}))
    (folder / "pyproject.toml").write_text("\n".join(text))
    shutil.copyfile(PLUGIN / "README.md", folder / "README.md")
    (folder / "LICENSES").mkdir()
    shutil.copyfile(PLUGIN / "LICENSE", folder / "LICENSES" / "AGPL-3.0-or-later.txt")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSES" / "Apache-2.0.txt")
    for package in (PLUGIN / "octoprint_imprimatur", ROOT / LIBRARY):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "*.mo", ".*")
        shutil.copytree(package, folder / package.name, ignore=ignored, copy_function=shutil.copyfile)
    compile_all((folder,))
    for path in folder.rglob("*"):
        # Not those of whoever checked the sources out.
        path.chmod(0o755 if path.is_dir() else 0o644)


def build(to: Path, epoch: str | None = None) -> Path:
    """Build the wheel into the folder `to`, which is made; its path.

    Args:
        epoch: Unix seconds that every file in it gets; SOURCE_DATE_EPOCH or `OLDEST` without it.

    Raises:
        BuildFailed
    """
    to = to.resolve()
    to.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"SOURCE_DATE_EPOCH": epoch or os.environ.get("SOURCE_DATE_EPOCH") or OLDEST}
    with tempfile.TemporaryDirectory() as name:
        stage, built = Path(name) / "stage", Path(name) / "built"
        stage.mkdir()
        built.mkdir()
        _stage(stage)
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, built],
            cwd=stage,
            env=env,
            umask=0o022,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BuildFailed(done.stdout + done.stderr)
        # Its name is the last line, below what setuptools tells.
        wheel = built / done.stdout.splitlines()[-1]
        return Path(shutil.copyfile(wheel, to / wheel.name))


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--to", type=Path, default=ROOT / "dist", help="folder for the wheel")
    try:
        wheel = build(options.parse_args(arguments).to)
    except BuildFailed as error:
        sys.stderr.write(f"{error}\nThe wheel couldn't be built; setuptools says why above.\n")
        return 1
    print(wheel)
    print(f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
