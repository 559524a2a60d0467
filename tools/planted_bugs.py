"""Plant ten bugs in a copy of the contracts, one at a time, and show which tests catch each.

    python -m tools.planted_bugs                      forge tests and invariants
    python -m tools.planted_bugs --halmos PATH        the symbolic proof that fits each bug, too

Ends with 1 when a bug survives. A proof is worth what it refuses: this is the test of the tests.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LICENSE = "contracts/PrintLicense.sol"
BASE = "contracts/base/LicenseToken.sol"
COPIES = ROOT / "build" / "planted"
_QUICK = {
    "FOUNDRY_FUZZ_RUNS": "64",
    "FOUNDRY_INVARIANT_RUNS": "20",
    # Which bug it is, is known: no time for the shortest way to it.
    "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0",
}
TIMEOUT = 600
"""Seconds after which one run of a tool is stopped."""


class SourceChanged(Exception):
    """The text in which a bug is planted isn't there exactly once."""

    def __init__(self, bug: str, path: str, count: int) -> None:
        super().__init__(f"{bug}: expected its text once in {path}, found it {count} times; renew the bug")


@dataclass(frozen=True)
class Bug:
    """One bug: `good` stands exactly once in `path` and becomes `bad`."""

    name: str
    path: str
    good: str
    bad: str
    proof: str | None
    """The halmos check that must refuse it; none where it lies in signatures or callbacks."""


