"""The committed artifacts are what the compiler makes of the committed sources."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest

from imprimatur import artifacts
from imprimatur.chain.contract import Contract
from tools import compile as compiler


@pytest.fixture(scope="module")
def compiled():
    return compiler.compile_contracts()


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_fresh_compile_gives_the_same_bytes(compiled, name):
    fresh = compiled[name].artifact()
    committed = (compiler.ARTIFACTS / f"{name}.json").read_text()
    assert committed == compiler.as_text(fresh), f"{name}: run: python3 run.py artifacts"
    assert json.loads(committed) == artifacts.load(name)


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_source_verification_input_is_fresh(compiled, name):
    committed = (compiler.STANDARD_JSON / f"{name}.json").read_text()
    assert committed == compiler.as_text(compiled[name].standard_json()), (
        f"{name}: run: python3 run.py artifacts"
    )


@cache
def _explored(standard_input):
    """Compiled, each input once: today the contracts' inputs are the same."""
    return compiler.solc(json.loads(standard_input))["contracts"]


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_source_verification_input_gives_the_deployed_bytes(name):
    """What an explorer does: compile the input alone and compare the creation code."""
    output = _explored((compiler.STANDARD_JSON / f"{name}.json").read_text())[f"contracts/{name}.sol"][name]
    assert "0x" + output["evm"]["bytecode"]["object"] == artifacts.load(name)["bytecode"]


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_contracts_fit_the_chains_size_limit(name):
    assert len(artifacts.load(name)["deployedBytecode"]) // 2 - 1 <= compiler.SIZE_LIMIT


def _code_at(chain, contract: Contract) -> bytes:
    return bytes.fromhex(chain.rpc.call("eth_getCode", [contract.address, "latest"])[2:])


def test_code_on_a_chain_is_recognised(chain):
    for contract in (chain.licenses, chain.devices):
        code = _code_at(chain, contract)
        assert artifacts.is_code_of(contract.NAME, code)
        assert not artifacts.is_code_of(contract.NAME, code[:-1])
        assert not artifacts.is_code_of(contract.NAME, bytes([code[0] ^ 1]) + code[1:])
    assert not artifacts.is_code_of("PrintLicense", _code_at(chain, chain.devices))
    assert not artifacts.is_code_of("PrintLicense", b"")


def test_without_the_variable_the_installed_compiler_is_used(tmp_path):
    """py-solc-x's own folder, as after its download of the native compiler, which can't happen offline."""
    installed = tmp_path / ".solcx" / f"solc-v{compiler.SOLC_VERSION}"
    installed.parent.mkdir()
    installed.write_text(
        f'#!/bin/sh\nexec "{compiler.ROOT}/tools/solcx/solc-v{compiler.SOLC_VERSION}" "$@"\n'
    )
    installed.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "SOLCX_BINARY_PATH"}
    sources = {"sources": {"A.sol": {"content": "pragma solidity ^0.8.0; contract A {}"}}}
    code = f"from tools import compile; print(compile.solc({ {'language': 'Solidity', **sources} }))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=compiler.ROOT,
        env=env | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "'A.sol': {'id': 0}" in done.stdout


def test_the_command_tells_the_sizes(compiled, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compile"])
    compiler.main()
    assert capsys.readouterr().out.count(f"of {compiler.SIZE_LIMIT} bytes") == len(compiled)
