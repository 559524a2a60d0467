"""The command line against a real node: what it answers, how it ends, and that it can't be lied to."""

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy as sa
from audited import world as worlds
from audited.lying_proxy import lying_node
from audited.world import BASE, FILE_HASH, SERIAL
from click.testing import CliRunner
from sqlalchemy.orm import Session

from app.models import Base, Design, Intent, IntentState, License, User
from imprimatur import address_book, schemas
from imprimatur.chain.interface import interface_of
from imprimatur.chain.orders import Terms
from imprimatur.chain.rpc import NodeUnreachable, Rpc
from imprimatur.cli.checked_node import CheckedRpc
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.program import program
from imprimatur.license_id import format_id
from imprimatur.serials.tag_key import TagKey
from support.node import ROOT, deploy_contracts, running_chain

COMMAND = Path(sys.executable).with_name("imprimatur")


@pytest.fixture(scope="module")
def world():
    with running_chain() as chain:
        yield worlds.build(chain)


@pytest.fixture(scope="module")
def book(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    world.chain.write_address_book(folder)
    return folder


@pytest.fixture(scope="module")
def ask(world, book):
    """Runs a command with the world's node and address book; gives exit code, stdout and stderr.

    In this process, unless `process`: starting one costs a second.
    """

    def run(*arguments, node=world.chain.url, book=book, process=False, input=None):
        line = [*map(str, arguments), "--address-book", str(book)]
        if node is not None:
            line += ["--node", node]
        if process:
            done = subprocess.run(
                [COMMAND, *line], input=input, capture_output=True, text=True, cwd=ROOT, timeout=120
            )
            assert "Traceback" not in done.stderr
            return done.returncode, done.stdout, done.stderr
        result = CliRunner().invoke(program, line, input=input)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture(scope="module")
def ask_json(ask):
    def run(*arguments, **options):
        code, out, _ = ask(*arguments, "--json", **options)
        return code, json.loads(out)

    return run


@pytest.fixture(scope="module")
def certificate(world, ask, tmp_path_factory):
    """Of the tagged print, with the license's state and the serial."""
    path = tmp_path_factory.mktemp("certificate") / "print.json"
    tag = world.tag.public.url(BASE)
    code, _, problem = ask(
        "certificate", "build", world.id("printed"), 1, "-o", path, "--state-at", "latest", "--tag", tag
    )
    assert code == 0, problem
    return path


# --- license show ----------------------------------------------------------------------------------------


def test_license_show(world, ask, ask_json):
    number = f"{world.owner.address}/4711-printed"
    code, answer = ask_json("license", "show", number)
    assert code == 0
    assert ask_json("license", "show", world.id("printed"))[1] == answer
    assert {name: answer[name] for name in ("license", "owner", "printer", "fileHash")} == {
        "license": world.id("printed"),
        "owner": world.owner.address,
        "printer": world.shop.address,
        "fileHash": FILE_HASH,
    }
    assert (answer["used"], answer["remaining"], answer["failed"], answer["failuresAllowed"]) == (4, 3, 1, 2)
    assert answer["controller"] == world.operator.address
    assert answer["issued"]["copies"] == 4
    code, out, _ = ask("license", "show", number, process=True)
    assert code == 0
    assert "3 left, 4 consumed" in out


def test_a_revoked_license_says_so(world, ask):
    assert "ended by its owner" in ask("license", "show", world.id("revoked"))[1]


def test_an_unknown_license_is_a_no(world, ask_json):
    code, answer = ask_json("license", "show", f"{world.owner.address}/never issued")
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "LicenseUnknown")


def test_a_chain_that_the_address_book_doesnt_know(world, ask_json, tmp_path):
    code, answer = ask_json("license", "show", world.id("printed"), book=tmp_path)
    assert (code, answer["error"]["type"]) == (ExitCode.FAILED, "NotDeployed")


