"""Compile the contracts with py-solc-x into slim artifacts.

    python tools/compile.py            print the size of each contract
    python tools/compile.py --write    renew imprimatur/artifacts/

py-solc-x takes the compiler from SOLCX_BINARY_PATH (`run.py` sets it to tools/solcx, npm's build of solc);
without it, py-solc-x downloads the native one.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "imprimatur" / "artifacts"
SOLC_VERSION = "0.8.37"
SIZE_LIMIT = 24_576
"""Bytes of runtime code that a contract may have (EIP-170)."""
REMAPPINGS = ["@openzeppelin=node_modules/@openzeppelin"]
DEPLOYED = ["PrintLicense"]


def compile_contracts() -> dict[str, dict[str, Any]]:
    """Artifacts of all deployed contracts by name, from scratch."""
    import solcx

    if not os.environ.get("SOLCX_BINARY_PATH"):
        solcx.install_solc(SOLC_VERSION)
    sources = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "contracts").rglob("*.sol"))
    settings = {
        "evmVersion": "cancun",
        "optimizer": {"enabled": True, "runs": 200},
        "remappings": REMAPPINGS,
        "viaIR": True,
    }
    standard_input = {
        "language": "Solidity",
        "sources": {path: {"content": (ROOT / path).read_text()} for path in sources},
        "settings": settings
        | {"outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}}},
    }
    output = solcx.compile_standard(standard_input, solc_version=SOLC_VERSION, base_path=ROOT)
    artifacts = {}
    for name in DEPLOYED:
        contract = output["contracts"][f"contracts/{name}.sol"][name]
        artifacts[name] = {
            "contract": name,
            "compiler": {"version": SOLC_VERSION, "settings": settings},
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + contract["evm"]["deployedBytecode"]["object"],
        }
    return artifacts


def as_text(artifact: dict[str, Any]) -> str:
    """The committed form of an artifact."""
    return json.dumps(artifact, indent=1) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="renew the committed artifacts")
    arguments = parser.parse_args()
    for name, artifact in compile_contracts().items():
        size = len(artifact["deployedBytecode"]) // 2 - 1
        print(f"{name}: {size} of {SIZE_LIMIT} bytes")
        if arguments.write:
            (ARTIFACTS / f"{name}.json").write_text(as_text(artifact))


if __name__ == "__main__":
    main()
