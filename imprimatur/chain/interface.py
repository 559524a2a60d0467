"""Encoding and decoding by a contract's ABI (Solidity's contract ABI specification)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from imprimatur import artifacts
from imprimatur.errors import ImprimaturError

Values = dict[str, Any]
"""Argument names and their values; structs as nested dictionaries, addresses with checksum."""


class ContractReverted(ImprimaturError):
    """The contract refused, with a custom error and its values."""

    def __init__(self, name: str, values: Values) -> None:
        details = ", ".join(f"{key}={value}" for key, value in values.items())
        super().__init__(f"The contract refused: {name}({details}).")
        self.name = name
        self.values = values


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """One log of a contract: the event's name, its values, and where it stands on the chain."""

    name: str
    values: Values
    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int


def _type_of(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return "(" + ",".join(_type_of(part) for part in parameter["components"]) + ")" + kind[5:]
    return kind


def _element_of(parameter: dict[str, Any]) -> dict[str, Any]:
    """What an array, such as `tuple[]`, is made of."""
    return parameter | {"type": parameter["type"].rpartition("[")[0]}


def _named(parameter: dict[str, Any], value: Any) -> Any:
    if parameter["type"].endswith("]"):
        return [_named(_element_of(parameter), element) for element in value]
    if parameter["type"] == "tuple":
        return _named_all(parameter["components"], value)
    if parameter["type"] == "address":
        from eth_utils.address import to_checksum_address

        return to_checksum_address(value)
    return value


def _named_all(parameters: list[dict[str, Any]], values: Any) -> Values:
    return {
        p["name"] or str(i): _named(p, v) for i, (p, v) in enumerate(zip(parameters, values, strict=True))
    }


def _positional(parameter: dict[str, Any], value: Any) -> Any:
    if parameter["type"].endswith("]"):
        return [_positional(_element_of(parameter), element) for element in value]
    if parameter["type"] == "tuple":
        return tuple(_positional(part, value[part["name"]]) for part in parameter["components"])
    return value


def _from_hex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


class Interface:
    """Functions, events and errors of one ABI. Calldata, results and topics are 0x-hexadecimal text."""

    def __init__(self, abi: list[dict[str, Any]]) -> None:
        from eth_utils.crypto import keccak

        self._functions: dict[str, dict[str, Any]] = {}
        self._events: dict[str, dict[str, Any]] = {}
        self._errors: dict[str, dict[str, Any]] = {}
        self._topics: dict[str, str] = {}
        self._constructor: list[dict[str, Any]] = []
        self._selectors: dict[str, str] = {}
        for entry in abi:
            if entry["type"] == "constructor":
                self._constructor = entry["inputs"]
            if entry["type"] not in ("function", "event", "error"):
                continue
            name = entry["name"]
            digest = keccak(
                f"{name}{_type_of({'type': 'tuple', 'components': entry['inputs']})}".encode()
            ).hex()
            if entry["type"] == "function":
                self._functions[name] = entry
                self._selectors[name] = f"0x{digest[:8]}"
            elif entry["type"] == "event":
                self._events[f"0x{digest}"] = entry
                self._topics[name] = f"0x{digest}"
            else:
                self._errors[f"0x{digest[:8]}"] = entry

    def topic(self, event: str) -> str:
        """First topic of an event's logs."""
        return self._topics[event]

    def error_name(self, selector: bytes) -> str:
        """Name of the error with this selector (4 bytes)."""
        name: str = self._errors[f"0x{selector.hex()}"]["name"]
        return name

    def encode_call(self, function: str, *arguments: Any) -> str:
        """Calldata. Structs are given as dictionaries by field name."""
        from eth_abi.abi import encode

        inputs = self._functions[function]["inputs"]
        values = [_positional(p, v) for p, v in zip(inputs, arguments, strict=True)]
        return self._selectors[function] + encode([_type_of(p) for p in inputs], values).hex()

    def encode_constructor(self, *arguments: Any) -> str:
        """Arguments of the constructor, to be appended to the creation code; without 0x."""
        from eth_abi.abi import encode

        values = [_positional(p, v) for p, v in zip(self._constructor, arguments, strict=True)]
        return encode([_type_of(p) for p in self._constructor], values).hex()

    def decode_result(self, function: str, data: str) -> Values:
        """Return values by name, or by position where the contract gives no name."""
        from eth_abi.abi import decode

        outputs = self._functions[function]["outputs"]
        return _named_all(outputs, decode([_type_of(p) for p in outputs], _from_hex(data)))

    def decode_event(self, log: dict[str, Any]) -> DecodedEvent | None:
        """The event behind a JSON-RPC log, or None when this ABI doesn't know it."""
        from eth_abi.abi import decode

        entry = self._events.get(log["topics"][0]) if log["topics"] else None
        if entry is None:
            return None
        topics = iter(log["topics"][1:])
        plain = [p for p in entry["inputs"] if not p["indexed"]]
        data = iter(decode([_type_of(p) for p in plain], _from_hex(log["data"])))
        values = {
            p["name"]: _named(
                p, decode([p["type"]], _from_hex(next(topics)))[0] if p["indexed"] else next(data)
            )
            for p in entry["inputs"]
        }
        return DecodedEvent(
            entry["name"],
            values,
            int(log["blockNumber"], 16),
            log["blockHash"],
            log["transactionHash"],
            int(log["logIndex"], 16),
        )

    def decode_error(self, data: Any) -> ContractReverted | None:
        """The custom error in a JSON-RPC error's data, or None when there is none that we know."""
        from eth_abi.abi import decode

        entry = self._errors.get(data[:10]) if isinstance(data, str) else None
        if entry is None:
            return None
        values = decode([_type_of(p) for p in entry["inputs"]], _from_hex(data[10:]))
        return ContractReverted(entry["name"], _named_all(entry["inputs"], values))


@cache
def interface_of(contract: str) -> Interface:
    """The interface of one of our contracts, by name."""
    return Interface(artifacts.load(contract)["abi"])