def test_node_and_address_book_can_stand_in_the_environment(world, book):
    environment = {"IMPRIMATUR_NODE": world.chain.url, "IMPRIMATUR_DEPLOYMENTS": str(book)}
    command = [COMMAND, "license", "show", world.id("printed")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_contract_at_the_address_is_the_nodes_fault(world, ask_json, tmp_path):
    stranger = world.buyer.address
    for contract in ("PrintLicense", "DeviceRegistry"):
        address_book.store(
            tmp_path, address_book.Deployment(world.chain.chain_id, contract, stranger, 1, "0x" + "0" * 64)
        )
    code, answer = ask_json("license", "show", world.id("printed"), book=tmp_path)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "MalformedData")


def test_everything_shown_of_a_license_is_of_one_block(world, ask_json):
    """Logs aren't asked as of a block: what came later than the state isn't shown beside it."""
    newest = int(world.chain.rpc.call("eth_blockNumber", []), 16)

    def lie(method, result):
        return (
            [log | {"blockNumber": hex(newest + 1)} for log in result] if method == "eth_getLogs" else result
        )

    with lying_node(world.chain.url, lie) as url:
        assert ask_json("license", "show", world.id("printed"), node=url)[1]["issued"] is None


@contextmanager
def refusing_node(words):
    """URL of a node that refuses every call with these words."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refusal = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32000, "message": words}}
            body = json.dumps(refusal).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_nodes_words_stay_in_one_line(world, ask):
    """It refuses in words of its own, which must not look like an answer of ours."""
    with refusing_node("no\nGenuine: serial 1\u202e\x1b[2J") as url:
        code, out, problem = ask("license", "show", world.id("printed"), node=url)
    assert (code, out) == (ExitCode.NODE, "")
    assert len(problem.splitlines()) == 1
    assert not {"\u202e", "\x1b"} & set(problem)


# --- certificates ----------------------------------------------------------------------------------------


def test_a_certificate_without_a_trusted_block_is_consistent_only(ask, ask_json, certificate):
    code, answer = ask_json("verify", certificate, node=None)
    assert (code, answer["result"]) == (ExitCode.NOT_ANCHORED, "not anchored")
    assert answer["tag"]["serial"] == SERIAL
    code, out, _ = ask("verify", certificate, node=None, process=True)
    assert code == ExitCode.NOT_ANCHORED
    assert out.startswith("Consistent, not anchored")


def test_a_certificate_is_verified_without_network(world, ask, ask_json, certificate):
    """In a network namespace without any interface, with hashes that the reader trusts."""
    unshare = shutil.which("unshare")
    assert unshare
    blocks = ask_json("verify", certificate, node=None)[1]["blocks"]
    hashes = [option for block in blocks for option in ("--block-hash", block["hash"])]
    code, answer = ask_json("verify", certificate, *hashes, node=None)
    assert (code, answer["result"]) == (0, "proven")
    assert answer["print"]["device"] == world.device.address
    book = world_book(world, certificate.parent)
    command = [unshare, "--net", "--map-root-user", COMMAND, "verify", certificate, *hashes]
    done = subprocess.run([*command, "--address-book", book], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def world_book(world, folder):
    path = folder / "book"
    world.chain.write_address_book(path)
    return path


def test_a_certificate_is_anchored_by_a_node(ask, ask_json, certificate):
    code, answer = ask_json("verify", certificate, "--finality", "latest", "--language", "de")
    assert (code, answer["result"]) == (0, "proven")
    assert answer["explanation"]["headline"].startswith("Bewiesen")


def test_a_certificate_is_about_one_part(world, ask, ask_json, tmp_path):
    """Built without the tag, compared with the part in the hand."""
    path = tmp_path / "print.json"
    assert ask("certificate", "build", world.id("printed"), 1, "-o", path)[0] == 0
    code, answer = ask_json("verify", path, "--tag", world.tag.public.url(BASE), node=None)
    assert (code, answer["tag"]["serial"]) == (ExitCode.NOT_ANCHORED, SERIAL)
    code, answer = ask_json("verify", path, "--tag", world.failed_tag.public.url(BASE), node=None)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "OtherPart")


def test_a_trusted_block_counts_before_the_node_calls_it_final(ask_json, certificate):
    blocks = ask_json("verify", certificate, node=None)[1]["blocks"]
    hashes = [option for block in blocks for option in ("--block-hash", block["hash"])]
    assert ask_json("verify", certificate, *hashes)[0] == 0


def test_a_young_certificate_isnt_anchored_yet(ask, ask_json, certificate):
    """The chain is too young for the node to call any of its blocks final."""
    code, answer = ask_json("verify", certificate)
    assert (code, answer["result"]) == (ExitCode.NOT_ANCHORED, "not anchored")
    code, out, problem = ask("verify", certificate)
    assert out.startswith("Consistent, not anchored")
    assert "Ask again later" in problem


def test_a_certificate_of_a_replaced_block_is_refused(world, ask_json, certificate):
    """A node that has other blocks at these heights. It isn't "not yet": it is a no."""

    def lie(method, result):
        if method == "eth_getBlockByNumber" and result:
            return result | {"hash": "0x" + "17" * 32}
        return result

    with lying_node(world.chain.url, lie) as url:
        code, answer = ask_json("verify", certificate, "--finality", "latest", node=url)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "BlockNotTrusted")


