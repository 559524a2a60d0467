"""`imprimatur enrol`, `jobs` and `print --dry-run`, against a portal and a real node."""

import json
import os
import pty
import secrets
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from imprimatur.chain.account import load_account
from imprimatur.chain.signers import KeySigner, keystore_address, open_keystore
from imprimatur.cli.exit_codes import ExitCode
from imprimatur.cli.program import program
from imprimatur.device import profile as profiles
from imprimatur.license_id import format_id
from imprimatur.manifest.signature import sign_manifest
from imprimatur.sealing import public_key, recipient_text, secret_from_text
from support.delivery_portal import DeliveryPortal, Fault
from support.node import ROOT

COMMAND = Path(sys.executable).with_name("imprimatur")
CODE = "ABCDE-12345-FGHJK-67890"
PASSWORD = "a long password"
PART = b"G28\nG1 X10 E1\n" * 30_000


@pytest.fixture(scope="module")
def owner(chain):
    return chain.account()


@pytest.fixture(scope="module")
def base(chain, tmp_path_factory):
    """A folder with the device's keystore, its password, and the address book."""
    folder = tmp_path_factory.mktemp("device")
    _keystore(folder / "device.json")
    (folder / "password").write_text(PASSWORD + "\n")
    chain.write_address_book(folder / "book")
    return folder


@pytest.fixture(scope="module")
def device(base):
    return keystore_address(base / "device.json")


@pytest.fixture
def portal(portal: DeliveryPortal, device):
    """Honest, and nothing in it but an invitation."""
    portal.devices, portal.invitations, portal.served = {device}, {CODE: None}, {}
    portal.faults, portal.ranges, portal.requests, portal.extra_entries = [], [], [], []
    return portal


@pytest.fixture
def run(base):
    def run(*arguments, **options):
        line = [*map(str, arguments), "--password-file", str(base / "password")]
        result = CliRunner().invoke(program, line, **options)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def enrolled(portal, base, run, tmp_path):
    """The folder of a device that is enrolled."""
    folder = tmp_path / "profile"
    code, _, problem = run(*_enrol(portal, base, folder), input=CODE)
    assert code == 0, problem
    return folder


@pytest.fixture
def dry_run(chain, base, run, enrolled):
    """`print --dry-run --json` of a license; exit code and answer."""

    def dry_run(id, *more):
        place = ("--node", chain.url, "--address-book", base / "book", "--finality", "latest")
        code, out, _ = run(
            "print", format_id(id), "--dry-run", "--profile", enrolled, *place, "--json", *more
        )
        return code, json.loads(out)

    return dry_run


def _keystore(path):
    """A key file that opens fast: a real one takes a second."""
    path.write_text(json.dumps(load_account().encrypt(secrets.token_bytes(32), PASSWORD, "pbkdf2", 1)))


def _enrol(portal, base, folder):
    return ("enrol", "--portal", portal.url, "--keystore", base / "device.json", "--profile", folder,
            "--invitation-file", "-")  # fmt: skip


def _use(chain, portal, device_key, id):
    """Consume a copy as the device's wallet."""
    chain.fund(device_key.address)
    chain.send(device_key, chain.licenses.use_license_call(id, portal.served[id].manifest.file_hash))


# --- enrol -----------------------------------------------------------------------------------------------


def test_enrolling(portal, base, device, run, tmp_path):
    folder = tmp_path / "new" / "profile"
    code, out, _ = run(*_enrol(portal, base, folder), "--json", input=f"  {CODE}\r\n")
    assert code == 0
    answer = json.loads(out)
    assert (answer["device"], answer["wallet"]) == (device, device)
    assert (answer["printer"], answer["owner"]) == ("Left bay", "Aero Spares")
    assert (answer["chainId"], answer["contract"]) == (portal.chain_id, portal.contract)
    assert portal.invitations[CODE] == device
    profile = profiles.load(folder)
    assert (profile.url, profile.keystore) == (portal.url, base / "device.json")
    assert profile.enrolment.portal.to_document() == portal.info
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(path.name for path in folder.iterdir()) == ["encryption.key", "profile.json"]
    assert all(CODE not in path.read_text() for path in folder.iterdir())