BUGS = (
    Bug(
        "anyone may print",
        LICENSE,
        "if (DEVICES.walletOf(device) != state.printer()) return NotThePrinter.selector;",
        "",
        "check_onlyThePrinterConsumes",
    ),
    Bug(
        "hash not compared",
        LICENSE,
        "if (fileHash != _licenses[id].fileHash && !_alternativeFiles[id][fileHash]) "
        "return FileHashMismatch.selector;",
        "",
        "check_useNeedsTheRightHash",
    ),
    Bug(
        "remaining unchecked",
        LICENSE,
        "if (state.remaining() == 0) return LicenseExhausted.selector;",
        "",
        "check_useNeedsTheRightHash",
    ),
    Bug(
        "number reissued",
        LICENSE,
        "if (record.state.exists()) revert LicenseExists(id);",
        "if (record.state.exists() && record.state.remaining() != 0) revert LicenseExists(id);",
        "check_idsBelongToTheirOwners",
    ),
    Bug(
        "owner check missing",
        LICENSE,
        "_requireOwnersSide(ownerOf(id), RIGHT_REVOKE);",
        "",
        "check_noStrangerChangesALicense",
    ),
    Bug(
        "grant overflow",
        LICENSE,
        "if (most > type(uint16).max) revert TooManyCopies(id, most);\n        if (forCopy != 0) {",
        "if (forCopy != 0) {",
        "check_countersStayInBounds",
    ),
    Bug(
        "copy failed twice",
        LICENSE,
        "if (age >= WINDOW || state.isClosed(age)) return CopyNotRefundable.selector;",
        "if (age >= WINDOW) return CopyNotRefundable.selector;",
        "check_noCopyFailsTwice",
    ),
    Bug(
        "re-entrant transfer",
        BASE,
        "        _moveLicense(id, from, to, value);\n"
        "        emit TransferSingle(msg.sender, from, to, id, value);\n"
        "        _acknowledge(from, to, id, value, data);\n",
        "        _acknowledge(from, to, id, value, data);\n"
        "        _moveLicense(id, from, to, value);\n"
        "        emit TransferSingle(msg.sender, from, to, id, value);\n",
        None,
    ),
    Bug(
        "signature replay",
        LICENSE,
        "if (use.copy != uint256(state.used()) + 1) return CopyOutOfOrder.selector;",
        "",
        None,
    ),
    Bug(
        "use after revoke",
        LICENSE,
        "if (flags & REVOKED != 0) return LicenseIsRevoked.selector;",
        "",
        "check_noUseAfterRevocationOrExpiry",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What a planted bug led to."""

    bug: Bug
    tests: tuple[str, ...]
    invariants: bool
    proof: bool | None
    """Whether the proof refused it; none when no proof was run."""
    seconds: float

    @property
    def caught(self) -> bool:
        """By a test or the invariants; and by the proof, when one was run."""
        return bool(self.tests or self.invariants) and self.proof is not False


def _copy_project(target: Path) -> None:
    """What forge needs. Its cache in `target` stays, so that a bug compiles its own file only."""
    target.mkdir(parents=True, exist_ok=True)
    for folder in ("contracts", "tests/forge", "tests/halmos"):
        shutil.rmtree(target / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, target / folder)
    shutil.copy2(ROOT / "foundry.toml", target)
    for linked in ("node_modules", "tools"):
        if not (target / linked).exists():
            (target / linked).symlink_to(ROOT / linked)


def _plant(project: Path, bug: Bug) -> str:
    """Plants the bug; the good source."""
    path = project / bug.path
    source = path.read_text()
    count = source.count(bug.good)
    if count != 1:
        raise SourceChanged(bug.name, bug.path, count)
    path.write_text(source.replace(bug.good, bug.bad))
    return source


def _run(argv: list[str], project: Path, variables: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        argv,
        cwd=project,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return done.returncode, done.stdout + done.stderr


def failing_tests(output: str) -> list[str]:
    """Names of the tests that forge reports as failed, each once, in order."""
    names = re.findall(r"^\[FAIL.*?\] ?(\w+)\(.*?\) \((?:runs|gas)", output, re.MULTILINE)
    names += re.findall(r"^ (invariant_\w+)\(\) \(runs", output, re.MULTILINE)
    return list(dict.fromkeys(names))


def _judge(bug: Bug, project: Path, forge: str, halmos: str | None) -> Verdict:
    started = time.monotonic()
    good = _plant(project, bug)
    try:
        code, output = _run([forge, "test", "--fuzz-seed", "1"], project, _QUICK)
        failed = failing_tests(output)
        if code != 0 and not failed:
            raise RuntimeError(f"{bug.name}: forge failed without a failing test:\n{output[-2000:]}")
        proof = None
        if halmos and bug.proof:
            proof = _is_refused(bug.proof, project, forge, halmos)
    finally:
        (project / bug.path).write_text(good)
    world = [name for name in failed if name.startswith(("invariant_", "test_worldReaches"))]
    tests = tuple(name for name in failed if name not in world)
    return Verdict(bug, tests, bool(world), proof, time.monotonic() - started)


def _is_refused(proof: str, project: Path, forge: str, halmos: str) -> bool:
    """Whether halmos finds a counterexample."""
    variables = {
        "FOUNDRY_PROFILE": "halmos",
        "PATH": f"{Path(forge).parent}{os.pathsep}{os.environ['PATH']}",
    }
    argv = [
        halmos,
        "--forge-build-out",
        "build/halmos/out",
        "--no-status",
        "--early-exit",
        "--function",
        proof,
    ]
    code, output = _run(argv, project, variables)
    if not re.search(r"Symbolic test result: (?:1 passed; 0|0 passed; 1) failed", output):
        raise RuntimeError(f"{proof}: halmos gave no result:\n{output[-2000:]}")
    return code != 0 and "Counterexample" in output


def _work(bugs: tuple[Bug, ...], project: Path, forge: str, halmos: str | None) -> list[Verdict]:
    """Judges the bugs one after the other in one copy of the project."""
    _copy_project(project)
    # What all bugs share is compiled before the first clock starts, and must be right without a bug.
    code, output = _run([forge, "test", "--fuzz-seed", "1"], project, _QUICK)
    if code != 0:
        raise RuntimeError(f"without a bug the tests must pass:\n{output[-2000:]}")
    return [_judge(bug, project, forge, halmos) for bug in bugs]


def find_forge() -> str:
    """Path of forge's native binary as npm installed it."""
    found = sorted((ROOT / "node_modules" / "@foundry-rs").glob("forge-*/bin/forge*"))
    if not found:
        raise FileNotFoundError("forge is missing; run: npm ci --ignore-scripts")
    return str(found[0])


def judge_all(forge: str, halmos: str | None = None, workers: int = 2) -> list[Verdict]:
    """A verdict for each bug, in the order of `BUGS`."""
    shares = [BUGS[i::workers] for i in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        running = [
            pool.submit(_work, share, COPIES / str(i), forge, halmos) for i, share in enumerate(shares)
        ]
        verdicts = [verdict for worker in running for verdict in worker.result()]
    return sorted(verdicts, key=lambda verdict: BUGS.index(verdict.bug))


def table(verdicts: list[Verdict]) -> str:
    """Lines for people."""
    rows = [f"{'planted bug':<21}{'tests':>6}  {'invariants':<11}{'halmos':<38}{'time':>6}  first test"]
    for it in verdicts:
        proof = "-" if it.proof is None else f"{it.bug.proof}" if it.proof else f"SURVIVED {it.bug.proof}"
        first = it.tests[0] if it.tests else "" if it.caught else "SURVIVED"
        world = "caught" if it.invariants else "-"
        rows.append(
            f"{it.bug.name:<21}{len(it.tests):>6}  {world:<11}{proof:<38}{it.seconds:>4.0f} s  {first}"
        )
    rows.append(f"{sum(it.caught for it in verdicts)} of {len(verdicts)} bugs caught")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--halmos", metavar="PATH", help="halmos, to run the symbolic proofs too")
    parser.add_argument("--workers", type=int, default=2, help="bugs judged at a time")
    arguments = parser.parse_args()
    verdicts = judge_all(find_forge(), arguments.halmos, arguments.workers)
    sys.stdout.write(table(verdicts) + "\n")
    return 0 if all(verdict.caught for verdict in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