def test_a_changed_certificate_and_another_block_are_refused(ask_json, certificate, tmp_path):
    data = certificate.read_bytes()
    changed = tmp_path / "changed.json"
    changed.write_bytes(data.replace(b'"copy":1', b'"copy":2'))
    code, answer = ask_json("verify", changed, node=None)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "CertificateInvalid")
    code, answer = ask_json("verify", certificate, "--block-hash", "ab" * 32, node=None)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "BlockNotTrusted")
    blocks = ask_json("verify", certificate, node=None)[1]["blocks"]
    hashes = [option for block in blocks for option in ("--block-hash", block["hash"])]
    code, answer = ask_json("verify", certificate, *hashes, "--chain", "1", node=None)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "OtherChain")


def test_a_certificate_of_another_contract_is_refused(world, ask_json, certificate, tmp_path):
    licenses, devices = deploy_contracts(world.chain.rpc)
    for contract in (licenses, devices):
        address_book.store(
            tmp_path,
            address_book.Deployment(
                world.chain.chain_id, contract.NAME, contract.address, contract.since, "0x" + "0" * 64
            ),
        )
    code, answer = ask_json("verify", certificate, node=None, book=tmp_path)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "ForeignContract")


def test_a_certificate_overwrites_nothing_and_a_failure_leaves_nothing(world, ask, ask_json, tmp_path):
    path = tmp_path / "print.json"
    code, answer = ask_json("certificate", "build", world.id("printed"), 9, "-o", path)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "PrintNotFound")
    assert list(tmp_path.iterdir()) == []
    path.write_text("precious")
    assert ask("certificate", "build", world.id("printed"), 1, "-o", path)[0] == ExitCode.FAILED
    assert path.read_text() == "precious"


def test_the_tag_of_another_copy_opens_no_certificate(world, ask, tmp_path):
    tag = world.failed_tag.public.url(BASE)
    code, _, problem = ask("certificate", "build", world.id("printed"), 1, "-o", tmp_path / "x", "--tag", tag)
    assert code == ExitCode.USAGE
    assert "copy 3" in problem


# --- parts -----------------------------------------------------------------------------------------------


def test_a_genuine_part(world, ask, ask_json):
    url = world.tag.public.url(BASE)
    code, answer = ask_json("verify", url, "--finality", "latest")
    assert (code, answer["result"]) == (0, "genuine")
    assert (answer["device"], answer["owner"]) == (world.device.address, world.owner.address)
    code, out, _ = ask("verify", url, "--finality", "latest", process=True)
    assert code == 0
    assert out.startswith("Genuine: serial 123456AA0987654321, copy 1")


def test_a_part_by_its_serial(world, ask_json):
    tag = world.tag
    about = ["--license", world.id("printed"), "--copy", 1, "--tag-address", tag.address]
    code, answer = ask_json("verify", SERIAL, *about, "--finality", "latest")
    assert (code, answer["result"]) == (0, "genuine")
    code, answer = ask_json("verify", SERIAL[:-1] + "2", *about, "--finality", "latest")
    assert (code, answer["result"]) == (ExitCode.NO, "unknown")


