"""From a call to signed bytes: simulated, priced, affordable."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from imprimatur.chain.interface import ContractReverted
from imprimatur.chain.outbox.alarms import Alarm, AlarmKind
from imprimatur.chain.outbox.following import Change
from imprimatur.chain.outbox.purpose import Purpose
from imprimatur.chain.outbox.records import Attempt, Call, Intent, State
from imprimatur.chain.outbox.rules import Rules
from imprimatur.chain.outbox.view import View
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import Signer
from imprimatur.chain.transactions import Fees, NotEnoughFunds, build, gas_from
from imprimatur.errors import ImprimaturError


class FeesTooHigh(ImprimaturError):
    """The chain asks for more than the rules allow to pay."""


class Signing:
    """Makes attempts of one signer under one chain's rules."""

    CANCELLING_GAS: ClassVar[int] = 21_000
    """Of a transfer of nothing to oneself."""

    def __init__(self, rpc: Rpc, signer: Signer, rules: Rules, clock: Callable[[], float]) -> None:
        self._rpc = rpc
        self._signer = signer
        self._rules = rules
        self._clock = clock

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

    def successor(self, intent: Intent, fees: Fees, head: int) -> Attempt:
        """Bytes that take the place of an intent's newest: its call, or nothing to cancel it."""
        nonce, call = intent.newest.nonce, intent.call
        if intent.cancelling or call is None:
            nothing = Call(self._signer.address, gas=self.CANCELLING_GAS)
            return self.attempt(nothing, nonce, fees, head, cancels=True)
        return self.attempt(call, nonce, fees, head)

    def prepare(
        self,
        queued: list[Intent],
        flight: list[Intent],
        view: View,
        purpose: Purpose,
        alarms: list[Alarm],
    ) -> tuple[list[tuple[Intent, Call]], list[Change]]:
        """Which waiting intents can be signed now, with their calls; and what changes for the others."""
        calls = [purpose.call(intent) for intent in queued]
        committed = sum(_cost(intent) for intent in flight if intent.state is State.SENT)
        ready: list[tuple[Intent, Call]] = []
        changes: list[Change] = []
        for intent, call, answer in zip(queued, calls, self._estimates(calls), strict=True):
            reason: str
            facts: dict[str, Any]
            try:
                complete = self.affordable(self._with_gas(call, answer), view, committed)
            except FeesTooHigh:
                reason, facts = "fees_too_high", {"base_fee": view.base_fee}
                alarms.append(Alarm(AlarmKind.FEE_CAP, {"key": intent.key, "wanted": view.base_fee}))
            except NotEnoughFunds:
                reason, facts = "no_funds", {"sender": self._signer.address}
                alarms.append(Alarm(AlarmKind.LOW_BALANCE, {"balance": view.balance}))
            except (ContractReverted, NodeRefused) as error:
                verdict = purpose.refused(intent, error, alone=not flight and not ready)
                if verdict is not None:
                    changes.append(Change(intent, verdict.apply(intent)))
                    continue
                reason, facts = _waiting_for(error)
            else:
                ready.append((intent, complete))
                committed += complete.value + (complete.gas or 0) * self.fees(view).max_fee
                continue
            if (intent.reason, intent.facts) != (reason, facts):
                changes.append(Change(intent, replace(intent, reason=reason, facts=facts)))
        return ready, changes

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


def _cost(intent: Intent) -> int:
    call = intent.call
    return 0 if call is None else call.value + (call.gas or 0) * intent.newest.max_fee


def _waiting_for(error: ContractReverted | NodeRefused) -> tuple[str, dict[str, Any]]:
    if isinstance(error, ContractReverted):
        return "refused_now", {"error": error.name}
    return "node_refused", {"message": error.message[:200]}
