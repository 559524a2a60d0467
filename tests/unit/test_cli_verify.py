"""`imprimatur verify --block-hash`: of which chain a trusted hash is, the certificate doesn't decide."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from imprimatur import address_book
from imprimatur.certificate import verify
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.program import program
from support.forger import CHAIN_ID, CONTRACT, TAG, forge

ENTRY = address_book.Deployment(CHAIN_ID, "PrintLicense", "0x" + CONTRACT.hex(), 1, "0x")


@pytest.fixture
def book(tmp_path):
    folder = tmp_path / "book"
    address_book.store(folder, ENTRY)
    return folder


@pytest.fixture
def ask(tmp_path, book):
    def ask(data, *options):
        path = tmp_path / "certificate.json"
        path.write_bytes(data)
        hash = "0x" + verify(data, book).block.hash.hex()
        command = ["verify", str(path), "--address-book", str(book), "--block-hash", hash, *options, "--json"]
        result = CliRunner().invoke(program, command)
        return result.exit_code, json.loads(result.stdout)

    return ask


def test_the_only_chain_of_the_contract_is_meant(ask):
    code, answer = ask(forge())
    assert (code, answer["result"], answer["chainId"]) == (ExitCode.OK, "proven", CHAIN_ID)
    assert f"chain {CHAIN_ID}" in answer["explanation"]["headline"]


def test_a_certificate_doesnt_choose_its_chain(ask, book):
    """The contract has one address on two chains, and the hash is of one of them."""
    address_book.store(book, replace(ENTRY, chain_id=10))
    for chain_id in (CHAIN_ID, 10):
        code, answer = ask(forge(chain_id=chain_id))
        assert code == ExitCode.USAGE
        assert "10, 31337" in answer["error"]["message"]
        assert "--chain" in answer["error"]["message"]
    assert ask(forge(), "--chain", str(CHAIN_ID))[0] == ExitCode.OK
    code, answer = ask(forge(chain_id=10), "--chain", str(CHAIN_ID))
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "OtherChain")


def test_a_chain_where_the_contract_was_retired_counts(ask, book):
    address_book.store(book, replace(ENTRY, chain_id=10))
    address_book.store(book, replace(ENTRY, chain_id=10, address="0x" + "11" * 20))
    assert ask(forge())[0] == ExitCode.USAGE


def test_the_tag_of_a_certificate_is_shown(ask):
    tag = ask(forge(tag=TAG))[1]["tag"]
    assert tag == {"serial": TAG.serial, "address": TAG.address}
