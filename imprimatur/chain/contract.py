"""What the typed clients of our contracts have in common: reads, logs, refusals by name."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from imprimatur import artifacts
from imprimatur.chain.interface import ContractReverted, DecodedEvent, Interface, built_in, interface_of
from imprimatur.chain.logs import read_logs
from imprimatur.chain.rpc import NodeRefused, Rpc

EXECUTION_REVERTED = 3
"""Code of a JSON-RPC error that is a revert (geth, and who follows it)."""


Block = int | str
"""A block's number, its hash (0x and 64 digits), or "latest", "safe", "finalized"."""

_HEXADECIMAL = re.compile(r"0x(?:[0-9a-fA-F]{2}){4,}")
_DEEPEST = 5
"""Levels of JSON in which nodes wrap the data of a revert; three are known."""


def revert_of(refused: NodeRefused) -> ContractReverted | None:
    """The error of a contract behind a node's refusal, if it is one.

    Nodes hide its bytes in several places: as the error's data, in an object around it (Hardhat's
    `originalError`, Ganache's `return`), in a sentence ("Reverted 0x…"), or in the message. Bytes that no
    contract of ours says are kept under their selector, when the node speaks of a revert.
    """
    candidates = list(dict.fromkeys([*_hexadecimal(refused.data), *_hexadecimal(refused.message)]))
    interfaces = [built_in(), *(interface_of(contract) for contract in artifacts.CONTRACTS)]
    for data in candidates:
        for interface in interfaces:
            if error := interface.decode_error(data):
                return error
    if not _speaks_of_a_revert(refused):
        return None
    # Four bytes of selector and whole words: neither a hash nor an address in a sentence.
    raw = next((data for data in candidates if (len(data) // 2 - 1) % 32 == 4), None)
    return None if raw is None else ContractReverted(raw[:10], {"data": raw})


def _speaks_of_a_revert(refused: NodeRefused) -> bool:
    inner = refused.data.get("code") if isinstance(refused.data, dict) else None
    if EXECUTION_REVERTED in (refused.code, inner):
        return True
    return "revert" in f"{refused.message} {refused.data}".lower()


def _hexadecimal(value: Any, depth: int = 0) -> Iterator[str]:
    """Every hexadecimal text in a JSON value, down to `_DEEPEST` levels of objects and lists."""
    if isinstance(value, str):
        yield from _HEXADECIMAL.findall(value)
    elif isinstance(value, dict | list) and depth < _DEEPEST:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _hexadecimal(item, depth + 1)


def init_code(contract: str, *arguments: Any) -> str:
    """What a transaction without recipient deploys: a contract's code and its constructor's arguments."""
    return str(artifacts.load(contract)["bytecode"]) + interface_of(contract).encode_constructor(*arguments)


def block_parameter(block: Block) -> Any:
    """A block as JSON-RPC wants it (EIP-1898 for hashes)."""
    if isinstance(block, int):
        return hex(block)
    return {"blockHash": block} if len(block) == 66 else block


def _topic(value: int) -> str:
    return f"0x{value:064x}"


class Contract:
    """A contract at `address`, asked through `rpc`. Logs are searched from block `since`."""

    NAME: ClassVar[str]
    """Of the artifact."""

    def __init__(self, rpc: Rpc, address: str, since: int = 0) -> None:
        self.rpc = rpc
        self.address = address
        self.since = since
        self._interface = interface_of(self.NAME)

    def _read(self, function: str, *arguments: Any, block: Block = "latest") -> dict[str, Any]:
        """Return values of a function as of the end of `block`.

        Raises:
            ContractReverted: with the contract's error and values.
            MalformedData: there is no such contract at this address, at that block.
            NodeUnreachable, NodeRefused: also when the node no longer has the state of that block.
        """
        call = {"to": self.address, "data": self._interface.encode_call(function, *arguments)}
        try:
            answer = self.rpc.call("eth_call", [call, block_parameter(block)])
        except NodeRefused as error:
            raise revert_of(error) or error from error
        return self._interface.decode_result(function, answer)

    def _read_each(
        self, function: str, arguments: Iterable[tuple[Any, ...]], block: Block = "latest"
    ) -> list[dict[str, Any] | ContractReverted]:
        """As `_read` with each of the `arguments`, asked at once; the contract's refusals are in the list."""
        calls = []
        for values in arguments:
            call = {"to": self.address, "data": self._interface.encode_call(function, *values)}
            calls.append(("eth_call", [call, block_parameter(block)]))
        return [self._decoded(function, answer) for answer in self.rpc.batch(calls)]

    def _decoded(self, function: str, answer: Any) -> dict[str, Any] | ContractReverted:
        if not isinstance(answer, NodeRefused):
            return self._interface.decode_result(function, answer)
        if reverted := revert_of(answer):
            return reverted
        raise answer

    def _events(
        self, names: tuple[str, ...], indexed: list[int | None], since: int | None
    ) -> Iterator[DecodedEvent]:
        """Events in chain order whose indexed values are these (None: any).

        Raises:
            NodeUnreachable, NodeRefused: as `read_logs`.
        """
        topics: list[Any] = [[self._interface.topic(name) for name in names] or None]
        topics += [None if value is None else _topic(value) for value in indexed]
        while topics and topics[-1] is None:
            topics.pop()
        query = {
            "address": self.address,
            "fromBlock": hex(self.since if since is None else since),
            "toBlock": "latest",
            "topics": topics,
        }
        for log in read_logs(self.rpc, query):
            if event := self._interface.decode_event(log):
                yield event

    @property
    def interface(self) -> Interface:
        """The contract's ABI."""
        return self._interface

    def events_in(self, receipt: dict[str, Any], *names: str) -> list[DecodedEvent]:
        """This contract's events in a transaction's receipt; all that it knows when no name is given."""
        logs = [log for log in receipt["logs"] if log["address"].lower() == self.address.lower()]
        events = [self._interface.decode_event(log) for log in logs]
        return [event for event in events if event is not None and (not names or event.name in names)]


def decode_log(log: dict[str, Any], contracts: Iterable[Contract]) -> tuple[Contract, DecodedEvent] | None:
    """Which of `contracts` a JSON-RPC log is by, and its event; None when it isn't theirs.

    Raises:
        MalformedData: it is theirs, but doesn't have the event's shape.
    """
    for contract in contracts:
        if log["address"].lower() == contract.address.lower():
            event = contract.interface.decode_event(log)
            return None if event is None else (contract, event)
    return None
