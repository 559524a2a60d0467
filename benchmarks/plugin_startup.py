"""How much longer OctoPrint takes to start with the plugin: seconds from its call to a connected printer.

    python -m benchmarks.plugin_startup [--pairs 7]

Two environments that differ by the installed wheel alone, each with a base folder of its own; the plugin is
set up, its key exists, a license is listed by a chain and a portal that run. Interleaved starts, medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.delivery_portal import running_portal
from support.licensed_printer import address_in, issuer, plugin_settings
from support.node import running_chain
from support.octoprint import OctoPrint
from support.octoprint_environment import make_environment, site_packages
from tools.wheel import build

MOST_SECONDS, MOST_SHARE = 0.3, 0.05
"""The plugin adds no more than one of them."""
LOAD = """
import time, octoprint.server, octoprint.util.comm
begun = time.perf_counter()
import octoprint_imprimatur
print(time.perf_counter() - begun)
"""


def start(octoprint: OctoPrint) -> tuple[float, float]:
    """Seconds until its printer is connected, and of processor time till then; it is stopped again."""
    begun = time.perf_counter()
    octoprint.start(poll=0.02)
    seconds = time.perf_counter() - begun
    # The name in parentheses may hold spaces; behind it come user and system time as 12th and 13th field.
    fields = Path(f"/proc/{octoprint.pid}/stat").read_text().rpartition(")")[2].split()
    octoprint.stop()
    return seconds, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loading(environment: Path) -> float:
    """Seconds that the plugin's import takes where OctoPrint is imported already; a median."""
    seconds = [
        float(
            subprocess.run(
                [environment / "bin" / "python", "-c", LOAD], check=True, capture_output=True
            ).stdout
        )
        for _ in range(5)
    ]
    return statistics.median(seconds)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=7)
    pairs = options.parse_args().pairs
    with tempfile.TemporaryDirectory() as name, running_chain() as chain, running_portal(chain) as portal:
        folder = Path(name)
        plain, ours = (make_environment(folder / env, pip=False) for env in ("plain", "ours"))
        with zipfile.ZipFile(build(folder)) as wheel:
            wheel.extractall(site_packages(ours))
        sides = {}
        for environment in (plain, ours):
            octoprint = OctoPrint(folder / f"base-{environment.name}", plugin_settings(chain, portal))
            octoprint.environment, octoprint.records = environment, False
            octoprint.prepare()
            sides[environment] = octoprint
        issue = issuer(chain.account(), portal, address_in(sides[ours].basedir, ours))
        issue(copies=4)
        for octoprint in sides.values():
            start(octoprint)  # compiles what it imports
        seconds: dict[Path, list[float]] = {plain: [], ours: []}
        work: dict[Path, list[float]] = {plain: [], ours: []}
        for number in range(pairs):
            for environment in (plain, ours) if number % 2 else (ours, plain):
                wall, processor = start(sides[environment])
                seconds[environment].append(wall)
                work[environment].append(processor)
        load = loading(ours)
    without, with_ours = (statistics.median(seconds[side]) for side in (plain, ours))
    added = statistics.median(b - a for a, b in zip(seconds[plain], seconds[ours], strict=True))
    spread = [f"{b - a:+.2f}" for a, b in zip(seconds[plain], seconds[ours], strict=True)]
    print(f"to a connected printer  without {without:5.2f} s   with {with_ours:5.2f} s")
    print(f"added, median of pairs  {added:+.2f} s   {added / without:+.1%}   pairs {' '.join(spread)}")
    more = statistics.median(work[ours]) - statistics.median(work[plain])
    print(f"processor time          {more:+.2f} s")
    print(f"the plugin's import     {load:+.2f} s")
    met = added <= MOST_SECONDS or added / without <= MOST_SHARE
    print(f"goal: at most {MOST_SECONDS} s or {MOST_SHARE:.0%}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