def test_a_scanned_tag_keeps_its_secret(world, ask):
    """By the standard input nothing is said; on the command line there is a warning. Never is it printed."""
    url = world.tag.url(BASE)
    secret = url.partition("#")[2]
    code, out, problem = ask("verify", "-", "--finality", "latest", input=url + "\n")
    assert (code, problem) == (0, "")
    code, seen, problem = ask("verify", url, "--finality", "latest", "--json")
    assert code == 0
    assert "secret key" in problem
    for text in (out, seen, problem):
        assert secret not in text


def test_a_failed_print_is_scrapped(world, ask_json):
    code, answer = ask_json("verify", world.failed_tag.public.url(BASE), "--finality", "latest")
    assert (code, answer["result"]) == (ExitCode.NO, "scrapped")


def test_a_young_print_isnt_final(world, ask_json):
    code, answer = ask_json("verify", world.tag.public.url(BASE))
    assert (code, answer["result"]) == (ExitCode.NOT_ANCHORED, "not final")


def without(event, of=None):
    """A node whose log lacks an event, or whose event is about another copy."""
    topic = interface_of("PrintLicense").topic(event)

    def lie(method, result):
        if method != "eth_getLogs":
            return result
        if of is None:
            return [log for log in result if log["topics"][0] != topic]
        copy = f"0x{of:064x}"
        return [
            log | {"data": copy + log["data"][66:]} if log["topics"][0] == topic else log for log in result
        ]

    return lie


@pytest.mark.parametrize("other_copy", [None, 1, 2, 4])
def test_a_node_that_hides_a_failed_print_is_caught(world, ask_json, other_copy):
    """It can't say of a scrapped part that it is genuine, nor of another one that it was scrapped instead."""
    tag = world.failed_tag.public.url(BASE)
    with lying_node(world.chain.url, without("PrintFailed", other_copy)) as url:
        code, answer = ask_json("verify", tag, "--finality", "latest", node=url)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "NodeInconsistent")


def issued_by_operator(world, name, copies, **terms):
    """A further license. The owner has handed control over to her operator by now."""
    chain = world.chain
    order = chain.order(world.owner.address, world.shop.address, FILE_HASH, copies, f"4711-{name}", **terms)
    chain.send(world.operator, chain.licenses.issue_call(order, as_operator=True))
    world.licenses[name] = order.id
    return order.id


def test_a_failure_is_found_when_the_window_has_passed(world, ask_json):
    """The license's word remembers the last 16 copies only, and the number of failures for ever."""
    chain, shop = world.chain, world.shop
    id = issued_by_operator(world, "long", 19, failures_allowed=2)
    good, bad = (worlds.tagged(world, world.shop, id, copy) for copy in (1, 2))
    chain.send(shop, chain.licenses.report_failure_call(id, 2, worlds.EVIDENCE))
    for _ in range(17):
        chain.send(shop, chain.licenses.use_license_call(id, FILE_HASH))
    for tag, result in ((good, "genuine"), (bad, "scrapped")):
        assert ask_json("verify", tag.public.url(BASE), "--finality", "latest")[1]["result"] == result
        with lying_node(chain.url, without("PrintFailed")) as url:
            code, answer = ask_json("verify", tag.public.url(BASE), "--finality", "latest", node=url)
        assert (code, answer["error"]["type"]) == (ExitCode.NODE, "NodeInconsistent")


def test_replaced_and_sold_parts_are_genuine(world, ask_json):
    """Both are closed in the license's word, as failed ones are. The log says why, or nobody knows."""
    chain, shop, licenses = world.chain, world.shop, world.chain.licenses
    id = issued_by_operator(world, "closed", 3, flags=Terms.TRANSFERABLE, failures_allowed=1)
    replaced = worlds.tagged(world, shop, id, 1)
    chain.send(world.operator, licenses.grant_copies_call(id, 1, 1))
    code, answer = ask_json("verify", replaced.public.url(BASE), "--finality", "latest")
    assert (code, answer["result"]) == (0, "genuine")
    assert "replacement" in answer["note"]
    failed = worlds.tagged(world, shop, id, 2)
    chain.send(shop, licenses.report_failure_call(id, 2, worlds.EVIDENCE))
    with lying_node(chain.url, without("CopiesGranted")) as url:
        code, answer = ask_json("verify", replaced.public.url(BASE), "--finality", "latest", node=url)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "NodeInconsistent")
    chain.send(shop, licenses.transfer_license_call(id, world.buyer.address))
    for tag, result in ((replaced, "genuine"), (failed, "scrapped")):
        assert ask_json("verify", tag.public.url(BASE), "--finality", "latest")[1]["result"] == result


