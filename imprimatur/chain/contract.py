"""What the typed clients of our contracts have in common: reads, logs, refusals by name."""

from collections.abc import Iterator
from typing import Any, ClassVar

from imprimatur import artifacts
from imprimatur.chain.interface import ContractReverted, DecodedEvent, interface_of
from imprimatur.chain.rpc import NodeRefused, Rpc


def revert_of(refused: NodeRefused) -> ContractReverted | None:
    """The custom error of one of our contracts behind a node's refusal, if it is one."""
    data = refused.data
    if isinstance(data, dict):
        data = data.get("data")
    found = (interface_of(contract).decode_error(data) for contract in artifacts.CONTRACTS)
    return next((error for error in found if error is not None), None)


def init_code(contract: str, *arguments: Any) -> str:
    """What a transaction without recipient deploys: a contract's code and its constructor's arguments."""
    return str(artifacts.load(contract)["bytecode"]) + interface_of(contract).encode_constructor(*arguments)


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

    def _read(self, function: str, *arguments: Any) -> dict[str, Any]:
        call = {"to": self.address, "data": self._interface.encode_call(function, *arguments)}
        try:
            return self._interface.decode_result(function, self.rpc.call("eth_call", [call, "latest"]))
        except NodeRefused as error:
            raise revert_of(error) or error from error

    def _events(
        self, names: tuple[str, ...], indexed: list[int | None], since: int | None
    ) -> Iterator[DecodedEvent]:
        """Events in chain order whose indexed values are these (None: any)."""
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
        for log in self.rpc.call("eth_getLogs", [query]):
            if event := self._interface.decode_event(log):
                yield event

    def events_in(self, receipt: dict[str, Any], *names: str) -> list[DecodedEvent]:
        """This contract's events in a transaction's receipt; all that it knows when no name is given."""
        logs = [log for log in receipt["logs"] if log["address"].lower() == self.address.lower()]
        events = [self._interface.decode_event(log) for log in logs]
        return [event for event in events if event is not None and (not names or event.name in names)]
