"""From the click on Print to the first command that heats, beside the bare work for it, on an instant chain.

    python -m benchmarks.plugin_click [--rounds 7] [--large 3] [--megabytes 100]

Bare work: download the sealed file to a disk while it is hashed, then one signed transaction until its
receipt is there. Between click and heat the plugin does that too, and: checks license and manifest, signs,
lets the portal carry it, waits until the use is final, gets the key, decrypts and hashes everything once, and
starts OctoPrint's print job. Interleaved, medians, for the example's file and for a large one. Both sides
download at the speed of gigabit Ethernet. The large file is measured without that limit too, in memory: there
a download costs next to nothing, and what is left are passes over the bytes.
"""

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from imprimatur.chain import transactions
from imprimatur.chain.signers import KeySigner
from support.delivery_portal import DeliveryPortal, pour, running_portal
from support.licensed_printer import Issued, address_in, issuer, plugin_settings
from support.node import ROOT, Chain, running_chain
from support.octoprint import OctoPrint, wait_for
from support.octoprint_marks import TIMER, forget_marks, marks_of

MOST_ABOVE = 2.0
"""Seconds above the bare work for the example's file."""
MOST_TIMES = 2.0
"""The bare work for a large file."""
EXAMPLE = ROOT / "examples" / "cable-clip" / "cable-clip.gcode"
GIGABIT = 117e6
"""Bytes a second of a file that gigabit Ethernet carries."""
PIECE = 1 << 20


def large_part(megabytes: int) -> bytes:
    """Heats at once, and soon feeds; the rest is long."""
    line = b"G1 X10.125 Y20.250 E.01234 F99999999\n"
    return b"M83\nM104 S50\n" + line * (megabytes * 1_000_000 // len(line))


@contextmanager
def served(data: bytes, bytes_per_second: float | None) -> Iterator[str]:
    """Address of these bytes, served as plainly as can be."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            pour(self.wfile, data, bytes_per_second)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def bare(url: str, chain: Chain, payer: KeySigner, target: Path) -> float:
    """Seconds of the work that nobody can do without."""
    begun = time.perf_counter()
    digest = hashlib.sha256()
    with requests.get(url, stream=True, timeout=60) as response, target.open("wb") as file:
        for piece in response.iter_content(PIECE):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    signed = transactions.sign(chain.rpc, payer, payer.address, f"0x{digest.hexdigest()}")
    transactions.broadcast(chain.rpc, signed.raw)
    transactions.wait_for_receipt(chain.rpc, signed.hash, poll=0.02)
    return time.perf_counter() - begun


def click(octoprint: OctoPrint, license: Issued) -> float:
    """Seconds from the request to the first command that heats. The print is ended, its copy used up."""
    forget_marks(octoprint)
    begun = time.time()
    answer = octoprint.print_license(license.id)
    assert answer.status_code == 202, answer.text
    heats = wait_for(
        "It heats", lambda: [m for m in marks_of(octoprint) if "mark" not in m.command], 120, 0.05
    )
    job = answer.json()["job"]["id"]
    wait_for("The part begins", lambda: octoprint.job(job)["state"] in ("PRINTING", "FINISHED"), 60, 0.05)
    octoprint.post("/api/job", command="cancel")
    octoprint.wait_for_state(job, "FINISHED", "FAILED")
    octoprint.wait_until_operational()
    return heats[0].time - begun


def measure(
    octoprint: OctoPrint, portal: DeliveryPortal, chain: Chain, license: Issued, rounds: int
) -> tuple[float, float]:
    """Median seconds of the bare work and of a click, at the portal's speed."""
    payer, sealed = chain.account(), portal.served[license.id].sealed
    alone, clicks = [], []
    with served(sealed, portal.bytes_per_second) as url:
        for _ in range(rounds):
            alone.append(bare(url, chain, payer, octoprint.basedir / "bare"))
            clicks.append(click(octoprint, license))
    return statistics.median(alone), statistics.median(clicks)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="with the example's file")
    options.add_argument("--large", type=int, default=3, help="rounds with the large file")
    options.add_argument("--megabytes", type=int, default=100)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as name, running_chain() as chain, running_portal(chain) as portal:
        octoprint = OctoPrint(Path(name) / "base", plugin_settings(chain, portal))
        octoprint.extra_plugins, octoprint.records = [TIMER], False
        octoprint.prepare()
        issue = issuer(chain.account(), portal, address_in(octoprint.basedir))
        example = issue(copies=wanted.rounds + 1, data=EXAMPLE.read_bytes())
        large = issue(copies=2 * wanted.large, data=large_part(wanted.megabytes))
        try:
            octoprint.start()
            click(octoprint, example)  # imports what only a print needs
            portal.bytes_per_second = GIGABIT
            small = measure(octoprint, portal, chain, example, wanted.rounds)
            big = measure(octoprint, portal, chain, large, wanted.large)
            portal.bytes_per_second = None
            memory = measure(octoprint, portal, chain, large, wanted.large)
        finally:
            octoprint.stop()
    for title, (alone, clicked) in (("example", small), ("large", big), ("large, no network", memory)):
        print(f"{title:<18} bare {alone:6.2f} s   click to heat {clicked:6.2f} s   {clicked / alone:6.2f} ×")
    above, times = small[1] - small[0], big[1] / big[0]
    print(f"example            {above:+.2f} s above bare   goal {MOST_ABOVE:+.1f} s")
    print(f"large              {times:.2f} × bare         goal {MOST_TIMES:.1f} ×")
    return 0 if above <= MOST_ABOVE and times <= MOST_TIMES else 1


if __name__ == "__main__":
    raise SystemExit(main())