def test_a_node_that_is_behind_its_own_log_has_no_answer(world, ask_json):
    old = world.chain.rpc.call("eth_getBlockByNumber", ["0x5", False])

    def lie(method, result):
        return old if method == "eth_getBlockByNumber" else result

    with lying_node(world.chain.url, lie) as url:
        code, answer = ask_json("verify", world.tag.public.url(BASE), "--finality", "latest", node=url)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "NodeInconsistent")


def test_what_is_said_of_a_part_is_the_nodes_word(world, ask, ask_json):
    """And it says so, also when the answer is no."""
    stranger = replace(world.tag.public, copy=2)
    for tag in (world.tag.public, world.failed_tag.public, stranger):
        answer = ask_json("verify", tag.url(BASE), "--finality", "latest")[1]
        assert answer["accordingTo"] == "node"
        assert "As this node says" in ask("verify", tag.url(BASE), "--finality", "latest")[1]
    answer = ask_json("verify", world.tag.public.url(BASE), "--finality", "latest")[1]
    newest = world.chain.rpc.call("eth_getBlockByNumber", ["latest", False])
    assert answer["asOf"]["hash"] == newest["hash"]
    assert answer["block"]["number"] < answer["asOf"]["number"]


@pytest.mark.parametrize(
    "option", [["--block-hash", "ab" * 32], ["--chain", 5], ["--tag", "https://x.example/zzz"]]
)
def test_no_option_is_ignored_for_a_part(world, ask, option):
    """Whoever names a block that she trusts must not get an answer that doesn't depend on it."""
    url = world.tag.public.url(BASE)
    code, _, problem = ask("verify", url, *option, "--finality", "latest")
    assert code == ExitCode.USAGE
    assert f"{option[0]} is about a certificate" in problem
    about = ["--license", world.id("printed"), "--copy", 1, "--tag-address", world.tag.address]
    assert ask("verify", SERIAL, *about, *option)[0] == ExitCode.USAGE
    assert ask("verify", url, *about)[0] == ExitCode.USAGE


@pytest.mark.parametrize("forged", ["key", "copy", "license", "serial"])
def test_a_forged_tag_is_unknown(world, ask_json, forged):
    change = {
        "key": {"address": TagKey.generate().address},
        "copy": {"copy": 2},
        "license": {"id": world.tag.id + 1},
        "serial": {"serial": "123456AA0987654322"},
    }[forged]
    url = replace(world.tag.public, **change).url(BASE)
    code, answer = ask_json("verify", url, "--finality", "latest")
    assert (code, answer["result"]) == (ExitCode.NO, "unknown")


def test_a_torn_tag_is_refused(world, ask_json):
    code, answer = ask_json("verify", world.tag.public.url(BASE)[:-3])
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "TagInvalid")


def test_a_part_needs_a_node(world, ask):
    assert ask("verify", world.tag.public.url(BASE), node=None)[0] == ExitCode.USAGE


# --- audit -----------------------------------------------------------------------------------------------


def test_an_honest_chain(world, ask, ask_json, tmp_path):
    world.write_files(tmp_path)
    code, answer = ask_json("audit", "--finality", "latest", "--files", tmp_path)
    assert (code, answer["contradictions"]) == (ExitCode.NOT_ANCHORED, [])
    assert schemas.problem_in(answer, "audit.v1") is None
    assert answer["verified"]
    assert not answer["anchored"]
    code, out, problem = ask("audit", "--finality", "latest", "--files", tmp_path, process=True)
    assert (code, problem) == (ExitCode.NOT_ANCHORED, "")
    assert "No contradictions." in out
    for question in ("Who owns it?", "intact?", "liable?", "How many were printed?", "owner paid?"):
        assert out.count(question) == len(world.licenses)
    assert "no payment contract deployed" in out


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schemas.load("audit.v1"))


