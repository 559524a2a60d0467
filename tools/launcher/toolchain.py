"""Installing: uv, node, three Python environments and npm's packages, all from hash-locked files."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.launcher.processes import end_with_launcher
from tools.launcher.steps import StepFailed, step, tail

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
LOGS = ROOT / ".imprimatur" / "install"
OLDEST_NODE = 18


@dataclass(frozen=True)
class Environment:
    """A virtual environment: its folder, its locked requirements, our own packages in it."""

    folder: str
    locks: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.folder

    def command(self, name: str) -> str:
        """Path of an executable in this environment."""
        return str(self.path / "bin" / name)


PORTAL = Environment(".venv", ("requirements.txt", "requirements/dev.txt"), (".",))
BROWNIE = Environment(".venv-brownie", ("requirements/brownie.txt",), (".",))
OCTOPRINT = Environment(".venv-octoprint", ("requirements/octoprint.txt",), (".", "octoprint_plugin"))


def run(argv: Sequence[object], log: str, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in a log file.

    Raises:
        StepFailed: with the log's tail.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    with path.open("w") as output:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_launcher,
        )
    if done.returncode:
        words = " ".join(map(str, argv))
        raise StepFailed(
            f"`{words}` ended with code {done.returncode}. {path.relative_to(ROOT)} ends:\n{tail(path)}"
        )


def _node_is_usable(node: str) -> bool:
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    major = version.strip().removeprefix("v").partition(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


@cache
def base_tools() -> Path | None:
    """Folder with our own uv and node, installed when the machine lacks one of them; else None."""
    node = shutil.which("node")
    if shutil.which("uv") and shutil.which("npm") and node and _node_is_usable(node):
        return None
    lock = ROOT / "requirements" / "tools.txt"
    stamp = TOOLS / "stamp"
    if not (stamp.exists() and stamp.read_text() == _digest([lock])):
        with step("uv and node, because this machine lacks one of them"):
            shutil.rmtree(TOOLS, ignore_errors=True)
            TOOLS.mkdir()
            try:
                run([sys.executable, "-m", "venv", TOOLS / "python"], "tools-venv")
            except StepFailed as error:
                raise StepFailed(
                    f"{error}\nPython can't make virtual environments here. On Debian: "
                    "apt-get install python3-venv."
                ) from error
            pip = [
                TOOLS / "python" / "bin" / "python",
                "-m",
                "pip",
                "install",
                "--require-hashes",
                "-r",
                lock,
            ]
            run(pip, "tools-pip")
            stamp.write_text(_digest([lock]))
    return TOOLS / "python" / "bin"


def child_environment() -> dict[str, str]:
    """Environment variables for everything we start."""
    env = dict(os.environ)
    if tools := base_tools():
        env["PATH"] = f"{tools}{os.pathsep}{env['PATH']}"
    # uv takes the interpreter that runs this program and never downloads another.
    env["UV_PYTHON_DOWNLOADS"] = "never"
    env["SOLCX_BINARY_PATH"] = str(ROOT / "tools" / "solcx")
    env["PYTHONUNBUFFERED"] = "1"
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        env.pop(name, None)
    return env


def uv(env: dict[str, str]) -> str:
    found = shutil.which("uv", path=env["PATH"])
    if found is None:
        raise StepFailed("uv isn't installed; remove .tools and start again.")
    return found


def _digest(paths: Sequence[Path]) -> str:
    """Changes when a file, the interpreter or this project's place changes."""
    seen = hashlib.sha256(f"{sys.version}{sys.executable}{ROOT}".encode())
    for path in paths:
        seen.update(path.read_bytes())
    return seen.hexdigest()


def install_environment(environment: Environment) -> None:
    """Make a virtual environment and fill it, unless it is as its lock files say already."""
    env = child_environment()
    locks = [ROOT / lock for lock in environment.locks]
    projects = [ROOT / package / "pyproject.toml" for package in environment.packages]
    stamp = environment.path / "stamp"
    digest = _digest(locks + projects)
    if stamp.exists() and stamp.read_text() == digest:
        return
    with step(f"Python packages for {environment.folder}"):
        name = environment.folder.removeprefix(".")
        tool = uv(env)
        if not (environment.path / "bin" / "python").exists():
            run([tool, "venv", "--clear", "--python", sys.executable, environment.path], f"{name}-venv", env)
        stamp.unlink(missing_ok=True)
        python = ["--python", environment.command("python")]
        # The lock files name everything; what OctoPrint's metadata asks beyond them is replaced on purpose.
        run([tool, "pip", "sync", "--require-hashes", *python, *map(str, locks)], f"{name}-packages", env)
        for package in environment.packages:
            own = [tool, "pip", "install", "--no-deps", "--no-build-isolation", *python, "-e", f"./{package}"]
            run(own, f"{name}-own", env)
        stamp.write_text(digest)


def install_npm() -> None:
    """The compiler, the chain node and the front end, from package-lock.json."""
    env = child_environment()
    stamp = ROOT / "node_modules" / "stamp"
    digest = _digest([ROOT / "package-lock.json"])
    if stamp.exists() and stamp.read_text() == digest:
        return
    with step("npm packages: compiler, chain node, styles"):
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "npm", env)
        stamp.write_text(digest)


def install(*environments: Environment) -> None:
    """Everything that the named environments need, at once where nothing depends on the other."""
    child_environment()
    jobs = [lambda e=e: install_environment(e) for e in environments]
    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        running = [pool.submit(job) for job in (install_npm, *jobs)]
    for job in running:
        job.result()
    if PORTAL in environments:
        env = child_environment()
        run([PORTAL.command("python"), "tools/vendor.py"], "vendor", env)
        run([PORTAL.command("python"), "tools/translations.py"], "translations", env)


def anvil() -> Path:
    """The native binary of npm's anvil package."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil*"))
    if not found:
        raise StepFailed("npm installed no anvil for this machine's system and processor.")
    return found[0]
