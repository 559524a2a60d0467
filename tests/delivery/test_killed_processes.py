"""100 jobs on 20 printers, while web, worker and desk are killed again and again and the chain reorganises.

Which process dies when, and how deep a reorganisation goes, comes from one seed. How the processes interleave
doesn't: what must hold in the end holds for every interleaving.
"""

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.models import KeyAudit, Outcome, RelayEntry
from imprimatur.chain.outbox.rules import Confirmations
from imprimatur.license_id import format_id
from support.node import Chain
from support.portal_processes import NAMES, PortalProcesses, running_portal
from support.workshop import Device, Workshop, part

DEVICES = 20
COPIES = 5
FINALITY = 3
"""Confirmations."""
DEEPEST_REORG = 2
"""Blocks. What is final must not be taken back."""
SEEDS = [int(seed) for seed in os.environ.get("IMPRIMATUR_KILL_SEEDS", "1").split(",")]


class Killer:
    """Kills processes and reorganises the chain, each every now and then, until it is told to stop."""

    def __init__(self, portal: PortalProcesses, chain: Chain, seed: int) -> None:
        self._portal = portal
        self._chain = chain
        self._over = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=(act, pause, random.Random(f"{act.__name__} {seed}")), daemon=True
            )
            # Seconds; a killed process needs a few to come up again, in which nothing happens.
            for act, pause in ((self._kill, 2.0), (self._reorganise, 1.0))
        ]
        self._round: list[str] = []
        self.kills = dict.fromkeys(NAMES, 0)
        self.reorgs = 0
        self.trouble: BaseException | None = None

    def __enter__(self) -> "Killer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, act: Callable[[random.Random], None], pause: float, choice: random.Random) -> None:
        try:
            while not self._over.wait(choice.uniform(0.1, pause)):
                act(choice)
        except BaseException as error:
            self.trouble = error

    def _reorganise(self, choice: random.Random) -> None:
        self._chain.rpc.call("anvil_reorg", [choice.randint(1, DEEPEST_REORG), []])
        self.reorgs += 1
        # Else nothing ever became final.
        self._over.wait(choice.uniform(1, 3))

    def _kill(self, choice: random.Random) -> None:
        if not self._round:
            self._round = choice.sample(NAMES, len(NAMES))
        name = self._round.pop()
        self._portal.kill(name)
        self.kills[name] += 1
        time.sleep(choice.uniform(0, 0.5))
        self._portal.start(name)
        # Mostly it comes up and does something: a process that never lives shows nothing.
        if choice.random() < 0.8:
            self._portal.wait_until_ready()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_doubled(tmp_path: Path, chain: Chain, seed: int) -> None:
    finality = Confirmations(FINALITY)
    with running_portal(tmp_path / "portal", chain, str(FINALITY)) as portal:
        workshop = Workshop(portal)
        data = {number: part(number) for number in range(4)}
        sealed = [workshop.upload(data[number], f"part-{number}.gcode") for number in data]
        devices = [workshop.enrol(f"printer {i}", tmp_path / f"device-{i}") for i in range(DEVICES)]
        licenses = {
            device: workshop.order(sealed[i % len(sealed)], device, f"K{seed}-{i}", COPIES)
            for i, device in enumerate(devices)
        }
        with Killer(portal, chain, seed) as killer:
            workshop.wait_until_issued(licenses.values(), timeout=120)

            def work(device: Device) -> None:
                delivery = device.delivery(finality)
                for _ in range(COPIES):
                    device.carry_out(delivery, licenses[device])

            threads = [device.in_background(lambda device=device: work(device)) for device in devices]
            for thread in threads:
                thread.join(300)
        for name in NAMES:
            portal.kill(name)
            portal.start(name)
        portal.wait_until_ready()

        assert killer.trouble is None
        for device in devices:
            assert device.trouble is None, f"{device.name}: {device.trouble!r}"
            device.tell_all(device.delivery(finality))

        # Nothing lost: every job printed the whole file, every license is used up, every end was told.
        expected = {(licenses[device], copy) for device in devices for copy in range(1, COPIES + 1)}
        printed = [(done.license, done.copy) for device in devices for done in device.printed]
        assert sorted(printed) == sorted(expected)
        hashes = {hashlib.sha256(content).hexdigest() for content in data.values()}
        assert {done.sha256 for device in devices for done in device.printed} <= hashes
        assert all(device.unfinished() == [] for device in devices)
        for id in licenses.values():
            license = chain.licenses.license_of(id)
            assert license is not None
            assert (license.used, license.remaining, license.failed) == (COPIES, 0, 0)
        outcomes = {(row.license_id, row.copy) for row in workshop.rows(Outcome)}
        assert outcomes == {(format_id(id), copy) for id, copy in expected}

        # Nothing doubled: one use for each copy on the chain, one signed message for each in the relay.
        uses = [
            (event.values["id"], event.values["copy"])
            for event in chain.licenses.events("LicenseUsed")
            if event.values["id"] in set(licenses.values())
        ]
        assert sorted(uses) == sorted(expected)
        relayed = [(int(row.license_id, 16), row.copy) for row in workshop.rows(RelayEntry)]
        assert sorted(relayed) == sorted(expected)

        # No key without its row.
        released = {(int(row.license_id, 16), row.copy) for row in workshop.rows(KeyAudit) if row.released}
        assert released == expected
        print(f"seed {seed}: {len(printed)} jobs, kills {killer.kills}, {killer.reorgs} reorganisations")
        assert all(killer.kills.values())
        assert killer.reorgs