def test_a_lost_answer_is_asked_for_again(portal, base, run, tmp_path):
    folder = tmp_path / "profile"
    portal.faults = [Fault("POST .*/enrolments", keep=0)]
    code, _, problem = run(*_enrol(portal, base, folder), input=CODE)
    assert code == ExitCode.FAILED
    assert "Try again" in problem
    key = (folder / "encryption.key").read_text()
    assert [path.name for path in folder.iterdir()] == ["encryption.key"]
    assert run(*_enrol(portal, base, folder), input=CODE)[0] == 0
    assert (folder / "encryption.key").read_text() == key
    assert recipient_text(public_key(secret_from_text(key.strip()))).startswith("age1")


def test_nothing_is_overwritten(portal, base, run, enrolled):
    before = (enrolled / "profile.json").read_bytes()
    requests = len(portal.requests)
    code, _, problem = run(*_enrol(portal, base, enrolled), input=CODE)
    assert code == ExitCode.FAILED
    assert "nothing is overwritten" in problem
    assert (enrolled / "profile.json").read_bytes() == before
    assert len(portal.requests) == requests


@pytest.mark.parametrize("text", ["", "short", "no code at all, but words", "ÄÖÜ" * 9, "-" * 20, "A" * 70])
def test_what_isnt_an_invitation_isnt_sent(portal, base, run, tmp_path, text):
    code, _, problem = run(*_enrol(portal, base, tmp_path / "p"), input=text)
    assert code == ExitCode.USAGE
    assert "isn't an invitation" in problem
    assert portal.requests == []


def test_an_invitation_that_is_refused(portal, base, run, tmp_path):
    portal.invitations = {}
    code, out, _ = run(*_enrol(portal, base, tmp_path / "p"), "--json", input=CODE)
    error = json.loads(out)["error"]
    assert (code, error["type"]) == (ExitCode.NO, "PortalRefused")
    assert error["facts"]["code"] == "invitation_unknown"
    assert not (tmp_path / "p" / "profile.json").exists()


def test_a_portal_that_enrols_somebody_else(portal, base, run, tmp_path):
    enrolled = {"device": portal.desk.address, "wallet": portal.desk.address, "printer": "", "owner": "",
                "portal": portal.info}  # fmt: skip
    portal.faults = [Fault("/enrolments", 201, json.dumps(enrolled).encode())]
    code, _, problem = run(*_enrol(portal, base, tmp_path / "p"), input=CODE)
    assert code == ExitCode.FAILED
    assert "another device" in problem


def test_without_tls_only_on_this_machine(base, run, tmp_path):
    line = ("enrol", "--portal", "http://192.168.99.99:1", "--keystore", base / "device.json",
            "--profile", tmp_path / "p", "--invitation-file", "-")  # fmt: skip
    code, _, problem = run(*line, input=CODE)
    assert code == ExitCode.FAILED
    assert "https://" in problem


def test_without_a_terminal_nothing_is_asked(portal, base, tmp_path):
    """The invitation and the password are typed unseen on a terminal, and asked for nowhere else."""
    line = [COMMAND, *map(str, _enrol(portal, base, tmp_path / "p")[:-2])]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60, input=CODE)
    assert done.returncode == ExitCode.USAGE
    assert "--invitation-file" in done.stderr
    (tmp_path / "code").write_text(CODE)
    line += ["--invitation-file", str(tmp_path / "code")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=60, input=PASSWORD)
    assert done.returncode == ExitCode.USAGE
    assert "--password-file" in done.stderr
    assert portal.requests == []


def test_on_a_terminal_both_are_typed_unseen(portal, base, tmp_path):
    terminal, end = pty.openpty()
    line = [COMMAND, *map(str, _enrol(portal, base, tmp_path / "p")[:-2])]
    running = subprocess.Popen(line, stdin=end, stdout=end, stderr=end, cwd=ROOT, start_new_session=True)
    os.close(end)
    shown = b""
    for answer in (CODE, PASSWORD):
        while not shown.rstrip().endswith(b":"):
            shown += os.read(terminal, 1 << 12)
        os.write(terminal, f"{answer}\n".encode())
        shown += b"."
    try:
        while piece := os.read(terminal, 1 << 12):
            shown += piece
    except OSError:
        pass  # how Linux tells that the other end of a terminal was closed
    os.close(terminal)
    assert running.wait(60) == 0
    assert b"Enrolled" in shown
    assert CODE.encode() not in shown
    assert PASSWORD.encode() not in shown


# --- jobs ------------------------------------------------------------------------------------------------


