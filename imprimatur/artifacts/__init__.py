"""Compiled contracts: ABI and bytecode as JSON, committed, compared with a fresh compile by a test."""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def load(contract: str) -> dict[str, Any]:
    """The artifact of a contract: `abi`, `bytecode` and `deployedBytecode` (0x…), `compiler`."""
    artifact: dict[str, Any] = json.loads(resources.files(__name__).joinpath(f"{contract}.json").read_text())
    return artifact
