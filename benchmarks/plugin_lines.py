"""Lines a second that reach the printer: a sealed licensed print, beside the same lines without the plugin.

    python -m benchmarks.plugin_lines [--rounds 9] [--lines 8000]

The licensed side downloads, uses a copy and decrypts while it prints; the other OctoPrint has no plugin and
prints a plain file. Both drive OctoPrint's own virtual printer, unchanged but for the note of two marks in
the file; moves take no time there, because the file asks for endless speed. The marks stand where a print has
got going: what a print costs once isn't part of a line. Interleaved prints, medians.

What bounds both is OctoPrint's own work for a line, whose threads share one core; the processor time beside
the rates shows it on a machine that does other things too.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.delivery_portal import running_portal
from support.licensed_printer import address_in, issuer, plugin_settings
from support.node import running_chain
from support.octoprint import OctoPrint, wait_for
from support.octoprint_marks import TIMER, forget_marks, marks_of

GOAL = 0.95
NAME = "lines.gcode"
LEAD = 4000
"""Lines before the first mark."""


def part(lines: int) -> bytes:
    """A print file of moves as a slicer writes them: `LEAD`, a mark, `lines`, a mark."""
    moves = [
        f"G1 X{10 + i % 89}.{i % 997:03} Y{20 + i % 71}.{i % 991:03} E.0{i % 8999 + 1000}"
        for i in range(LEAD + lines)
    ]
    head, tail = ["G90", "M83", "G1 F99999999", *moves[:LEAD]], moves[LEAD:]
    return "\n".join([*head, "M117 mark begin", *tail, "M117 mark end", ""]).encode()


def rate(octoprint: OctoPrint, print_it: Callable[[], None], lines: int) -> tuple[float, float]:
    """Lines a second of one print, and microseconds of OctoPrint's processor time for each."""
    forget_marks(octoprint)
    print_it()
    wait_for("The last line has come", lambda: len(marks_of(octoprint)) == 2, 300, 0.3)
    octoprint.wait_until_operational()
    begin, end = marks_of(octoprint)
    return lines / (end.time - begin.time), (end.processor - begin.processor) / lines * 1e6


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--lines", type=int, default=8000)
    wanted = options.parse_args()
    data = part(wanted.lines)
    with tempfile.TemporaryDirectory() as name, running_chain() as chain, running_portal(chain) as portal:
        ours = OctoPrint(Path(name) / "ours", plugin_settings(chain, portal))
        plain = OctoPrint(Path(name) / "plain", {})
        plain.disabled = ["imprimatur"]
        for octoprint in (ours, plain):
            octoprint.extra_plugins, octoprint.records, octoprint.hurry = [TIMER], False, False
            octoprint.prepare()
        issue = issuer(chain.account(), portal, address_in(ours.basedir))
        license = issue(copies=wanted.rounds + 1, data=data)

        def print_licensed() -> None:
            answer = ours.print_license(license.id)
            assert answer.status_code == 202, answer.text

        def print_plain() -> None:
            answer = plain.post(f"/api/files/local/{NAME}", command="select", print=True)
            assert answer.status_code == 204, answer.text

        try:
            ours.start()
            plain.start()
            assert plain.upload(NAME, data.decode()).status_code == 201
            sides = [(ours, print_licensed), (plain, print_plain)]
            rates: dict[OctoPrint, list[float]] = {ours: [], plain: []}
            costs: dict[OctoPrint, list[float]] = {ours: [], plain: []}
            for octoprint, print_it in sides:
                rate(octoprint, print_it, wanted.lines)
            for number in range(wanted.rounds):
                for octoprint, print_it in sides if number % 2 else sides[::-1]:
                    speed, cost = rate(octoprint, print_it, wanted.lines)
                    rates[octoprint].append(speed)
                    costs[octoprint].append(cost)
        finally:
            ours.stop()
            plain.stop()
    with_ours, without = statistics.median(rates[ours]), statistics.median(rates[plain])
    pairs = sorted(a / b for a, b in zip(rates[ours], rates[plain], strict=True))
    for title, side in (("without the plugin", plain), ("a licensed print", ours)):
        speed, cost = statistics.median(rates[side]), statistics.median(costs[side])
        print(f"{title:<18}  {speed:8.0f} lines/s   {cost:6.0f} µs of processor time each")
    ratio = with_ours / without
    print(f"ratio of medians    {ratio:8.3f}   pairs {pairs[0]:.3f} to {pairs[-1]:.3f}   goal {GOAL}")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
