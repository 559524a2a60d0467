"""The command line against a real node: what it answers, how it ends, and that it can't be lied to."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
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
    assert (code, answer["contradictions"]) == (0, [])
    assert schemas.problem_in(answer, "audit.v1") is None
    assert answer["verified"]
    assert not answer["anchored"]
    code, out, problem = ask("audit", "--finality", "latest", "--files", tmp_path, process=True)
    assert (code, problem) == (0, "")
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
    assert (code, answer["contradictions"]) == (0, [])
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
def test_nonsense_of_a_node_is_never_a_fault_of_ours(world, ask_json, tmp_path, nonsense):
    """Whatever a node answers, the command says that the node is wrong, or that the answer is no."""
    talked = None

    def lie(method, result):
        return nonsense if method == talked else result

    commands = [
        ("license", "show", world.id("printed")),
        ("certificate", "build", world.id("printed"), 1, "-o", tmp_path / "x", "--state-at", "latest"),
        ("verify", world.tag.public.url(BASE), "--finality", "latest"),
        ("audit", "--finality", "latest"),
    ]
    faults = []
    with lying_node(world.chain.url, lie) as url:
        for method in METHODS:
            talked = method
            for command in commands:
                code, answer = ask_json(*command, node=url)
                (tmp_path / "x").unlink(missing_ok=True)
                if answer.get("error", {}).get("type") in ("Unexpected", "File"):
                    faults.append((method, command[:2]))
                assert code in (0, ExitCode.NO, ExitCode.NODE), (method, command, answer)
    assert faults == []
