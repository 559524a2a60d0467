"""The reference of the contracts in docs/contracts/, made from their ABI and NatSpec.

python -m tools.contract_docs            say which page is stale, and end with 1 if one is
python -m tools.contract_docs --write    renew docs/contracts/
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from imprimatur.artifacts import CONTRACTS
from tools import compile as compiler

DOCS = compiler.ROOT / "docs" / "contracts"
Entry = dict[str, Any]
_LINK = re.compile(r"xref:\S+?\[([^\]]*)\]")


def _canonical(parameter: Entry) -> str:
    """A type as it counts for selectors."""
    kind: str = parameter["type"]
    if kind.startswith("tuple"):
        return "(" + ",".join(map(_canonical, parameter["components"])) + ")" + kind[5:]
    return kind


def _signature(entry: Entry) -> str:
    return f"{entry['name']}({','.join(map(_canonical, entry['inputs']))})"


def _readable(parameter: Entry) -> str:
    """A parameter as the source writes it: structs and contracts by name."""
    kind = str(parameter.get("internalType", parameter["type"]))
    kind = kind.removeprefix("struct ").removeprefix("contract ")
    words = [kind.rpartition(".")[2]]
    words += ["indexed"] if parameter.get("indexed") else []
    words += [parameter["name"]] if parameter["name"] else []
    return " ".join(words)


def _declaration(entry: Entry) -> str:
    text = f"{entry['name']}({', '.join(map(_readable, entry['inputs']))})"
    if entry.get("stateMutability") in ("view", "pure"):
        text += f" {entry['stateMutability']}"
    if entry.get("outputs"):
        text += f" returns ({', '.join(map(_readable, entry['outputs']))})"
    return text


def _sentence(text: str | None) -> str:
    """Comment text in one line, without the link markup of OpenZeppelin's own documentation."""
    return _LINK.sub(r"\1", " ".join((text or "").split()))


class Page:
    """One contract's page, as Markdown."""

    def __init__(self, name: str, output: Entry) -> None:
        self._name = name
        self._abi: list[Entry] = output["abi"]
        self._user: Entry = output["userdoc"]
        self._dev: Entry = output["devdoc"]

    def text(self) -> str:
        parts = [
            f"# {self._name}",
            f"{_sentence(self._user.get('notice'))}",
            "Made by `tools/contract_docs.py` from the contract's ABI and comments: change those.",
            "## Functions",
            *self._functions(),
            "## Constants",
            self._constants(),
            "## Structs",
            *self._structs(),
            "## Events",
            *self._events(),
            "## Errors",
            self._errors(),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _of_kind(self, kind: str) -> list[Entry]:
        return sorted(
            (entry for entry in self._abi if entry["type"] == kind), key=lambda entry: str(entry["name"])
        )

    def _functions(self) -> list[str]:
        return [self._function(entry) for entry in self._of_kind("function") if not entry["name"].isupper()]

    def _constants(self) -> str:
        """What is fixed for ever; written in capitals."""
        described = self._dev.get("stateVariables", {})
        lines = ["| constant | type | |", "|---|---|---|"]
        for entry in self._of_kind("function"):
            if entry["name"].isupper():
                notice = self._user.get("methods", {}).get(_signature(entry), {}).get("notice")
                text = notice or described.get(entry["name"], {}).get("details")
                lines.append(
                    f"| `{entry['name']}()` | `{_readable(entry['outputs'][0])}` | {_sentence(text)} |"
                )
        return "\n".join(lines)

    def _function(self, entry: Entry) -> str:
        signature = _signature(entry)
        user = self._user.get("methods", {}).get(signature, {})
        dev = self._dev.get("methods", {}).get(signature, {})
        lines = [f"### {entry['name']}", "", f"```solidity\n{_declaration(entry)}\n```", ""]
        lines += [_sentence(text) for text in (user.get("notice"), dev.get("details")) if text]
        named = list(dev.get("params", {}).items())
        named += [
            (name if name != "_0" else "returns", text) for name, text in dev.get("returns", {}).items()
        ]
        if named:
            lines += ["", *(f"- `{name}`: {_sentence(text)}" for name, text in named)]
        lines += ["", f"Selector `0x{keccak(text=signature)[:4].hex()}`"]
        return "\n".join(lines)

    def _structs(self) -> list[str]:
        found: dict[str, str] = {}
        for entry in self._abi:
            for parameter in [*entry.get("inputs", []), *entry.get("outputs", [])]:
                if "components" in parameter:
                    name = _readable(parameter).partition(" ")[0].removesuffix("[]")
                    fields = "\n".join(f"    {_readable(field)};" for field in parameter["components"])
                    found[name] = f"```solidity\nstruct {name} {{\n{fields}\n}}\n```"
        return [found[name] for name in sorted(found)]

    def _events(self) -> list[str]:
        notices = self._user.get("events", {})
        details = self._dev.get("events", {})
        texts = []
        for entry in self._of_kind("event"):
            signature = _signature(entry)
            notice = notices.get(signature, {}).get("notice") or details.get(signature, {}).get("details")
            declared = f"### {entry['name']}\n\n```solidity\n{_declaration(entry)}\n```"
            texts.append(f"{declared}\n\n{_sentence(notice)}".rstrip())
        return texts

    def _errors(self) -> str:
        notices, details = self._user.get("errors", {}), self._dev.get("errors", {})
        lines = ["| selector | error | |", "|---|---|---|"]
        for entry in self._of_kind("error"):
            signature = _signature(entry)
            said = [*notices.get(signature, []), *details.get(signature, [])]
            text = next((one.get("notice") or one.get("details") for one in said if one), "")
            selector = keccak(text=signature)[:4].hex()
            lines.append(f"| `0x{selector}` | `{_declaration(entry)}` | {_sentence(text)} |")
        return "\n".join(lines)


def pages() -> dict[Path, str]:
    """All pages by path."""
    output = compiler.compile_sources("contracts")
    return {
        DOCS / f"{name}.md": Page(name, output[f"contracts/{name}.sol"][name]).text() for name in CONTRACTS
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="renew the pages")
    arguments = parser.parse_args()
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if arguments.write:
        DOCS.mkdir(exist_ok=True)
        for path, text in pages().items():
            path.write_text(text)
        return 0
    for path in stale:
        print(f"{path.relative_to(compiler.ROOT)} is stale: run.py artifacts", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
