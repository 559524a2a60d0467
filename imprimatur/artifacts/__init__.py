"""Compiled contracts: ABI and bytecode as JSON, committed, compared with a fresh compile by a test."""

import json
from functools import cache
from importlib import resources
from typing import Any

CONTRACTS = ("DeviceRegistry", "PrintLicense")
"""The contracts that are deployed, in the order in which they need each other."""


@cache
def load(contract: str) -> dict[str, Any]:
    """The artifact of a contract: `abi`, `bytecode` and `deployedBytecode` (0x…), `immutables`, `compiler`.

    `immutables` are the places in the runtime code, as [first byte, length], that the constructor fills in.
    """
    artifact: dict[str, Any] = json.loads(resources.files(__name__).joinpath(f"{contract}.json").read_text())
    return artifact


def is_code_of(contract: str, code: bytes) -> bool:
    """Whether `code`, as a chain holds it at an address, is this contract's, with whatever immutables."""
    artifact = load(contract)
    expected = bytearray.fromhex(artifact["deployedBytecode"].removeprefix("0x"))
    found = bytearray(code)
    if len(found) != len(expected):
        return False
    for start, length in artifact["immutables"]:
        expected[start : start + length] = found[start : start + length] = bytes(length)
    return found == expected
