"""Bringing signed messages to the chain: by the portal's relay, or in a transaction that somebody else pays.

The same bytes can be sent any number of times, on both ways, and happen once: the copy number is their nonce.
What became of them is nothing that anybody here says; only the chain does.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imprimatur.chain.interface import MalformedData
from imprimatur.chain.outbox import Call, Outbox, Rules, SqliteStore, sqlite_transactions
from imprimatur.chain.outbox.records import SETTLED
from imprimatur.chain.outbox.view import WrongChain
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeBusy, NodeRefused, NodeUnreachable
from imprimatur.chain.signers import Signer
from imprimatur.chain.typed_data import Failure, Signed, Use
from imprimatur.device.errors import PortalBusy, PortalConfused, PortalRefused, PortalUnreachable
from imprimatur.device.job import UseSignature
from imprimatur.device.journal import Journal, mark_sent
from imprimatur.device.messages import Relayed, RelayState
from imprimatur.device.portal import Portal
from imprimatur.device.reasons import Waiting, why

POLL = 1.0
"""Seconds after which something is looked at again that nobody gave another time for."""
LONG_POLL = 15.0
"""The same where somebody has a fault, or nothing is expected soon."""
MOST_TRANSACTIONS = 5
"""Transactions that are paid for one message: a reorganisation may take one away, but not for ever."""


@contextmanager
def node_trouble() -> Iterator[None]:
    """Where the chain is asked: a node that doesn't help is waited for. Raises Waiting."""
    try:
        yield
    except NodeBusy as error:
        raise Waiting(why("node_unreachable"), error.retry_after or LONG_POLL) from error
    except NodeUnreachable as error:
        raise Waiting(why("node_unreachable"), POLL) from error
    except NodeRefused as error:
        raise Waiting(why("node_refused", trouble=error.message), LONG_POLL) from error
    except MalformedData as error:
        raise Waiting(why("node_refused", trouble=str(error)), LONG_POLL) from error
    except WrongChain as error:
        raise Waiting(why("wrong_chain"), LONG_POLL) from error


@contextmanager
def portal_trouble() -> Iterator[None]:
    """Where the portal is asked for what it may do later. Raises Waiting; a refusal passes."""
    try:
        yield
    except PortalBusy as error:
        raise Waiting(why("portal_busy"), error.retry_after or LONG_POLL) from error
    except PortalUnreachable as error:
        raise Waiting(why("portal_unreachable", trouble=error.trouble), POLL) from error
    except PortalConfused as error:
        raise Waiting(why("portal_confused", trouble=error.reason), LONG_POLL) from error


class Carrier:
    """Both ways for one device; each may be missing.

    Args:
        payer: an account with coins, which submits what the relay doesn't take.
        rules: of the payer's outbox, whose tables are in the journal's database.
    """

    def __init__(
        self,
        journal: Journal,
        licenses: PrintLicense,
        portal: Portal | None,
        payer: Signer | None,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._licenses = licenses
        self._portal = portal
        self._clock = clock
        self._outbox: Outbox | None = None
        if payer is not None:
            store = sqlite_transactions(journal.path)
            self._outbox = Outbox(licenses.rpc, payer, store, rules, clock=clock)

    def carry_use(self, signature: UseSignature, device: str) -> None:
        """Hand a signed use of `device` to the relay. The payer's outbox gets it where that fails, and when
        it was handed over before and nothing is to be seen of it: a relay's word decides nothing.

        Raises:
            Waiting: nobody took it.
        """
        use = signature.use
        is_first = signature.sent_at is None
        try:
            self._relay(use.copy, lambda portal: portal.relay_use(signature.signed))
            self._journal.sent(signature.digest)
        except Waiting:
            if self._outbox is None:
                raise
            is_first = False
        if self._outbox is not None and not is_first:
            self._require_useful(use, device)
            data = self._licenses.use_licenses_signed_call([signature.signed])
            self._pay(f"use:{signature.digest}", data, signature.digest)

    def carry_failure(self, signed: Signed[Failure], digest: str, is_first: bool) -> None:
        """The same for a failure report that the contract would take now. Raises Waiting.

        Args:
            is_first: whether nobody has taken it before.
        """
        try:
            self._relay(signed.message.copy, lambda portal: portal.relay_failure(signed))
        except Waiting:
            if self._outbox is None:
                raise
            is_first = False
        if self._outbox is not None and not is_first:
            data = self._licenses.report_failures_signed_call([signed])
            self._pay(f"failure:{digest}", data)

    def go_on(self) -> None:
        """Let the outbox look after what it has sent; without a payer there is nothing to do.

        Raises:
            Waiting: the node doesn't help.
        """
        if self._outbox is not None:
            with node_trouble():
                self._outbox.step()

    def _relay(self, copy: int, ask: Callable[[Portal], Relayed]) -> None:
        if self._portal is None:
            raise Waiting(why("no_carrier", copy=copy), LONG_POLL)
        try:
            with portal_trouble():
                relayed = ask(self._portal)
        except PortalRefused as error:
            detail = error.detail or error.code
            raise Waiting(why("not_carried", copy=copy, detail=detail), LONG_POLL) from error
        if relayed.state is RelayState.REFUSED:
            raise Waiting(why("not_carried", copy=copy, detail=relayed.reason or "refused"), LONG_POLL)

    def _require_useful(self, use: Use, device: str) -> None:
        """Nobody pays for what the contract would leave out. Raises Waiting."""
        with node_trouble():
            usable = self._licenses.can_use(use.id, use.file_hash, device)
            license = self._licenses.license_of(use.id)
        problem = usable.reason
        if license is not None and use.copy != license.used + 1:
            problem = "CopyOutOfOrder"
        if problem is not None:
            raise Waiting(why("not_carried", copy=use.copy, detail=problem), POLL)

    def _pay(self, key: str, data: str, use_digest: str | None = None) -> None:
        """Queue a transaction, unless one is on its way: its intent is on disk before anything is sent.

        Raises:
            Waiting: so many came to nothing that no more are paid; or the node doesn't help.
        """
        assert self._outbox is not None
        call = Call(self._licenses.address, data)
        with self._journal.transaction() as database:
            store = SqliteStore(database)
            for number in range(MOST_TRANSACTIONS):
                intent = self._outbox.enqueue(store, f"{key}:{number}", call)
                if intent.state not in SETTLED:
                    break
            else:
                raise Waiting(why("node_refused", trouble="transactions come to nothing"), LONG_POLL)
            if use_digest is not None:
                mark_sent(database, use_digest, self._clock())
        self.go_on()
