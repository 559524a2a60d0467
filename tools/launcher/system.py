"""Programs of the operating system that some suites need; installed through apt when they are missing."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.launcher.processes import run_to_end
from tools.launcher.steps import StepFailed, step, tail
from tools.launcher.toolchain import LOGS, ROOT


@dataclass(frozen=True)
class Program:
    """How people call it, Debian's packages, and where it is found."""

    name: str
    package: str
    """Several are separated by spaces."""
    find: Callable[[], str | None]


def _chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def _newest(folder: str, pattern: str) -> str | None:
    found = sorted(Path(folder).glob(pattern))
    return str(found[-1]) if found else None


def _all(*names: str) -> str | None:
    """Where the first is found, when all are."""
    found = [shutil.which(name) for name in names]
    return found[0] if all(found) else None


def _postgres() -> str | None:
    return shutil.which("postgres") or _newest("/usr/lib/postgresql", "*/bin/postgres")


def _softhsm() -> str | None:
    return _newest("/usr/lib", "softhsm/libsofthsm2.so") or _newest("/usr/lib", "*/softhsm/libsofthsm2.so")


CHROMIUM = Program("Chromium", "chromium", _chromium)
AGE = Program("age", "age", lambda: shutil.which("age"))
SOFTHSM = Program("SoftHSM", "softhsm2", _softhsm)
POSTGRES = Program("PostgreSQL", "postgresql", _postgres)


S3 = Program(
    "OpenStack Swift",
    "swift-proxy swift-account swift-container swift-object memcached",
    lambda: _all(
        "swift-proxy-server",
        "swift-account-server",
        "swift-container-server",
        "swift-object-server",
        "memcached",
    ),
)


def ensure(programs: Sequence[Program]) -> None:
    """Install what is missing, when this user may.

    Raises:
        StepFailed: something is missing; says what to install.
    """
    missing = [program for program in programs if program.find() is None]
    if not missing:
        return
    names, packages = (
        ", ".join(p.name for p in missing),
        [package for p in missing for package in p.package.split()],
    )
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise StepFailed(f"The tests need {names}. Install: sudo apt-get install {' '.join(packages)}")
    with step(f"{names}, through apt"):
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / "apt.log"
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        with log.open("w") as output:
            for argv in ([apt, "update"], [apt, "install", "-y", "--no-install-recommends", *packages]):
                code, _ = run_to_end(argv, output, env, ROOT)
                if code:
                    raise StepFailed(f"apt couldn't install {names}. {log} ends:\n{tail(log)}")
    for program in missing:
        if program.find() is None:
            raise StepFailed(f"apt installed {program.package}, but {program.name} isn't found.")
