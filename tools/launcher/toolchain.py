"""Installing: uv, node, Python environments and npm's packages, all from hash-locked files."""

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

from tools.launcher.processes import run_to_end
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
VERIFY = Environment(".venv-verify", ("requirements/verify.txt",), ())
OCTOPRINT = Environment(".venv-octoprint", ("requirements/octoprint.txt",), (".", "octoprint_plugin"))
OCTOPRINT2 = Environment(".venv-octoprint2", ("requirements/octoprint2.txt",), (".", "octoprint_plugin"))


def run(argv: Sequence[object], log: str, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in a log file.

    Raises:
        StepFailed: with the log's tail.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    with path.open("w") as output:
        code, _ = run_to_end(argv, output, dict(os.environ) if env is None else env, ROOT)
    if code:
        words = " ".join(map(str, argv))
        raise StepFailed(f"`{words}` ended with code {code}. {path.relative_to(ROOT)} ends:\n{tail(path)}")


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
    wanted = _origin(TOOLS) + _digest([lock])
    if not (stamp.exists() and stamp.read_text() == wanted):
        with step("uv and node, because this machine lacks one of them"):
            shutil.rmtree(TOOLS, ignore_errors=True)
            TOOLS.mkdir()
            try:
                run([interpreter(), "-m", "venv", TOOLS / "python"], "tools-venv")
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
            stamp.write_text(wanted)
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
    # What we start talks to what we start.
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, (env.get(name), "127.0.0.1", "localhost")))
    if not os.access(Path.home(), os.W_OK):
        env["UV_CACHE_DIR"], env["npm_config_cache"] = str(TOOLS / "uv-cache"), str(TOOLS / "npm-cache")
    for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"):
        env.pop(name, None)
    return env


def uv(env: dict[str, str]) -> str:
    found = shutil.which("uv", path=env["PATH"])
    if found is None:
        raise StepFailed("uv isn't installed; remove .tools and start again.")
    return found


def interpreter() -> str:
    """The Python below any virtual environment that this program may itself run in."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _digest(paths: Sequence[Path]) -> str:
    """Changes when one of the files does."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _origin(folder: Path) -> str:
    """Where an environment stands and what made it: its scripts name both, so it can't be moved."""
    return f"{folder}\n{interpreter()}\n{sys.version}\n"


def install_environment(environment: Environment) -> None:
    """Make a virtual environment and fill it, unless it is as its lock files say already."""
    env = child_environment()
    locks = [ROOT / lock for lock in environment.locks]
    projects = [ROOT / package / "pyproject.toml" for package in environment.packages]
    stamp = environment.path / "stamp"
    digest = _digest(locks + projects)
    made = environment.path / "made-by"
    is_ours = made.exists() and made.read_text() == _origin(environment.path)
    if is_ours and stamp.exists() and stamp.read_text() == digest:
        return
    with step(f"Python packages for {environment.folder}"):
        name = environment.folder.removeprefix(".")
        tool = uv(env)
        if not is_ours:
            run([tool, "venv", "--clear", "--python", interpreter(), environment.path], f"{name}-venv", env)
            made.write_text(_origin(environment.path))
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