def test_an_audit_bound_to_a_trusted_block(world, ask, ask_json):
    block = world.chain.rpc.call("eth_getBlockByNumber", ["0x14", False])
    code, answer = ask_json("audit", "--trusted-head", block["hash"])
    assert (code, answer["anchored"], answer["block"]["number"]) == (0, True, 20)
    code, answer = ask_json("audit", "--trusted-head", "ab" * 32)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "BlockUnknown")
    assert ask("audit", "--trusted-head", block["hash"], "--until", 21)[0] == ExitCode.USAGE
    code, answer = ask_json("audit", "--until", 10**9)
    assert (code, answer["error"]["type"]) == (ExitCode.NODE, "BlockUnknown")


def test_a_young_chain_has_nothing_final(ask):
    code, _, problem = ask("audit")
    assert code == ExitCode.FAILED
    assert "young chain" in problem


def hide(transaction):
    """A node that hides what one transaction logged."""

    def lie(method, result):
        if method == "eth_getLogs":
            return [log for log in result if log["transactionHash"] != transaction]
        if method == "eth_getBlockReceipts":
            return [r | {"logs": []} if r["transactionHash"] == transaction else r for r in result]
        return result

    return lie


def test_a_node_that_hides_a_print_is_caught(world, ask, ask_json):
    """Verified: by the block's receipts. Believed: by the copies' numbers and the contract's own count."""
    code, honest = ask_json("audit", "--finality", "latest")
    license = next(entry for entry in honest["licenses"] if entry["license"] == world.id("printed"))
    hidden = license["answers"]["liable"][1]
    with lying_node(world.chain.url, hide(hidden["transaction"])) as url:
        code, answer = ask_json("audit", "--finality", "latest", node=url)
        assert (code, answer["error"]["type"]) == (ExitCode.NO, "NodeLies")
        assert answer["error"]["facts"]["block"] == hidden["block"]
        code, out, problem = ask("audit", "--finality", "latest", node=url, process=True)
        assert (code, out) == (ExitCode.NO, "")
        assert f"block {hidden['block']} is false" in problem
        code, answer = ask_json("audit", "--finality", "latest", "--unverified", node=url)
        assert code == ExitCode.NO
        assert not answer["consistent"]
        assert {c["kind"] for c in answer["contradictions"]} >= {"copy-gap", "erc1155"}
        assert {c["license"] for c in answer["contradictions"]} == {world.id("printed")}
        assert schemas.problem_in(answer, "audit.v1") is None


def test_a_node_that_hides_the_last_print_is_caught(world, ask, ask_json):
    """No gap in the numbers shows it: only the contract's count does, when the node's logs are believed."""
    _, honest = ask_json("audit", "--finality", "latest")
    license = next(entry for entry in honest["licenses"] if entry["license"] == world.id("sold"))
    hidden = license["answers"]["liable"][-1]
    with lying_node(world.chain.url, hide(hidden["transaction"])) as url:
        code, answer = ask_json("audit", "--finality", "latest", "--unverified", node=url)
        assert code == ExitCode.NO
        kinds = {c["kind"] for c in answer["contradictions"]}
        assert kinds == {"contract-differs", "conservation"}
        code, answer = ask_json("audit", "--finality", "latest", node=url)
        assert (code, answer["error"]["facts"]["block"]) == (ExitCode.NO, hidden["block"])


