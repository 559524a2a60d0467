"""Who may import whom: the rules stand in pyproject.toml, import-linter checks them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_rules():
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "octoprint_plugin")])}
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_chain_folders_import_brownie():
    allowed = {ROOT / "scripts", ROOT / "tests" / "contracts", ROOT / "tools"}
    for folder in ("app", "benchmarks", "examples", "imprimatur", "octoprint_plugin", "tests", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            if not allowed & set(path.parents):
                lines = path.read_text().splitlines()
                assert not any(line.startswith(("import brownie", "from brownie")) for line in lines), path


def test_library_is_light():
    """Importing any module of the library pulls in nothing heavy and nothing of the network.

    Only the command line needs click, which comes with an extra.
    """
    code = (
        "import importlib, pkgutil, sys, imprimatur\n"
        "names = [m.name for m in pkgutil.walk_packages(imprimatur.__path__, 'imprimatur.')]\n"
        "for name in names:\n"
        "    if not name.startswith('imprimatur.cli'): importlib.import_module(name)\n"
        "heavy = {'web3', 'eth_account', 'eth_abi', 'eth_utils', 'requests', 'Crypto', 'pyrage', 'rlp',"
        " 'jsonschema', 'click', 'pkcs11', 'segno', 'ndef'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert len(names) > 40, names\n"
    )
    # How long it takes is measured by benchmarks/import_time.py; here only what is imported counts.
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
