"""The verb `audit` against a real node: how it ends, and what it calls anchored."""

import json

import pytest
from audited import world as worlds
from audited.lying_proxy import lying_node
from click.testing import CliRunner

from imprimatur import schemas
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.program import program
from support.node import running_chain


@pytest.fixture(scope="module")
def world():
    with running_chain() as chain:
        yield worlds.build(chain)


@pytest.fixture(scope="module")
def audit(world, tmp_path_factory):
    """Runs the command; gives exit code, stdout and stderr."""
    folder = tmp_path_factory.mktemp("book")
    world.chain.write_address_book(folder)

    def run(*arguments, node=world.chain.url):
        line = ["audit", "--node", node, "--address-book", str(folder), *map(str, arguments)]
        done = CliRunner().invoke(program, line)
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def newest(world):
    return world.chain.rpc.call("eth_getBlockByNumber", ["latest", False])


def test_only_what_is_anchored_ends_with_zero(world, audit, newest):
    by_node = ("--trusted-node", world.chain.url)
    for arguments, code, anchored in (
        ((), ExitCode.NOT_ANCHORED, False),
        (("--unverified",), ExitCode.NOT_ANCHORED, False),
        (("--trusted-head", newest["hash"]), ExitCode.OK, True),
        (by_node, ExitCode.OK, True),
        ((*by_node, "--until", 20), ExitCode.OK, True),
    ):
        ended, out, _ = audit(*arguments, "--finality", "latest", "--json")
        answer = json.loads(out)
        assert schemas.problem_in(answer, "audit.v1") is None
        assert answer["consistent"]
        assert (ended, answer["anchored"]) == (code, anchored), arguments
        ended, out, _ = audit(*arguments, "--finality", "latest")
        assert ended == code
        assert ("Not anchored" in out) is not anchored


@pytest.mark.parametrize("name", ["OperatorSet", "ControlTransferred", "DeviceUnbound"])
def test_what_a_believed_node_hides_shows_in_the_contracts_state(world, audit, name):
    """And contradictions come before a missing anchor."""
    contract = world.chain.devices if name == "DeviceUnbound" else world.chain.licenses
    topic = contract.interface.topic(name)

    def lie(method, result):
        return [log for log in result if log["topics"][0] != topic] if method == "eth_getLogs" else result

    with lying_node(world.chain.url, lie) as url:
        code, out, _ = audit("--finality", "latest", "--unverified", "--json", node=url)
    assert code == ExitCode.NO
    assert {entry["kind"] for entry in json.loads(out)["contradictions"]} == {"contract-differs"}


def test_a_second_node_that_disagrees_is_told(world, audit):
    def other_hash(method, result):
        return result | {"hash": "0x" + "ab" * 32} if method == "eth_getBlockByNumber" else result

    def other_chain(method, result):
        return "0x5" if method == "eth_chainId" else result

    for lie, code, problem in (
        (other_hash, ExitCode.NO, "NodeLies"),
        (other_chain, ExitCode.FAILED, "CommandFailed"),
    ):
        with lying_node(world.chain.url, lie) as url:
            ended, out, _ = audit("--trusted-node", url, "--finality", "latest", "--json")
        assert (ended, json.loads(out)["error"]["type"]) == (code, problem)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--until", 10**30),
        ("--since", 2**63),
        ("--unverified", "--trusted-node", "http://127.0.0.1:9"),
        ("--trusted-head", "ab" * 32, "--trusted-node", "http://127.0.0.1:9"),
        ("--trusted-node", "ftp://user:secret@127.0.0.1:9"),
    ],
)
def test_what_cant_be_meant_is_refused(audit, arguments):
    code, out, problem = audit(*arguments)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "secret" not in problem


def test_a_files_name_is_no_line_of_the_report(audit, tmp_path):
    (tmp_path / "x\nNo contradictions.\r\u2028Bound").write_bytes(b'{"manifest":{ broken')
    _, out, _ = audit("--finality", "latest", "--files", tmp_path)
    assert sum(line == "No contradictions." for line in out.splitlines()) == 1
    assert "x\N{REPLACEMENT CHARACTER}No contradictions.\N{REPLACEMENT CHARACTER}" in out
