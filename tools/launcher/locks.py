"""Locked requirements: `requirements/*.in`, compiled with hashes, without any index's address."""

import hashlib
from pathlib import Path

from tools.launcher.steps import step
from tools.launcher.toolchain import ROOT, child_environment, run, uv

REQUIREMENTS = ROOT / "requirements"
MARK = "# compiled by `run.py lock` from"
# In this order: dev.in is constrained by the compiled portal.in.
COMPILED = {
    "portal.in": ROOT / "requirements.txt",
    "dev.in": REQUIREMENTS / "dev.txt",
    "brownie.in": REQUIREMENTS / "brownie.txt",
    "octoprint.in": REQUIREMENTS / "octoprint.txt",
    "octoprint2.in": REQUIREMENTS / "octoprint2.txt",
    "verify.in": REQUIREMENTS / "verify.txt",
    "tools.in": REQUIREMENTS / "tools.txt",
}


def header(source: str) -> str:
    """First line of a compiled file: what it was compiled from, to see when it is stale."""
    digest = hashlib.sha256((REQUIREMENTS / source).read_bytes()).hexdigest()
    return f"{MARK} {source} sha256:{digest}\n"


def is_stale(source: str, compiled: Path) -> bool:
    """Whether the source has changed since it was compiled."""
    return not compiled.exists() or not compiled.read_text().startswith(header(source))


def lock(upgrade: bool = False) -> None:
    """Compile what is stale, or all of it to the newest allowed versions."""
    env = child_environment()
    for source, compiled in COMPILED.items():
        if not upgrade and not is_stale(source, compiled):
            continue
        with step(f"{source} → {compiled.relative_to(ROOT)}"):
            options = ["--universal", "--generate-hashes", "--no-header", "--no-emit-index-url", "--upgrade"]
            if not upgrade:
                options.remove("--upgrade")
            if source.startswith("octoprint"):
                options += ["--override", str(REQUIREMENTS / "octoprint-overrides.txt")]
            argv = [uv(env), "pip", "compile", "--python-version", "3.11", *options]
            run([*argv, "-o", compiled, REQUIREMENTS / source], f"lock-{source}", env)
            compiled.write_text(header(source) + compiled.read_text().removeprefix(header(source)))
