"""Everything that speaks for the contracts, in one table.

    python -m tools.verify --env FOLDER            all of it
    python -m tools.verify --env FOLDER --quick    what a change must pass: style, tests, static analysis
    python -m tools.verify --fuzz                  the same tests and invariants for long, with new seeds

FOLDER is an environment with slither and halmos (requirements/verify.in). forge comes from node_modules.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import planted_bugs

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "verify"
TIMEOUT = 1200
"""Seconds after which one tool is stopped."""
FUZZ_TIMEOUT = 6 * 3600
LEAST_BRANCHES = 100.0
LEAST_LINES = 99.0
"""Per cent. The lines that coverage can't see are listed in docs/contracts-proof.md."""
LEAST_PROOFS = 14


@dataclass(frozen=True)
class Step:
    """One tool: its arguments, and how its output reads."""

    name: str
    argv: list[str]
    variables: dict[str, str]
    read: Callable[[str], tuple[bool, str]]
    timeout: int = TIMEOUT


@dataclass(frozen=True)
class Result:
    """How one step ended."""

    name: str
    succeeded: bool
    says: str
    seconds: float
    log: Path


def _silent(_output: str) -> tuple[bool, str]:
    return True, "clean"


def read_lint(output: str) -> tuple[bool, str]:
    """forge lint ends with 0 whatever it finds."""
    found = len(re.findall(r"^(?:warning|error|note)\[", output, re.MULTILINE))
    return found == 0, "clean" if found == 0 else f"{found} findings"


def read_tests(output: str) -> tuple[bool, str]:
    """Passed, failed and skipped of `forge test`; a skipped test is a failure."""
    total = re.search(r"(\d+) tests passed, (\d+) failed, (\d+) skipped", output)
    if total is None:
        return False, "no result"
    passed, failed, skipped = (int(number) for number in total.groups())
    calls = re.search(r"invariant_all\(\) \(runs: \d+, calls: (\d+)", output)
    world = f", {int(calls[1]):,} calls of the world" if calls else ""
    return passed > 0 and failed == skipped == 0, f"{passed} passed, {failed} failed{world}"


def read_coverage(output: str) -> tuple[bool, str]:
    """The last line of forge's table against the thresholds."""
    total = re.search(r"\| Total +\| ([\d.]+)% [^|]*\| [\d.]+% [^|]*\| ([\d.]+)% (\([\d/]+\))", output)
    if total is None:
        return False, "no result"
    lines, branches = float(total[1]), float(total[2])
    good = branches >= LEAST_BRANCHES and lines >= LEAST_LINES
    return good, f"branches {branches:g} % {total[3]}, lines {lines:g} %"


def read_halmos(output: str) -> tuple[bool, str]:
    """Proofs of all suites."""
    suites = re.findall(r"Symbolic test result: (\d+) passed; (\d+) failed", output)
    passed, failed = (sum(int(suite[i]) for suite in suites) for i in (0, 1))
    return passed >= LEAST_PROOFS and failed == 0, f"{passed} proofs, {failed} failed"


def read_slither(output: str) -> tuple[bool, str]:
    """slither itself ends with an error when a finding is medium or high (slither.config.json)."""
    total = re.search(r"\((\d+) contracts with (\d+) detectors\), (\d+) result", output)
    if total is None:
        return False, "no result"
    return True, f"{total[2]} detectors, 0 high or medium, {total[3]} low or informational"


def read_erc(output: str) -> tuple[bool, str]:
    """slither-check-erc marks what is missing with an empty box; two functions are optional receivers'."""
    missing = [line for line in re.findall(r"^\s*\[ \].*", output, re.MULTILINE) if "optional" not in line]
    checked = output.count("[✓]")
    return checked > 0 and not missing, f"{checked} points, {len(missing)} missing"


def _tools_path(forge: str) -> str:
    return f"{Path(forge).parent}{os.pathsep}{os.environ['PATH']}"


