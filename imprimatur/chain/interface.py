"""Encoding and decoding by a contract's ABI (Solidity's contract ABI specification)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from imprimatur import artifacts
from imprimatur.errors import ImprimaturError

Values = dict[str, Any]
"""Argument names and their values; structs as nested dictionaries, addresses with checksum."""


PANICS = {
    0x01: "an assertion failed",
    0x11: "a number left its range",
    0x12: "a division by zero",
    0x21: "a number that isn't one of its enumeration",
    0x22: "a damaged byte array in storage",
    0x31: "an element taken from an empty array",
    0x32: "an index out of bounds",
    0x41: "too much memory",
    0x51: "a function that isn't set",
}
"""Codes of `Panic(uint256)` (Solidity documentation, "Panic via assert and error via require")."""


LONGEST_TEXT = 300
"""Characters of a contract's words in an error's text."""


class ContractReverted(ImprimaturError):
    """The contract refused, with a custom error and its values.

    `name` is "Error" for a text (`values["message"]`), "Panic" for a fault that the compiler guards against
    (`values["code"]`), and the selector (0x and 8 digits, `values["data"]` holding all) for what no contract
    of ours says.
    """

    def __init__(self, name: str, values: Values) -> None:
        text = _explain(name, values)
        # Whoever wrote the contract, or answers for the node, says how much there is to read.
        text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
        super().__init__(f"The contract refused: {text}.")
        self.name = name
        self.values = values


class MalformedData(ImprimaturError):
    """Data of a node that doesn't have the shape of the ABI: another contract, or a node that is wrong."""


def _explain(name: str, values: Values) -> str:
    if name == "Error":
        return str(values["message"]).rstrip(".")
    if name == "Panic":
        return f"{PANICS.get(values['code'], 'a fault')} (panic 0x{values['code']:02x})"
    if name.startswith("0x"):
        return f"an error that isn't one of ours, {values['data'][:74]}"
    return f"{name}({', '.join(f'{key}={value}' for key, value in values.items())})"


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


def _decode(what: str, parameters: list[dict[str, Any]], data: bytes) -> tuple[Any, ...]:
    """Values of `parameters`.

    Raises:
        MalformedData: anything but the one encoding of these values, byte for byte: too short, too long, with
            bytes where there must be zeros, or arranged in another way than compilers do.
    """
    from eth_abi.abi import decode, encode
    from eth_abi.exceptions import DecodingError

    types = [_type_of(p) for p in parameters]
    # Of simple values, whole words of the right number have one encoding only.
    simple = not any(kind.endswith(("]", ")")) or kind in ("bytes", "string") for kind in types)
    if simple and len(data) != 32 * len(types):
        raise MalformedData(f"{what} has {len(data)} bytes of data instead of {32 * len(types)}.")
    try:
        values: tuple[Any, ...] = decode(types, data)
    except (DecodingError, ValueError, OverflowError) as error:
        # ValueError: text that isn't UTF-8.
        raise MalformedData(f"{what} can't be read ({type(error).__name__}).") from error
    if not simple and encode(types, values) != data:
        raise MalformedData(f"{what} has more in it than its values.")
    return values


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
        """Name of the error with this selector (4 bytes); the selector itself when this ABI has none."""
        entry = self._errors.get(f"0x{selector.hex()}")
        return f"0x{selector.hex()}" if entry is None else str(entry["name"])

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
        """Return values by name, or by position where the contract gives no name.

        Raises:
            MalformedData: also when there is no contract, whose answer is empty.
        """
        outputs = self._functions[function]["outputs"]
        return _named_all(outputs, _decode(f"The answer of {function}", outputs, _bytes_of(function, data)))

    def decode_event(self, log: dict[str, Any]) -> DecodedEvent | None:
        """The event behind a JSON-RPC log, or None when this ABI doesn't know it.

        Raises:
            MalformedData: it has the event's first topic, but not its shape.
        """
        try:
            topics: list[str] = log["topics"]
            entry = self._events.get(topics[0]) if topics else None
            if entry is None:
                return None
            name, inputs = entry["name"], entry["inputs"]
            indexed = [p for p in inputs if p["indexed"]]
            if len(topics) != 1 + len(indexed):
                raise MalformedData(
                    f"A log of {name} has {len(topics)} topics instead of {1 + len(indexed)}."
                )
            what = f"A log of {name}"
            head = _decode(what, indexed, b"".join(_bytes_of(name, topic) for topic in topics[1:]))
            plain = [p for p in inputs if not p["indexed"]]
            rest = iter(_decode(what, plain, _bytes_of(name, log["data"])))
            first = iter(head)
            return DecodedEvent(
                name,
                {p["name"]: _named(p, next(first if p["indexed"] else rest)) for p in inputs},
                int(log["blockNumber"], 16),
                log["blockHash"],
                log["transactionHash"],
                int(log["logIndex"], 16),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedData(f"The node's log can't be read ({type(error).__name__}: {error}).") from error

    def decode_error(self, data: Any) -> ContractReverted | None:
        """The error in the data (0x…) of a revert, or None when there is none that this ABI knows."""
        entry = self._errors.get(data[:10].lower()) if isinstance(data, str) else None
        if entry is None:
            return None
        name, inputs = entry["name"], entry["inputs"]
        try:
            return ContractReverted(
                name, _named_all(inputs, _decode(name, inputs, _bytes_of(name, data[10:])))
            )
        except MalformedData:
            # Another contract's error of the same four bytes, or damaged: callers keep the data as it is.
            return None


def _bytes_of(what: str, text: Any) -> bytes:
    try:
        return _from_hex(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise MalformedData(f"The node's data for {what} isn't hexadecimal.") from error


BUILT_IN = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)
"""What Solidity itself reverts with."""


@cache
def built_in() -> Interface:
    """The errors of the language, for every contract."""
    return Interface(list(BUILT_IN))


@cache
def interface_of(contract: str) -> Interface:
    """The interface of one of our contracts, by name."""
    return Interface(artifacts.load(contract)["abi"])