def test_a_portal_that_shows_other_copies(world, ask, ask_json, tmp_path):
    path = tmp_path / "portal.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        owner = User(email="a@b", fs_uniquifier="1", name="A", account=world.owner.address, active=True)
        design = Design(owner=owner, file_name="part", storage_key="k", size=1, sha256=FILE_HASH)
        intent = Intent(key="1", state=IntentState.DONE)
        license = License(
            id=format_id(world.licenses["printed"]),
            owner=owner,
            design=design,
            number="4711-printed",
            printer_name="shop",
            printer_address=world.shop.address,
            file_hash=FILE_HASH,
            copies=4,
            intent=intent,
        )
        session.add_all([owner, design, license])
        session.commit()
    engine.dispose()
    arguments = ("audit", "--finality", "latest", "--database")
    code, answer = ask_json(*arguments, path)
    assert (code, answer["contradictions"]) == (ExitCode.NOT_ANCHORED, [])
    assert len(answer["portal"]["notInPortal"]) == len(world.licenses) - 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE license SET copies = 40")
    code, answer = ask_json(*arguments, path)
    (contradiction,) = answer["contradictions"]
    assert code == ExitCode.NO
    assert contradiction["kind"] == "portal-differs"
    assert contradiction["message"] == "copies is 40 in the portal and 4 on the chain"
    code, out, _ = ask(*arguments, path, process=True)
    assert code == ExitCode.NO
    assert "copies is 40 in the portal" in out
    assert ask(*arguments, tmp_path / "nowhere")[0] == ExitCode.FAILED


def test_a_node_that_goes_away_ends_the_audit(world, ask_json):
    """It answers a while and then no more: no half report, no endless waiting."""
    left = 4

    def lie(method, result):
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionError
        return result

    with lying_node(world.chain.url, lie) as url:
        code, answer = ask_json("audit", "--finality", "latest", node=url)
    assert (code, list(answer)) == (ExitCode.NODE, ["error"])


def test_an_answer_has_the_shape_of_its_method():
    class Node(Rpc):
        def __init__(self, answer):
            self.answer = answer

        def call(self, method, params):
            return self.answer

    good = {
        "eth_chainId": "0x1",
        "eth_call": "0x",
        "eth_getBlockByNumber": {"number": "0x1", "hash": "0x" + "ab" * 32, "timestamp": "0x2", "more": 1},
        "eth_getBlockByHash": None,
        "eth_getLogs": [],
        "eth_getBlockReceipts": [{"transactionHash": "0x" + "ab" * 32, "logs": []}],
        "eth_getProof": {"accountProof": ["0xab"], "storageProof": [{"proof": []}]},
    }
    for method, answer in good.items():
        assert CheckedRpc(Node(answer)).call(method, []) == answer
        assert CheckedRpc(Node(answer)).batch([(method, [])]) == [answer]
    for method in good:
        for answer in (17, "zz", "0xabc ", {}, [{}], [[]], True, {"number": "1"}, {"accountProof": None}):
            with pytest.raises(NodeUnreachable, match=method):
                CheckedRpc(Node(answer)).batch([(method, [])])


# --- nodes that talk nonsense ----------------------------------------------------------------------------

METHODS = (
    "eth_chainId",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockReceipts",
    "eth_getLogs",
    "eth_call",
    "eth_getCode",
    "eth_getProof",
)


@pytest.mark.parametrize("nonsense", [None, [{}]])
def test_nonsense_of_a_node_is_never_a_fault_of_ours(world, ask_json, tmp_path, monkeypatch, nonsense):
    """Whatever a node answers, the command says that the node is wrong, or that the answer is no."""
    monkeypatch.setattr("imprimatur.chain.rpc.FIRST_PAUSE", 0.001)
    talked = None

    def lie(method, result):
        return nonsense if method == talked else result

    commands = [
        ("license", "show", world.id("printed")),
        ("certificate", "build", world.id("printed"), 1, "-o", tmp_path / "x", "--state-at", "latest"),
        ("verify", world.tag.public.url(BASE), "--finality", "latest"),
        ("audit", "--finality", "latest"),
    ]
    faults, expected = [], (ExitCode.OK, ExitCode.NO, ExitCode.NOT_ANCHORED, ExitCode.NODE)
    with lying_node(world.chain.url, lie) as url:
        for method in METHODS:
            talked = method
            for command in commands:
                code, answer = ask_json(*command, node=url)
                (tmp_path / "x").unlink(missing_ok=True)
                if answer.get("error", {}).get("type") in ("Unexpected", "File"):
                    faults.append((method, command[:2]))
                assert code in expected, (method, command, answer)
    assert faults == []
