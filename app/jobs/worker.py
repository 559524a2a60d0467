"""The worker: the only process that opens the operator's key.

Each pass carries on what is to be sent (orders, what devices signed) and reads what the chain says.
"""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import structlog
from sqlalchemy.orm import Session, sessionmaker

from app.models.base import now
from app.services import worker_status
from app.services.contracts import Contracts
from app.services.index import Index
from app.services.outbox import DEFAULTS, Limits, order_outbox
from app.services.relay_batches import RelayBatches
from app.services.relay_limits import DEFAULTS as RELAY_DEFAULTS
from app.services.relay_limits import RelayLimits
from imprimatur.address_book import NotDeployed
from imprimatur.chain.outbox import Alarm, Outbox
from imprimatur.chain.outbox.view import WrongChain
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable
from imprimatur.chain.signers import Signer

POLL = 0.5
"""Seconds between two passes when nothing happened."""
BACK_OFF = 3.0
"""Seconds to the next pass after something that nobody foresaw."""
BEAT = 3.0
"""Seconds between two signs of life."""
UNEXPECTED = "unexpected"

log = structlog.get_logger()


class Worker:
    """One loop. `stop` ends it after the pass it is in; no failure does.

    A locked database, a full disk or a torn address book may be well again a moment later. What was committed
    is enough to go on from.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        contracts: Contracts,
        signer: Signer,
        limits: Limits = DEFAULTS,
        relay: RelayLimits = RELAY_DEFAULTS,
    ) -> None:
        self._sessions = sessions
        self._contracts = contracts
        self._signer = signer
        self._limits = limits
        self._relay = relay
        self._outbox: Outbox | None = None
        self._batches: RelayBatches | None = None
        self._index = Index(sessions, contracts)
        self._alarms: list[Alarm] = []
        self._stopping = threading.Event()
        self._last_beat: tuple[float, str | None] = (float("-inf"), None)
        self._failed = False

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        log.info("worker_started", operator=self._signer.address)
        while not self._stopping.is_set() and not self._guarded(self._announce):
            self._stopping.wait(BACK_OFF)
        while not self._stopping.is_set():
            moved = self.step()
            if self._failed:
                self._stopping.wait(BACK_OFF)
            elif not moved:
                self._stopping.wait(POLL)
        log.info("worker_stopped")

    def step(self) -> bool:
        """One pass and a sign of life; whether anything moved."""
        changed, problem = self._pass()
        told = self._guarded(lambda: self._beat(problem))
        self._failed = problem == UNEXPECTED or not told
        return changed > 0

    def _pass(self) -> tuple[int, str | None]:
        """How much changed, and what keeps it from working."""
        # Each on its own: what keeps one from working mustn't keep the next.
        duties = (self._collect, self._send, self._index.step)
        done = [self._attempt(duty) for duty in duties]
        return sum(changed for changed, _ in done), next((code for _, code in done if code), None)

    def _collect(self) -> int:
        """Make batches of what devices signed."""
        if self._batches is None:
            licenses = self._contracts.licenses()
            self._batches = RelayBatches(self._sessions, licenses, self._relay, self._limits.finality)
        return self._batches.step()

    def _send(self) -> int:
        """Take the outbox a step further."""
        if self._outbox is None:
            licenses = self._contracts.licenses()
            self._outbox = order_outbox(self._sessions, licenses, self._signer, self._limits)
        changed = self._outbox.step()
        self._tell(self._outbox.alarms())
        return changed

    def _attempt(self, duty: Callable[[], int]) -> tuple[int, str | None]:
        """Do it once; how much changed, and the code of what went wrong."""
        try:
            return duty(), None
        except NodeUnreachable as error:
            problem = "node_unreachable"
            log.warning(problem, error=str(error))
        except NotDeployed as error:
            problem = "not_deployed"
            log.warning(problem, error=str(error))
        except WrongChain as error:
            problem = "wrong_chain"
            log.error(problem, error=str(error))
        except NodeRefused as error:
            problem = "node_refused"
            log.warning(problem, code=error.code, error=error.message[:200])
        except Exception as error:
            problem = UNEXPECTED
            log.error("pass_failed", exc_info=error)
        return 0, problem

    def _tell(self, alarms: list[Alarm]) -> None:
        """Log what somebody should look at, once."""
        for alarm in alarms:
            if alarm.kind not in {known.kind for known in self._alarms}:
                log.warning("outbox_alarm", kind=alarm.kind.value, facts=alarm.facts)
        self._alarms = alarms

    def _announce(self) -> None:
        with self._sessions() as session:
            worker_status.announce(session, self._signer.address, now())

    def _beat(self, problem: str | None) -> None:
        last, told = self._last_beat
        if problem != told or time.monotonic() - last > BEAT:
            with self._sessions() as session:
                worker_status.beat(session, now(), problem)
            self._last_beat = (time.monotonic(), problem)

    def _guarded(self, action: Callable[[], None]) -> bool:
        """Do it; False, with the reason logged, when it failed."""
        try:
            action()
        except Exception as error:
            log.error("sign_of_life_failed", exc_info=error)
            return False
        return True


def run_until_signalled(worker: Worker) -> None:
    """Run; SIGTERM and SIGINT end it cleanly."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        worker.stop()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    worker.run()
