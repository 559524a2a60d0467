"""Nodes that give the logs of few blocks at once: everything is answered as by one without a limit."""

import json
import os
import time
from dataclasses import replace

import pytest
from audited import world as worlds
from audited.world import BASE
from click.testing import CliRunner

from imprimatur.chain import logs
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, NodeRefused
from imprimatur.chain.signers import KeySigner
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.program import program
from imprimatur.manifest.signature import SignedManifest
from imprimatur.manifest.verification import verify_manifest
from support.delivery_portal import running_portal
from support.limited_node import Limits, limited_node
from support.node import ROOT, running_chain
from support.printing_device import GCODE, PrintingDevice, paid, printed

SIZE = 7
"""Blocks; the world has some hundred."""
OTHERS = {
    "app/services/consumption.py": "in a batch with other questions; in windows when it is refused",
    "app/services/relay_simulation.py": "many at once; in windows when they are refused",
    "imprimatur/chain/events/indexer.py": "speaks of it",
    "imprimatur/chain/events/standard.py": "has windows of its own",
    "imprimatur/chain/rpc.py": "repeats it",
    "imprimatur/cli/checked_node.py": "knows its shape",
}
"""Modules that name the question for logs, and why."""
KINDS = {
    "geth": Limits(SIZE),
    "geth's answer of many bytes": Limits(SIZE, (-32003, "response too large")),
    "Besu": Limits(SIZE, (-32005, "Requested range exceeds maximum RPC range limit")),
    "Reth": Limits(SIZE, (-32602, "query exceeds max block range 7")),
    "one answer to a batch": Limits(SIZE, (-32600, "block range is too wide"), whole=True),
    "with a status of its own": Limits(SIZE, (-32614, "eth_getLogs is limited to a 7 range"), status=413),
    "in the data": Limits(
        SIZE,
        (-32602, "invalid params"),
        data={"payload": "range 150 is bigger than range limit 7"},
        status=400,
    ),
}


@pytest.fixture(scope="module")
def world():
    with running_chain() as chain:
        yield worlds.build(chain)


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """Runs a command with the world's address book; gives exit code and output."""
    book = tmp_path_factory.mktemp("book")
    world.chain.write_address_book(book)

    def run(url, *arguments):
        line = [*map(str, arguments), "--address-book", str(book), "--node", url]
        result = CliRunner().invoke(program, line)
        return result.exit_code, result.stdout, result.stderr

    return run


def licenses_at(world, url):
    return PrintLicense(HttpRpc(url, retries=0), world.chain.licenses.address, world.chain.licenses.since)


@pytest.mark.parametrize("kind", KINDS)
def test_all_events_in_their_order(world, kind):
    limits = KINDS[kind]
    with limited_node(world.chain.url, limits) as url:
        assert list(licenses_at(world, url).events()) == list(world.chain.licenses.events())
    read = [span for span in limits.ranges if span[1] - span[0] < SIZE]
    assert len(set(read)) == len(read), "a window was read twice"
    # One for all, the newest block and its hash, the halving, and the windows, twice as many at a time.
    assert limits.requests < 20


def test_a_node_without_a_limit_gets_one_request(world):
    limits = Limits(10**9)
    with limited_node(world.chain.url, limits) as url:
        assert list(licenses_at(world, url).events())
    assert limits.requests == 1


def test_the_commands_answer_the_same(world, run, tmp_path):
    """Certificate, part and license: with the same exit codes and answers."""
    tag, id = world.tag.public.url(BASE), world.id("printed")
    failed = world.failed_tag.public.url(BASE)
    with limited_node(world.chain.url, Limits(SIZE)) as limited:
        for name, arguments in {
            "genuine": ("verify", tag, "--finality", "latest"),
            "scrapped": ("verify", failed, "--finality", "latest"),
            "shown": ("license", "show", id),
        }.items():
            usual = run(world.chain.url, *arguments, "--json")
            assert usual[0] in (0, ExitCode.NO), (name, usual)
            assert run(limited, *arguments, "--json") == usual, name
        built = [tmp_path / "usual.json", tmp_path / "limited.json"]
        for url, path in zip((world.chain.url, limited), built, strict=True):
            code, _, problem = run(url, "certificate", "build", id, 1, "-o", path, "--state-at", "latest")
            assert code == 0, problem
    assert built[0].read_bytes() == built[1].read_bytes()


def test_a_manifest_is_verified(world):
    signed, id = SignedManifest.from_bytes(world.manifest), world.licenses["printed"]
    with limited_node(world.chain.url, Limits(SIZE)) as limited:
        verified = verify_manifest(signed, licenses_at(world, limited), id)
    assert verified == verify_manifest(signed, world.chain.licenses, id)


def test_a_file_is_printed(world, tmp_path):
    """Manifest, use, key: a device whose node has a limit, long after the contract was deployed."""
    chain = world.chain
    with running_portal(chain) as portal, limited_node(chain.url, Limits(SIZE)) as limited:
        licenses = licenses_at(world, limited)
        narrow = replace(chain, rpc=licenses.rpc, licenses=licenses)
        device = PrintingDevice(narrow, portal, tmp_path, chain.account(), KeySigner(os.urandom(32)))
        id = device.offer("limited")
        device.mine(2 * SIZE)
        delivery = device.start()
        try:
            assert printed(delivery, paid(delivery, delivery.pick(id))) == GCODE
        finally:
            device.stop()
    (use,) = chain.licenses.events("LicenseUsed", id=id)
    assert use.values["device"] == device.signer.address


def test_an_audit_reads_its_own_windows(world, run):
    usual = run(world.chain.url, "audit", "--finality", "latest", "--unverified", "--json")
    with limited_node(world.chain.url, Limits(SIZE)) as limited:
        code, out, problem = run(limited, "audit", "--finality", "latest", "--unverified", "--json")
    assert (code, problem) == (usual[0], usual[2])
    assert json.loads(out)["consistent"]


@pytest.mark.parametrize(
    ("text", "status"), [("query returned more than 10000 results", 200), ("limited", 413)]
)
def test_a_node_that_gives_no_logs_at_all(world, run, text, status):
    """Said once, in a sentence, and soon: one block's logs are refused as well."""
    limits = Limits(0, (-32005, text), status=status)
    began = time.monotonic()
    with limited_node(world.chain.url, limits) as limited:
        code, _, problem = run(limited, "verify", world.tag.public.url(BASE), "--finality", "latest")
        with pytest.raises(NodeRefused, match=text):
            list(licenses_at(world, limited).events())
    assert code == ExitCode.NODE
    assert text in problem
    assert limits.requests < 40
    assert time.monotonic() - began < 30


def test_a_chain_that_is_too_long_for_the_limit(world, run, monkeypatch):
    """What to do is said, after a few questions."""
    monkeypatch.setattr(logs, "MOST", 12)
    limits = Limits(1, (-32600, "you can make eth_getLogs requests with up to a 1 block range"))
    with limited_node(world.chain.url, limits) as limited:
        code, _, problem = run(limited, "verify", world.tag.public.url(BASE), "--finality", "latest")
    assert code == ExitCode.NODE
    assert "use a node with a larger limit" in problem
    assert limits.requests < 20


def test_nobody_else_asks_for_logs():
    """Whoever did would meet the limits again."""
    found = {
        str(path.relative_to(ROOT))
        for folder in ("imprimatur", "app", "octoprint_plugin/octoprint_imprimatur")
        for path in (ROOT / folder).rglob("*.py")
        if "eth_getLogs" in path.read_text() or "get_logs(" in path.read_text()
    }
    assert found == {"imprimatur/chain/logs.py", *OTHERS}
