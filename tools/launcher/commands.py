"""The commands of `run.py`."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tools.launcher import demo, locks, suites, system
from tools.launcher.processes import Terminated, raise_on_signals, run_to_end
from tools.launcher.state import MARK, StateFolder
from tools.launcher.steps import StepFailed, say
from tools.launcher.toolchain import (
    BROWNIE,
    OCTOPRINT,
    OCTOPRINT2,
    PORTAL,
    ROOT,
    VERIFY,
    child_environment,
    install,
)

DEFAULT_STATE = ROOT / ".imprimatur" / "demo"
KILLED_PORTALS = 3
"""Seeds of `chaos` with which a portal's processes are killed."""
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


def _demo(arguments: argparse.Namespace) -> int:
    install(PORTAL, BROWNIE, OCTOPRINT)
    state: Path = arguments.state.absolute()
    if arguments.check:
        return demo.play_in_demo(state.with_name(f"{state.name}-check"), "tools.story")
    return demo.run_demo(state, arguments.instant_heat)


def _test(arguments: argparse.Namespace) -> int:
    extra = {environment for suite in suites.chosen_by(arguments.suites) for environment in suite.installs}
    install(PORTAL, BROWNIE, OCTOPRINT, VERIFY, *extra)
    return suites.run_suites(arguments.suites)


def _install(_arguments: argparse.Namespace) -> int:
    install(PORTAL, BROWNIE, OCTOPRINT, OCTOPRINT2, VERIFY)
    return 0


def _lock(arguments: argparse.Namespace) -> int:
    locks.lock(arguments.upgrade)
    return 0


def _tool(words: list[str], **env: str) -> int:
    """One of our own tools, in the portal's environment."""
    return run_to_end([PORTAL.command("python"), *words], sys.stdout, child_environment() | env, ROOT)[0]


def _verify(arguments: argparse.Namespace) -> int:
    install(PORTAL, VERIFY)
    quick = ["--quick"] if arguments.quick else []
    return _tool(["-m", "tools.verify", "--env", str(VERIFY.path), *quick])


def _fuzz(_arguments: argparse.Namespace) -> int:
    install(PORTAL)
    return _tool(["-m", "tools.verify", "--fuzz"])


def _chaos(arguments: argparse.Namespace) -> int:
    install(PORTAL, OCTOPRINT)
    wanted = {"--seeds": arguments.seeds, "--first": arguments.first}
    options = [word for name, value in wanted.items() if value is not None for word in (name, str(value))]
    first, seeds = arguments.first or 1, KILLED_PORTALS if arguments.seeds is None else arguments.seeds
    portals = ",".join(str(seed) for seed in range(first, first + seeds))
    killed = ["-m", "pytest", "tests/delivery/test_killed_processes.py", "-s", "-q"]
    # One seed alone is for looking at it.
    printers = [] if arguments.first is not None else ["--printers"]
    outcomes = [_tool(["-m", "tools.chaos", *options, *printers])]
    if portals:
        outcomes.append(_tool(killed, IMPRIMATUR_KILL_SEEDS=portals))
    return max(outcomes)


def _bench(arguments: argparse.Namespace) -> int:
    chosen = arguments.names or BENCHMARKS
    install(PORTAL, *([OCTOPRINT] if any(name.startswith("plugin_") for name in chosen) else []))
    # All run, so that one look shows every figure.
    return max([_bench_one(name) for name in chosen])


def _bench_one(name: str) -> int:
    say(f"\n{name}")
    return _tool(["-m", f"benchmarks.{name}"])


def _gas(arguments: argparse.Namespace) -> int:
    install(PORTAL)
    return _tool(["-m", "tools.gas", *(["--write"] if arguments.write else [])])


def _artifacts(_arguments: argparse.Namespace) -> int:
    install(PORTAL)
    return max(_tool(["-m", f"tools.{name}", "--write"]) for name in ("compile", "gas", "contract_docs"))


def _wheel(arguments: argparse.Namespace) -> int:
    install(PORTAL)
    return _tool(["-m", "tools.wheel", "--to", str(arguments.to)])


def _brownie(words: list[str]) -> int:
    install(BROWNIE)
    argv = [BROWNIE.command("python"), "tools/brownie_cli.py", *words]
    # It keeps the terminal: its console wants it.
    return subprocess.run(argv, cwd=ROOT, env=child_environment()).returncode


def _pictures(_arguments: argparse.Namespace) -> int:
    install(PORTAL, BROWNIE, OCTOPRINT)
    system.ensure([system.CHROMIUM])
    return demo.play_in_demo(ROOT / ".imprimatur" / "pictures", "tools.pictures")


