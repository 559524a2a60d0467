"""Locked files are up to date, name no package index and fix every package by hash."""

import json

import pytest

from tools.launcher.locks import COMPILED, is_stale
from tools.launcher.toolchain import ROOT


@pytest.mark.parametrize("source", COMPILED)
def test_lock_is_fresh(source):
    assert not is_stale(source, COMPILED[source]), "run: python3 run.py lock"


@pytest.mark.parametrize("source", COMPILED)
def test_lock_has_hashes_and_no_address(source):
    text = COMPILED[source].read_text()
    assert "://" not in text
    requirements = [line for line in text.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert requirements
    assert all(line.endswith("\\") for line in requirements)


def test_npm_lock_has_no_address():
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert not any("resolved" in package for package in lock["packages"].values())
