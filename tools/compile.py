"""Compile the contracts with py-solc-x into slim artifacts.

    python -m tools.compile            print the size of each contract
    python -m tools.compile --write    renew imprimatur/artifacts/ and deployments/standard-json/

An artifact is what our programs need of a contract. A standard-JSON input is what explorers need to verify
the source of a deployed one: every source that was compiled with it and the compiler's settings.

py-solc-x takes the compiler from SOLCX_BINARY_PATH (`run.py` sets it to tools/solcx, npm's build of solc);
without it, py-solc-x downloads the native one.
"""

import argparse
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imprimatur.artifacts import CONTRACTS

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "imprimatur" / "artifacts"
SOLC_VERSION = "0.8.37"
SIZE_LIMIT = 24_576
"""Bytes of runtime code that a contract may have (EIP-170)."""
STANDARD_JSON = ROOT / "deployments" / "standard-json"
SETTINGS = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 200},
    "remappings": ["@openzeppelin=node_modules/@openzeppelin"],
    "viaIR": True,
}
SELECTION = [
    "abi",
    "devdoc",
    "evm.bytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "evm.deployedBytecode.object",
    "metadata",
    "userdoc",
]


@dataclass(frozen=True)
class Compiled:
    """One contract as the compiler made it: `output` holds what SELECTION names."""

    name: str
    output: dict[str, Any]
    sources: tuple[str, ...]
    """Everything that was compiled together: other sources beside it can change a contract's code."""

    def artifact(self) -> dict[str, Any]:
        """What `imprimatur.artifacts` describes."""
        runtime = self.output["evm"]["deployedBytecode"]
        references = [place for places in runtime["immutableReferences"].values() for place in places]
        return {
            "contract": self.name,
            "compiler": {"version": SOLC_VERSION, "settings": SETTINGS},
            "abi": self.output["abi"],
            "bytecode": "0x" + self.output["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + runtime["object"],
            "immutables": sorted([place["start"], place["length"]] for place in references),
        }

    def standard_json(self) -> dict[str, Any]:
        """Input that makes any solc of this version produce this contract, without any file."""
        return {
            "language": "Solidity",
            "sources": {path: {"content": (ROOT / path).read_text()} for path in self.sources},
            "settings": SETTINGS | {"outputSelection": {"*": {"*": ["abi", "evm.bytecode.object"]}}},
        }


def solc(standard_input: dict[str, Any]) -> dict[str, Any]:
    """The compiler's output; py-solc-x raises with the compiler's messages when there are errors."""
    import solcx

    if not os.environ.get("SOLCX_BINARY_PATH"):
        solcx.install_solc(SOLC_VERSION)
    output: dict[str, Any] = solcx.compile_standard(standard_input, solc_version=SOLC_VERSION, base_path=ROOT)
    return output


@cache
def compile_sources(*folders: str) -> dict[str, dict[str, Any]]:
    """Outputs of everything in these folders (by paths from the root), as {file: {contract: output}}."""
    files = sorted(
        path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.sol")
    )
    standard_input = {
        "language": "Solidity",
        "sources": {path: {"content": (ROOT / path).read_text()} for path in files},
        "settings": SETTINGS | {"outputSelection": {"*": {"*": SELECTION}}},
    }
    compiled: dict[str, dict[str, Any]] = solc(standard_input)["contracts"]
    return compiled


def compile_contracts() -> dict[str, Compiled]:
    """All deployed contracts by name, from scratch."""
    output = compile_sources("contracts")
    # The compiler lists a source in the metadata of each contract that uses it.
    described = [contract["metadata"] for file in output.values() for contract in file.values()]
    sources = sorted({path for text in described if text for path in json.loads(text)["sources"]})
    return {name: Compiled(name, output[f"contracts/{name}.sol"][name], tuple(sources)) for name in CONTRACTS}


def as_text(document: dict[str, Any]) -> str:
    """The committed form of an artifact or a standard-JSON input."""
    return json.dumps(document, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="renew the committed files")
    arguments = parser.parse_args()
    for name, compiled in compile_contracts().items():
        artifact = compiled.artifact()
        size = len(artifact["deployedBytecode"]) // 2 - 1
        print(f"{name}: {size} of {SIZE_LIMIT} bytes")
        if arguments.write:
            (ARTIFACTS / f"{name}.json").write_text(as_text(artifact))
            STANDARD_JSON.mkdir(exist_ok=True)
            (STANDARD_JSON / f"{name}.json").write_text(as_text(compiled.standard_json()))


if __name__ == "__main__":
    main()