def _clean(arguments: argparse.Namespace) -> int:
    targets = [ROOT / ".imprimatur", ROOT / "build", ROOT / "dist"]
    if arguments.all:
        targets += [ROOT / ".tools", ROOT / "node_modules", PORTAL.path, BROWNIE.path, OCTOPRINT.path]
        targets += [OCTOPRINT2.path, VERIFY.path]
    for mark in (ROOT / ".imprimatur").glob(f"*/{MARK}"):
        with StateFolder(mark.parent, wait=0):
            pass  # nobody uses it, or this says who does
    for target in targets:
        if target.is_symlink():
            target.unlink()
        elif target.exists():
            shutil.rmtree(target)
        else:
            continue
        say(f"removed {target.relative_to(ROOT)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Imprimatur: the license to print.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("demo", help="set everything up and run it on this machine")
    command.add_argument(
        "--check", action="store_true", help="play the whole story without a browser, then stop"
    )
    command.add_argument("--state", type=Path, default=DEFAULT_STATE, help="folder of the demo's data")
    command.add_argument(
        "--instant-heat", action="store_true", help="the virtual printer's nozzle is always hot"
    )
    command.set_defaults(run=_demo)

    command = commands.add_parser("test", help="run the test suites")
    command.add_argument(
        "suites", nargs="*", metavar="SUITE", help=f"{', '.join(suites.NAMES)}; all by default"
    )
    command.set_defaults(run=_test)

    command = commands.add_parser("verify", help="prove the contracts: forge, halmos, slither, planted bugs")
    command.add_argument("--quick", action="store_true", help="only what a change must pass")
    command.set_defaults(run=_verify)

    command = commands.add_parser("fuzz", help="the contracts' tests and invariants for long, with new seeds")
    command.set_defaults(run=_fuzz)

    command = commands.add_parser("chaos", help="attack outbox and portal: simulation, real node, SIGKILL")
    command.add_argument("--seeds", type=int, help="how many against the real node")
    command.add_argument("--first", type=int, help="the first seed")
    command.set_defaults(run=_chaos)

    command = commands.add_parser("bench", help="every performance figure, as ratios measured here and now")
    command.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; all by default")
    command.set_defaults(run=_bench)

    command = commands.add_parser("gas", help="what each job costs, beside budget, floor and comparison")
    command.add_argument("--write", action="store_true", help="renew snapshots/gas.json")
    command.set_defaults(run=_gas)

    command = commands.add_parser("artifacts", help="renew all that is made from contracts/")
    command.set_defaults(run=_artifacts)

    command = commands.add_parser("install", help="only install what demo and test need")
    command.set_defaults(run=_install)

    command = commands.add_parser(
        "brownie", help="run Brownie: run.py brownie run deploy --network imprimatur"
    )

    command = commands.add_parser("pictures", help="make the README's screenshots from a running story")
    command.set_defaults(run=_pictures)

    command = commands.add_parser("wheel", help="build the OctoPrint plugin's wheel, the library inside")
    command.add_argument("--to", type=Path, default=ROOT / "dist", help="folder for the wheel")
    command.set_defaults(run=_wheel)

    command = commands.add_parser("lock", help="compile requirements/*.in into locked files")
    command.add_argument("--upgrade", action="store_true", help="take the newest allowed versions")
    command.set_defaults(run=_lock)

    command = commands.add_parser("clean", help="remove the demo's data and build results")
    command.add_argument("--all", action="store_true", help="the installed packages too")
    command.set_defaults(run=_clean)
    return parser


def main() -> int:
    """Run the command; the exit code."""
    raise_on_signals()
    try:
        if sys.argv[1:2] == ["brownie"]:
            # Everything behind the word is Brownie's own.
            return _brownie(sys.argv[2:])
        parser = _parser()
        arguments = parser.parse_args()
        unknown = set(getattr(arguments, "suites", ())) - set(suites.NAMES)
        if unknown:
            parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(suites.NAMES)}")
        unknown = set(getattr(arguments, "names", ())) - set(BENCHMARKS)
        if unknown:
            parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        code: int = arguments.run(arguments)
    except StepFailed as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except (OSError, json.JSONDecodeError) as error:
        sys.stderr.write(
            f"\n{type(error).__name__}: {error}\nIf a file is damaged, `run.py clean` starts afresh.\n"
        )
        return 1
    except Terminated as signal_error:
        return 128 + signal_error.number
    return code
