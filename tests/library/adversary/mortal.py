"""The process that chaos kills: an outbox at work, in a child that is forked for every life.

    python mortal.py        (started by `chaos.Mortals`; one line of JSON per life on standard input)

Forked, because a new interpreter would need half a second to import what it takes to sign. A life ends with
SIGKILL: nothing is flushed, rolled back or closed. Says on standard output, a JSON value a line: `ready`,
`pid` at birth, `dying` with the place when it kills itself, `ended` with the wait status.
"""

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from imprimatur.chain.outbox import Call, Confirmations, Outbox, Rules, State, Store, sqlite_transactions
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import KeySigner
from tools.launcher.processes import end_with_launcher

KEY = bytes(range(1, 33))
POLL = 0.02
"""Seconds between two passes."""
READ_TIMEOUT = 0.5
ENOUGH = 10**12
"""Wei per gas that the outbox may offer: more than any spike here."""


def say(**words: Any) -> None:
    """One line to whoever started us; in the pipe even if the next thing is death."""
    os.write(1, (json.dumps(words) + "\n").encode())


class Death:
    """Counts the places where a crash could matter, and dies at the one that was ordered.

    Args:
        place: name of the place, or None for any.
        count: the how-manieth time; 0: never.
    """

    def __init__(self, place: str | None, count: int) -> None:
        self._place = place
        self._left = count

    def __call__(self, place: str) -> None:
        if self._left and self._place in (None, place):
            self._left -= 1
            if not self._left:
                say(dying=place)
                os.kill(os.getpid(), signal.SIGKILL)


class Watched(Rpc):
    """A node whose every request is a place to die, before and after."""

    def __init__(self, rpc: Rpc, death: Callable[[str], None]) -> None:
        self._rpc = rpc
        self._death = death

    def call(self, method: str, params: list[Any]) -> Any:
        return self.batch([(method, params)], single=True)[0]

    def batch(self, calls: Sequence[tuple[str, list[Any]]], single: bool = False) -> list[Any]:
        name = "send" if any(method == "eth_sendRawTransaction" for method, _ in calls) else "ask"
        self._death(f"before {name}")
        answers = [self._rpc.call(*calls[0])] if single else self._rpc.batch(calls)
        self._death(f"after {name}")
        return answers


def recipient(seed: int, job: int) -> str:
    """The account that a job sends one wei to: nobody else ever does."""
    return f"0x{Random(f'recipient {seed} {job}').getrandbits(160):040x}"


def live(order: dict[str, Any]) -> None:
    """Queue what is due, as callers do that don't know what was committed; send; until all is settled."""
    death = Death(order["place"], order["count"])
    commit = sqlite_transactions(Path(order["database"]))

    @contextmanager
    def transaction() -> Iterator[Store]:
        with commit() as store:
            yield store
            death("before commit")
        death("after commit")

    rules = Rules(
        order["chain_id"],
        Confirmations(order["depth"]),
        resend_after=0.2,
        replace_after=0.5,
        lost_after=30.0,
        max_fee=ENOUGH,
        idle_look=0.1,
    )
    rpc = Watched(HttpRpc(order["url"], READ_TIMEOUT, retries=0), death)
    kinds: dict[str, type[Outbox]] = {"Outbox": Outbox}
    if order["kind"] not in kinds:
        from library.adversary.mutants import MUTANTS

        kinds |= {mutant.__name__: mutant for mutant in MUTANTS}
    outbox = kinds[order["kind"]](rpc, KeySigner(KEY), transaction, rules, checkpoint=death)
    queued = 0
    while True:
        due = sum(moment <= time.time() for moment in order["moments"])
        while queued < due:
            with transaction() as store:
                for job in range(queued, min(due, queued + 4)):
                    outbox.enqueue(store, f"job {job}", Call(recipient(order["seed"], job), value=1))
            queued = min(due, queued + 4)
        try:
            outbox.step()
        except (NodeUnreachable, NodeRefused):
            time.sleep(POLL)
        states = outbox.metrics.states
        if queued == len(order["moments"]) and set(states) <= {State.DONE} and states.get(State.DONE):
            return
        time.sleep(POLL)


def main() -> None:
    """Give birth until nobody wants it any more."""
    end_with_launcher()
    KeySigner(KEY).sign_message(b"what signing needs is imported before the first fork")
    importlib.import_module("requests")
    say(ready=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            end_with_launcher()
            # Nobody but the child can say it before the child says that it dies.
            say(pid=os.getpid())
            live(json.loads(line))
            os._exit(0)
        say(ended=os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
