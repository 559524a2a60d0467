"""The test suites: which environment each needs, run two at a time, one table at the end."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.launcher.processes import run_to_end
from tools.launcher.steps import say, tail
from tools.launcher.system import AGE, CHROMIUM, POSTGRES, S3, SOFTHSM, Program, ensure
from tools.launcher.toolchain import (
    BROWNIE,
    OCTOPRINT,
    OCTOPRINT2,
    PORTAL,
    ROOT,
    VERIFY,
    Environment,
    child_environment,
)

LOGS = ROOT / ".imprimatur" / "test"
SUITE_TIMEOUT = 1500
"""Seconds after which a suite is stopped and counts as failed."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
ROOM = 4 * 2**30
"""Bytes that must be free in MEMORY."""
_COUNTS = re.compile(r"(\d+) (passed|failed|error|errors|skipped)\b")


@dataclass(frozen=True)
class Suite:
    """One suite: its commands, all of which must end with 0."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    lane: int
    needs: tuple[Program, ...] = ()
    installs: tuple[Environment, ...] = ()
    """Environments that only this suite needs."""
    in_memory: bool = False
    """Whether pytest's temporary folders may lie in memory."""


@dataclass(frozen=True)
class Result:
    """How a suite ended."""

    suite: Suite
    succeeded: bool
    passed: int
    failed: int
    skipped: int
    seconds: float
    log: Path


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (PORTAL.command("python"), "-m", "pytest", *arguments)


def _in_octoprint(folder: str) -> tuple[str, ...]:
    return (OCTOPRINT.command("python"), "-m", "pytest", folder)


# Two lanes, because two cores are what a small machine has; the slowest has one of its own.
ALL = (
    Suite(
        "checks",
        (
            (PORTAL.command("ruff"), "check", "."),
            (PORTAL.command("ruff"), "format", "--check", "."),
            (PORTAL.command("mypy"), "imprimatur", "app/services", "tools/launcher"),
        ),
        lane=0,
    ),
    Suite(
        "proofs",
        ((PORTAL.command("python"), "-m", "tools.verify", "--quick", "--env", str(VERIFY.path)),),
        lane=1,
    ),
    Suite("unit", (_pytest("tests/unit"),), lane=0, in_memory=True),
    Suite("library", (_pytest("tests/library"),), lane=1, needs=(AGE, SOFTHSM), in_memory=True),
    Suite("contracts", ((BROWNIE.command("python"), "tools/brownie_cli.py", "test"),), lane=0),
    Suite("reference", (_pytest("tests/reference"),), lane=0),
    Suite("portal", (_pytest("tests/portal"),), lane=0, needs=(POSTGRES, S3), in_memory=True),
    Suite("plugin", (_in_octoprint("tests/plugin"),), lane=0, needs=(SOFTHSM,), in_memory=True),
    Suite("crashes", (_in_octoprint("tests/crashes"),), lane=1),
    Suite("delivery", (_pytest("tests/delivery"),), lane=1, in_memory=True),
    Suite("e2e", (_pytest("tests/e2e"),), lane=1, needs=(CHROMIUM, SOFTHSM), in_memory=True),
    Suite(
        "octoprint2",
        ((OCTOPRINT2.command("python"), "-m", "pytest", "tests/octoprint2"),),
        lane=1,
        needs=(CHROMIUM,),
        installs=(OCTOPRINT2,),
        in_memory=True,
    ),
)
NAMES = tuple(suite.name for suite in ALL)


def _run_command(argv: tuple[str, ...], log: Path, env: dict[str, str]) -> bool:
    """Whether the command ended with 0 in time."""
    with log.open("a") as output:
        output.write(f"$ {' '.join(argv)}\n")
        output.flush()
        started = time.monotonic()
        code, _ = run_to_end(argv, output, env, ROOT, timeout=SUITE_TIMEOUT)
        if time.monotonic() - started > SUITE_TIMEOUT:
            output.write(f"stopped after {SUITE_TIMEOUT} s\n")
        return code == 0


def _run_suite(suite: Suite, env: dict[str, str]) -> Result:
    started = time.monotonic()
    log = LOGS / f"{suite.name}.log"
    log.write_text("")
    say(f"… {suite.name}")
    # All commands run, so that one look shows everything that is wrong.
    with _temporary_folders(env) if suite.in_memory else nullcontext(env) as env:
        outcomes = [_run_command(argv, log, env) for argv in suite.commands]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    summaries = [
        line for line in log.read_text(errors="replace").splitlines() if re.match(r"=+ .* in [\d.]+s", line)
    ]
    for number, kind in _COUNTS.findall(" ".join(summaries)):
        counts["failed" if kind.startswith("error") else kind] += int(number)
    if not summaries:
        counts["passed"], counts["failed"] = outcomes.count(True), outcomes.count(False)
    succeeded = all(outcomes) and counts["failed"] == 0 and counts["skipped"] == 0 and counts["passed"] > 0
    seconds = time.monotonic() - started
    say(f"{'✓' if succeeded else '✗'} {suite.name} ({seconds:.0f} s)")
    return Result(suite, succeeded, seconds=seconds, log=log, **counts)


def _run_lane(suites: list[Suite], env: dict[str, str]) -> list[Result]:
    return [_run_suite(suite, env) for suite in suites]


@contextmanager
def _temporary_folders(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """`env`, with pytest's temporary folders in memory where there is room for them.

    Databases wait for the disk at every commit. That is for power cuts, and no test cuts the power.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM:
        yield env
        return
    with TemporaryDirectory(prefix="imprimatur-test-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield env | {"PYTEST_DEBUG_TEMPROOT": folder}


def _table(results: list[Result]) -> str:
    rows = [f"{'suite':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>9}"]
    rows += [
        f"{r.suite.name:<12}{r.passed:>8}{r.failed:>8}{r.skipped:>9}{r.seconds:>7.0f} s"
        f"{'' if r.succeeded else '   FAILED'}"
        for r in results
    ]
    return "\n".join(rows)


def chosen_by(names: list[str]) -> list[Suite]:
    """The named suites, or all."""
    return [suite for suite in ALL if not names or suite.name in names]


def run_suites(names: list[str]) -> int:
    """Run the named suites, or all; 0 when every one succeeded. A skipped test counts as a failure."""
    chosen = chosen_by(names)
    env = child_environment()
    needed = {program for suite in chosen for program in suite.needs}
    ensure(sorted(needed, key=lambda program: program.name))
    if CHROMIUM in needed:
        env["IMPRIMATUR_CHROMIUM"] = CHROMIUM.find() or ""
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        lanes = [pool.submit(_run_lane, [s for s in chosen if s.lane == lane], env) for lane in (0, 1)]
    results = [result for lane in lanes for result in lane.result()]
    for result in results:
        if not result.succeeded:
            say(f"\n{result.suite.name} failed. {result.log.relative_to(ROOT)} ends:\n{tail(result.log, 60)}")
    say(f"\n{_table(results)}")
    failed = sum(r.failed or not r.succeeded for r in results)
    say(f"\n{len(results)} suites in {time.monotonic() - started:.0f} s")
    say(f"{sum(r.passed for r in results)} passed, {failed} failed")
    return 0 if failed == 0 else 1
