"""From a call to signed bytes: simulated, priced, affordable."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.outbox.alarms import Alarm, AlarmKind
from imprimatur.chain.outbox.following import Change, trouble_of
from imprimatur.chain.outbox.purpose import Purpose
from imprimatur.chain.outbox.records import Attempt, Call, Intent, State
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.view import View, final_blocks
from imprimatur.chain.rpc import NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import Signer
from imprimatur.chain.transactions import Fees, NotEnoughFunds, build, gas_from
from imprimatur.errors import ImprimaturError

log = logging.getLogger(__name__)


class FeesTooHigh(ImprimaturError):
    """The chain asks for more than the rules allow to pay."""


class Signing:
    """Makes attempts of one signer under one chain's rules."""

    def __init__(self, rpc: Rpc, signer: Signer, rules: Rules, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._signer = signer
        self._rules = rules
        self._clock = clock
        self._refused_since: dict[int, float] = {}

    def fees(self, view: View) -> Fees:
        """What to offer now, within the rules."""
        max_fee = min(view.fees.max_fee, self._rules.max_fee)
        return Fees(max_fee, min(view.fees.tip, max_fee))

    def estimated(self, call: Call) -> Call:
        """A call with its gas limit.

        Raises:
            ContractReverted, NotEnoughFunds, NodeUnreachable, NodeRefused
        """
        return self._with_gas(call, self._estimates([call])[0])

    def affordable(self, call: Call, view: View, committed: int) -> Call:
        """The call, when the balance less what is `committed` (wei) pays for it.

        Raises:
            NotEnoughFunds
            FeesTooHigh: the base fee is above the rules' cap.
        """
        if view.base_fee + 1 > self._rules.max_fee:
            raise FeesTooHigh(
                f"The chain asks for {view.base_fee} wei per gas; at most {self._rules.max_fee} may be paid. "
                "Wait, or raise the limit."
            )
        cost = call.value + (call.gas or 0) * self.fees(view).max_fee
        if view.balance - committed < cost:
            raise NotEnoughFunds(
                f"{self._signer.address} has {view.balance - committed} wei to spend; this transaction may "
                f"need {cost}. Send it some ether."
            )
        return call

    def attempt(self, call: Call, nonce: int, fees: Fees, head: int, cancels: bool = False) -> Attempt:
        """Signed bytes of a call whose gas limit is known."""
        fields = build(self._rules.chain_id, nonce, call.to, call.data, call.gas or 0, fees, call.value)
        raw, hash = self._signer.sign_transaction(fields)
        return Attempt(hash, raw, nonce, fees.max_fee, fees.tip, cancels, self._clock(), head)

    def nothing(self, nonce: int, fees: Fees, head: int) -> tuple[Call, Attempt]:
        """A transfer of nothing to oneself, which uses a nonce up."""
        call = self.estimated(Call(self._signer.address))
        return call, self.attempt(call, nonce, fees, head, cancels=True)

    def successor(self, intent: Intent, fees: Fees, head: int) -> Attempt:
        """Bytes that take the place of an intent's newest: its call, or nothing to cancel it."""
        if intent.is_void or intent.call is None:
            return self.nothing(intent.newest.nonce, fees, head)[1]
        return self.attempt(intent.call, intent.newest.nonce, fees, head)

    def prepare(
        self,
        queued: list[Intent],
        flight: list[Intent],
        view: View,
        purpose: Purpose,
        alarms: list[Alarm],
    ) -> tuple[list[tuple[Intent, Call]], list[Change]]:
        """Which waiting intents can be signed now, with their calls; and what changes for the others."""
        planned, changes = self._planned(queued, purpose)
        committed = sum(cost_of(intent) for intent in flight if intent.state is State.SENT)
        ready: list[tuple[Intent, Call]] = []
        answers = self._estimates([call for _, call in planned])
        for (intent, call), answer in zip(planned, answers, strict=True):
            try:
                complete = self.affordable(self._with_gas(call, answer), view, committed)
            except FeesTooHigh:
                alarms.append(Alarm(AlarmKind.FEE_CAP, {"key": intent.key, "wanted": view.base_fee}))
                after = replace(intent, reason="fees_too_high", facts={"base_fee": view.base_fee})
            except NotEnoughFunds:
                alarms.append(Alarm(AlarmKind.LOW_BALANCE, {"balance": view.balance}))
                after = replace(intent, reason="no_funds", facts={"sender": self._signer.address})
            except (ContractReverted, NodeRefused) as error:
                alone = not flight and not ready
                after = self._refused(intent, error, purpose, alone, view)
            else:
                ready.append((intent, complete))
                self._refused_since.pop(intent.id, None)
                committed += complete.value + (complete.gas or 0) * self.fees(view).max_fee
                continue
            if after != intent:
                changes.append(Change(intent, after))
        return ready, changes

    def _planned(
        self, queued: list[Intent], purpose: Purpose
    ) -> tuple[list[tuple[Intent, Call]], list[Change]]:
        """What each waiting intent wants done. One whose purpose fails waits, and keeps nobody waiting."""
        planned: list[tuple[Intent, Call]] = []
        changes: list[Change] = []
        for intent in queued:
            if intent.cancelling:
                changes.append(Change(intent, replace(intent, state=State.CANCELLED)))
                continue
            try:
                planned.append((intent, purpose.call(intent)))
            except NodeUnreachable:
                raise
            except Exception as error:
                log.exception("Nobody knows what to send for %s.", intent.key)
                reason, facts = trouble_of(error)
                if (intent.reason, intent.facts) != (reason, facts):
                    changes.append(Change(intent, replace(intent, reason=reason, facts=facts)))
        return planned, changes

    def _refused(
        self,
        intent: Intent,
        error: ContractReverted | NodeRefused,
        purpose: Purpose,
        alone: bool,
        view: View,
    ) -> Intent:
        """An intent that the contract or the node refuses: it waits, or it is settled.

        Both an event elsewhere and a refusal count only when they can't be the view of a node that lags.
        """
        try:
            verdict = purpose.refused(intent, error, alone)
        except NodeUnreachable:
            raise
        except Exception as failure:
            log.exception("The refusal of %s can't be judged.", intent.key)
            reason, facts = trouble_of(failure)
            return replace(intent, reason=reason, facts=facts)
        reason, facts = _waiting_for(error)
        waiting = replace(intent, reason=reason, facts=facts)
        if verdict is None:
            self._refused_since.pop(intent.id, None)
            return waiting
        if verdict.event is not None:
            block = verdict.event.block_number, verdict.event.block_hash
            final = final_blocks(self._rpc, self._rules.finality, view, {block})
            return verdict.apply(intent) if final else waiting
        since = self._refused_since.setdefault(intent.id, self._clock())
        if self._clock() - since < self._rules.refused_after:
            return waiting
        del self._refused_since[intent.id]
        return verdict.apply(intent)

    def _estimates(self, calls: list[Call]) -> list[Any]:
        """The node's estimate or refusal for each call without a gas limit; None for the others."""
        asked = [call for call in calls if call.gas is None]
        questions = [("eth_estimateGas", [self._question(call)]) for call in asked]
        answers = iter(self._rpc.batch(questions) if questions else [])
        return [next(answers) if call.gas is None else None for call in calls]

    def _with_gas(self, call: Call, answer: Any) -> Call:
        return call if call.gas is not None else replace(call, gas=gas_from(answer, self._question(call)))

    def _question(self, call: Call) -> dict[str, Any]:
        value = {"value": hex(call.value)} if call.value else {}
        return {"from": self._signer.address, "to": call.to, "data": call.data, **value}


def cost_of(intent: Intent) -> int:
    """What an intent's newest bytes may cost, in wei."""
    call = intent.call
    return 0 if call is None else call.value + (call.gas or 0) * intent.newest.max_fee


def _waiting_for(error: ContractReverted | NodeRefused) -> tuple[str, dict[str, Any]]:
    if isinstance(error, ContractReverted):
        return "refused_now", {"error": error.name, "message": str(error)[:200]}
    return "node_refused", {"message": error.message[:200]}
