"""200 whole jobs on 20 printers at once, against one job alone: latencies, and that none is lost or doubled.

    python -m benchmarks.delivery [--devices 20] [--copies 10]

A real anvil node, the portal's three processes, and the library's client for each printer (threads of this
process, each with a journal on disk). A job goes from picking to the last decrypted byte: download, checks,
signature, relay, batch on the chain, key, two decrypting passes. Everything runs on this one machine, so the
printers' own work is in the figures.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from imprimatur.chain.outbox.rules import Confirmations
from support.node import running_chain
from support.portal_processes import running_portal
from support.workshop import Device, Workshop, part

ALONE = 10
"""Jobs, one after the other, whose median is one job alone."""
FINAL_AT_ONCE = Confirmations(0)


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def carry_out_all(devices: dict[Device, int], copies: int) -> float:
    """Every device uses up its license, all at once; seconds until the last is done."""

    def work(device: Device) -> None:
        delivery = device.delivery(FINAL_AT_ONCE)
        for _ in range(copies):
            device.carry_out(delivery, devices[device])

    started = time.perf_counter()
    threads = [device.in_background(lambda device=device: work(device)) for device in devices]
    for thread in threads:
        thread.join()
    for device in devices:
        if device.trouble is not None:
            raise device.trouble
    return time.perf_counter() - started


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=20)
    options.add_argument("--copies", type=int, default=10)
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as name, running_chain() as chain:
        folder = Path(name)
        with running_portal(folder / "portal", chain, "0") as portal:
            workshop = Workshop(portal)
            design = workshop.upload(part(1, 200_000))
            lone = workshop.enrol("lone printer", folder / "lone")
            devices = [workshop.enrol(f"printer {i}", folder / f"device-{i}") for i in range(wanted.devices)]
            alone = workshop.order(design, lone, "ALONE", ALONE + 1)
            licenses = {
                device: workshop.order(design, device, f"B-{i}", wanted.copies)
                for i, device in enumerate(devices)
            }
            workshop.wait_until_issued([alone, *licenses.values()])
            delivery = lone.delivery(FINAL_AT_ONCE)
            lone.carry_out(delivery, alone)
            single = [lone.carry_out(delivery, alone).seconds for _ in range(ALONE)]
            total = carry_out_all(licenses, wanted.copies)
            printed = [done for device in devices for done in device.printed]
            ids = set(licenses.values())
            uses = [
                (event.values["id"], event.values["copy"])
                for event in chain.licenses.events("LicenseUsed")
                if event.values["id"] in ids
            ]
    jobs = wanted.devices * wanted.copies
    lost = jobs - len({(done.license, done.copy) for done in printed})
    doubled = len(uses) - len(set(uses)) + len(printed) - len({(d.license, d.copy) for d in printed})
    median, tail = statistics.median(single), p95([done.seconds for done in printed])
    print(f"one job alone          median {median:6.2f} s   p95 {p95(single):6.2f} s")
    print(f"{jobs} jobs, {wanted.devices} at a time  p95    {tail:6.2f} s   {jobs / total:6.1f} jobs/s")
    print(f"p95 to one alone       {tail / median:6.1f} ×")
    print(f"lost {lost}, doubled {doubled}, consumed on the chain {len(uses)}")
    return 0 if lost == doubled == 0 and len(uses) == jobs else 1


if __name__ == "__main__":
    raise SystemExit(main())