def test_jobs(portal, device, owner, run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-jobs")
    portal.extra_entries = [{"id": format_id(id + 1)}]
    code, out, _ = run("jobs", "--profile", enrolled, "--json")
    answer = json.loads(out)
    assert code == 0
    (job,) = answer["jobs"]
    assert (job["license"], job["number"], job["remaining"]) == (format_id(id), "4711-jobs", 3)
    manifest = portal.served[id].manifest
    assert (job["fileHash"], job["size"]) == (manifest.file_hash, len(PART))
    assert job["sealedHash"] == manifest.sealing.sha256
    assert [entry["license"] for entry in answer["skipped"]] == [format_id(id + 1)]
    text = run("jobs", "--profile", enrolled)[1]
    assert "4711-jobs" in text
    assert "3 left" in text
    assert "left out" in text


def test_no_jobs(run, enrolled):
    assert "no license for this device" in run("jobs", "--profile", enrolled)[1]


def test_a_profile_that_cant_be_used(run, enrolled, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, problem = run("jobs", "--profile", empty)
    assert code == ExitCode.FAILED
    assert "imprimatur enrol" in problem
    path = enrolled / "profile.json"
    good = json.loads(path.read_text())
    wrong = good["enrolled"] | {"device": good["enrolled"]["device"].lower()}
    changes = ({"version": 2}, {"url": 5}, {"enrolled": {}}, {"enrolled": wrong})
    for broken in ("", "[]", "null", *(json.dumps(good | change) for change in changes)):
        path.write_text(broken)
        code, _, problem = run("jobs", "--profile", enrolled)
        assert code == ExitCode.FAILED
        assert "Enrol this device again" in problem


def test_another_key_than_the_enrolled_one(run, enrolled, tmp_path):
    _keystore(tmp_path / "other.json")
    path = enrolled / "profile.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"keystore": str(tmp_path / "other.json")}))
    code, _, problem = run("jobs", "--profile", enrolled)
    assert code == ExitCode.FAILED
    assert "isn't that of the device" in problem


# --- print --dry-run -------------------------------------------------------------------------------------


def test_a_dry_run_says_what_a_print_would_do(chain, portal, device, owner, dry_run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-dry", failures_allowed=2)
    code, answer = dry_run(id)
    assert code == 0, answer
    assert (answer["result"], answer["reason"], answer["consumed"]) == ("ready", None, False)
    assert (answer["copy"], answer["remaining"], answer["failuresLeft"]) == (1, 3, 2)
    assert (answer["device"], answer["wallet"], answer["owner"]) == (device, device, owner.address)
    assert answer["manifestSigner"] == owner.address
    assert answer["manifestIsFinal"] is True
    assert Path(answer["sealedFile"]).read_bytes() == portal.served[id].sealed
    # Nothing was consumed, signed for the chain, or asked of the desk; nothing else was left.
    license = chain.licenses.license_of(id)
    assert (license.used, license.remaining) == (0, 3)
    assert not [place for place in portal.requests if "/uses" in place or "/keys" in place]
    names = {path.relative_to(enrolled).as_posix() for path in enrolled.rglob("*") if path.is_file()}
    sealed = f"sealed/{portal.served[id].sealing.sha256}.age"
    assert names == {"profile.json", "encryption.key", sealed}
    assert not any(PART[:60] in (enrolled / name).read_bytes() for name in names)


def test_the_text_of_a_dry_run(chain, portal, device, owner, base, run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-text")
    number = f"{owner.address}/4711-text"
    place = ("--node", chain.url, "--address-book", base / "book")
    code, out, problem = run("print", number, "--dry-run", "--profile", enrolled, *place)
    assert code == 0, problem
    assert format_id(id) in out
    assert "would consume copy 1" in out
    assert "Nothing was consumed" in out
    # anvil calls a block final some 64 blocks later.
    assert "can still be replaced" in out


def test_without_dry_run_it_points_to_a_host(portal, device, owner, chain, base, run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-host")
    place = ("--node", chain.url, "--address-book", base / "book")
    code, _, problem = run("print", format_id(id), "--profile", enrolled, *place)
    assert code == ExitCode.USAGE
    assert "examples/headless" in problem
    assert not any("/file" in request for request in portal.requests)


def test_a_device_that_acts_for_a_shop(chain, portal, owner, base, device, run, tmp_path):
    """The license is the wallet's, and the device isn't the wallet."""
    shop = chain.account()
    chain.bind(shop, open_keystore(base / "device.json", PASSWORD))
    id = portal.offer(owner, shop.address, PART, number="4711-shop")
    folder = tmp_path / "profile"
    code, out, _ = run(*_enrol(portal, base, folder), "--wallet", shop.address, "--json", input=CODE)
    assert (code, json.loads(out)["wallet"]) == (0, shop.address)
    place = ("--node", chain.url, "--address-book", base / "book", "--json")
    code, out, _ = run("print", format_id(id), "--dry-run", "--profile", folder, *place)
    answer = json.loads(out)
    assert (code, answer["result"]) == (0, "ready")
    assert (answer["device"], answer["wallet"]) == (device, shop.address)


def test_a_torn_download_goes_on_and_a_whole_one_isnt_repeated(portal, device, owner, dry_run):
    id = portal.offer(owner, device, PART, number="4711-torn")
    portal.faults = [Fault("/file", keep=100_000)]
    code, answer = dry_run(id)
    assert (code, answer["error"]["type"]) == (ExitCode.FAILED, "PortalUnreachable")
    assert dry_run(id)[0] == 0
    assert portal.ranges == [None, "bytes=100000-"]
    assert dry_run(id)[0] == 0
    assert len(portal.ranges) == 2


def test_other_bytes_than_were_sealed(portal, device, owner, dry_run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-bytes")
    served = portal.served[id]
    honest = served.sealed
    served.sealed = honest[:-1] + bytes([honest[-1] ^ 1])
    code, answer = dry_run(id)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "OtherSealedFile")
    assert list((enrolled / "sealed").iterdir()) == []
    served.sealed = honest
    assert dry_run(id)[0] == 0


def test_a_license_that_cant_be_used_says_why(chain, portal, owner, base, device, dry_run):
    id = portal.offer(owner, device, PART, copies=1, number="4711-gone", flags=2)
    chain.send(owner, chain.licenses.revoke_call(id))
    code, answer = dry_run(id)
    assert code == ExitCode.NO
    assert (answer["result"], answer["copy"], answer["consumed"]) == ("refused", None, False)
    assert answer["reason"] == "LicenseIsRevoked"


def test_the_next_copy_is_named(chain, portal, owner, base, device, dry_run):
    id = portal.offer(owner, device, PART, number="4711-next")
    _use(chain, portal, open_keystore(base / "device.json", PASSWORD), id)
    assert dry_run(id)[1]["copy"] == 2


def test_a_manifest_that_the_chain_doesnt_name(portal, device, owner, dry_run):
    id = portal.offer(owner, device, PART, number="4711-lie")
    served = portal.served[id]
    lie = sign_manifest(replace(served.manifest, material="TPU"), owner)
    served.entry = portal.entry(lie, "4711-lie", 3)
    code, answer = dry_run(id)
    assert (code, answer["error"]["type"]) == (ExitCode.NO, "ManifestNotOnChain")
    stranger = sign_manifest(served.manifest, KeySigner(b"\x05" * 32))
    served.entry = portal.entry(stranger, "4711-lie", 3)
    assert dry_run(id)[1]["error"]["type"] == "SignerNotAllowed"
    assert not any("/file" in request for request in portal.requests)


def test_a_license_that_isnt_offered(chain, portal, device, owner, dry_run):
    id = chain.issue(owner, device, "ab" * 32, 1, "4711-unlisted")
    assert dry_run(id)[1]["error"]["type"] == "NotOffered"
    assert dry_run(id + 1)[1]["error"]["type"] == "LicenseUnknown"


def test_the_contract_of_the_portal_must_be_the_trusted_one(portal, device, owner, dry_run, enrolled):
    id = portal.offer(owner, device, PART, number="4711-clone")
    path = enrolled / "profile.json"
    document = json.loads(path.read_text())
    document["enrolled"]["portal"]["contract"] = portal.desk.address
    path.write_text(json.dumps(document))
    code, answer = dry_run(id)
    assert (code, answer["error"]["type"]) == (ExitCode.FAILED, "CommandFailed")
    assert "address book trusts" in answer["error"]["message"]


def test_a_node_that_isnt_there(portal, device, owner, run, base, enrolled):
    id = portal.offer(owner, device, PART, number="4711-node")
    place = ("--node", "http://127.0.0.1:9", "--address-book", base / "book")
    code, _, _ = run("print", format_id(id), "--dry-run", "--profile", enrolled, *place)
    assert code == ExitCode.NODE
