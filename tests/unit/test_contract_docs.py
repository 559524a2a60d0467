"""The contracts' reference is fresh and complete, and the pages about it name what exists."""

import re

import pytest

from imprimatur import artifacts
from support.node import ROOT
from tools import contract_docs


def test_pages_are_fresh():
    for path, text in contract_docs.pages().items():
        assert path.read_text() == text, f"{path.name}: run: python3 run.py artifacts"


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_everything_is_on_the_page(name):
    page = (contract_docs.DOCS / f"{name}.md").read_text()
    for entry in artifacts.load(name)["abi"]:
        if entry["type"] != "constructor":
            assert re.search(rf"\b{entry['name']}\(", page), entry["name"]


def test_every_function_and_event_is_described():
    """Below each declaration there is a sentence."""
    for path in contract_docs.DOCS.glob("*.md"):
        for section in path.read_text().split("\n### ")[1:]:
            _, _, below = section.partition("\n```\n\n")
            assert re.match(r"[A-Za-z`]", below), f"{path.name}: {section.splitlines()[0]}"
            assert not below.startswith("Selector"), f"{path.name}: {section.splitlines()[0]}"


def test_guide_names_only_what_exists():
    """Every function, event and error in docs/contracts.md is one of the contracts'."""
    known = {entry.get("name") for name in artifacts.CONTRACTS for entry in artifacts.load(name)["abi"]}
    guide = (ROOT / "docs" / "contracts.md").read_text()
    named = set(re.findall(r"`(\w+)\(", guide)) | set(re.findall(r"\| `(\w+)` \|", guide))
    assert named - {"uint160"} <= known, sorted(named - known)