def _steps(forge: str, env: Path, quick: bool) -> list[Step]:
    path = {"PATH": _tools_path(forge)}
    reading = path | {"FOUNDRY_PROFILE": "slither"}
    framework = ["--compile-force-framework", "foundry"]
    slither_out = ["--foundry-out-directory", "build/slither/out"]
    erc = [
        str(env / "bin" / "slither-check-erc"),
        ".",
        "PrintLicense",
        "--erc",
        "ERC1155",
        *framework,
        *slither_out,
    ]
    steps = [
        Step("forge fmt", [forge, "fmt", "--check", "contracts", "tests/forge", "tests/halmos"], {}, _silent),
        Step("forge lint", [forge, "lint", "contracts", "tests/forge", "tests/halmos"], {}, read_lint),
        Step("forge test", [forge, "test"], {}, read_tests),
        Step("slither", [str(env / "bin" / "slither"), ".", *framework], reading, read_slither),
        # It reads what slither has just compiled.
        Step("slither-check-erc", [*erc, "--ignore-compile"], reading, read_erc),
    ]
    if quick:
        return steps
    return [
        *steps,
        Step(
            "forge coverage",
            # --ir-minimum, because without via-IR the stack is too deep.
            [
                *(forge, "coverage", "--ir-minimum", "--report", "summary", "--fuzz-runs", "64"),
                *("--no-match-coverage", "tests|node_modules", "--no-match-contract", "InvariantsTest"),
            ],
            # Or the tests would compile again after it.
            {"FOUNDRY_OUT": "build/coverage/out", "FOUNDRY_CACHE_PATH": "build/coverage/cache"},
            read_coverage,
        ),
        Step(
            "halmos",
            [
                *(str(env / "bin" / "halmos"), "--forge-build-out", "build/halmos/out", "--no-status"),
                *("--early-exit", "--solver-timeout-assertion", "60s"),
            ],
            path | {"FOUNDRY_PROFILE": "halmos"},
            read_halmos,
        ),
    ]


def _run(step: Step) -> Result:
    started = time.monotonic()
    log = LOGS / f"{step.name.replace(' ', '-')}.log"
    try:
        done = subprocess.run(
            step.argv,
            cwd=ROOT,
            env=os.environ | step.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=step.timeout,
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired:
        output, code = f"stopped after {step.timeout} s", 1
    except FileNotFoundError as error:
        output, code = f"{error.filename} is missing", 1
    log.write_text(output)
    good, says = step.read(output)
    if code != 0:
        good, says = False, f"exit code {code}: {says}" if step.read is not _silent else "not clean"
    return Result(step.name, good, says, time.monotonic() - started, log)


def _plant(forge: str, halmos: str) -> Result:
    started = time.monotonic()
    log = LOGS / "planted-bugs.log"
    verdicts = planted_bugs.judge_all(forge, halmos)
    log.write_text(planted_bugs.table(verdicts) + "\n")
    caught = sum(it.caught for it in verdicts)
    proofs = sum(it.proof is True for it in verdicts)
    says = f"{caught} of {len(verdicts)} caught, {proofs} by halmos too"
    return Result("planted bugs", caught == len(verdicts), says, time.monotonic() - started, log)


def _show(result: Result) -> None:
    mark = "✓" if result.succeeded else "✗"
    sys.stdout.write(f"{mark} {result.name:<18}{result.seconds:>6.0f} s  {result.says}\n")
    if not result.succeeded:
        ending = "\n".join(result.log.read_text().splitlines()[-40:])
        sys.stdout.write(f"  {result.log.relative_to(ROOT)} ends:\n{ending}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", type=Path, metavar="FOLDER", help="environment with slither and halmos")
    parser.add_argument("--quick", action="store_true", help="skip coverage, proofs and planted bugs")
    parser.add_argument("--fuzz", action="store_true", help="only fuzz, for long")
    arguments = parser.parse_args()
    if arguments.env is None and not arguments.fuzz:
        parser.error("--env FOLDER: where are slither and halmos?")
    LOGS.mkdir(parents=True, exist_ok=True)
    forge = planted_bugs.find_forge()
    started = time.monotonic()
    results: list[Result] = []
    if arguments.fuzz:
        step = Step(
            "forge test (long)", [forge, "test"], {"FOUNDRY_PROFILE": "long"}, read_tests, FUZZ_TIMEOUT
        )
        results.append(_run(step))
        _show(results[-1])
    else:
        env = arguments.env.absolute()
        for step in _steps(forge, env, arguments.quick):
            results.append(_run(step))
            _show(results[-1])
        if not arguments.quick:
            results.append(_plant(forge, str(env / "bin" / "halmos")))
            _show(results[-1])
            sys.stdout.write(results[-1].log.read_text())
    failed = sum(not result.succeeded for result in results)
    sys.stdout.write(f"{len(results)} checks in {time.monotonic() - started:.0f} s, {failed} failed\n")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
