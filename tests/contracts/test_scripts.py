"""The scripts on a chain: what they do, what they print, and the sentence when they can't."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from brownie import web3
from eth_account import Account

from conftest import FILE_HASH, NOBODY, OTHER_HASH, RIGHT_GRANT, license_id
from imprimatur.license_id import format_id, number_from_text
from scripts import (
    approve_file,
    attest_device,
    authorize_portal,
    bind_device,
    deploy,
    grant,
    issue,
    issue_batch,
    revoke,
    show_license,
)

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def keystores(keys, tmp_path_factory):
    """Key files of three roles; few iterations, because these keys protect nothing."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "password").write_text(PASSWORD + "\n")
    for role, key in (("OWNER", keys.owner), ("WALLET", keys.printer), ("DEVICE", keys.device)):
        secret = Account.encrypt(key.signer._account.key, PASSWORD, kdf="pbkdf2", iterations=1000)
        (folder / f"{role}.json").write_text(json.dumps(secret))
    return folder


@pytest.fixture
def script(keystores, monkeypatch, tmp_path):
    """Sets the environment of scripts: roles by name, everything else by keyword."""
    for name in [name for name in os.environ if name.startswith("IMPRIMATUR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IMPRIMATUR_DEPLOYMENTS", str(tmp_path / "deployments"))

    def prepare(*roles, **variables):
        for role in roles:
            name, _, file = role.partition("=")
            monkeypatch.setenv(f"IMPRIMATUR_{name}_KEYSTORE", str(keystores / f"{file or name}.json"))
            monkeypatch.setenv(f"IMPRIMATUR_{name}_PASSWORD_FILE", str(keystores / "password"))
        for name, value in variables.items():
            monkeypatch.setenv(f"IMPRIMATUR_{name}", str(value))

    return prepare


@pytest.fixture
def here(script):
    """Deploys with the script; the PrintLicense that all other scripts then find."""
    return deploy.deploy()


@pytest.fixture
def licensed(here, script, keys):
    """A license of the owner whose keystore the scripts have; its id."""
    script("OWNER", NUMBER="4711-A4", PRINTER=keys.printer.address, FILE_HASH=f"{FILE_HASH:064x}", COPIES=3)
    script(TERMS="revocable trusted_device", FAILURES_ALLOWED=1, VALID_UNTIL="2099-12-31")
    issue.main()
    id = license_id(keys.owner.address, number_from_text("4711-A4"))
    script(LICENSE=format_id(id))
    return id


def test_deploying_again_changes_nothing(script, capsys, tmp_path):
    licenses = deploy.deploy()
    assert "PrintLicense: deployed at" in capsys.readouterr().out
    book = (tmp_path / "deployments").glob("*.json")
    (book,) = book
    before = book.read_text()
    assert deploy.deploy().address == licenses.address
    assert capsys.readouterr().out.count("already at") == 2
    assert book.read_text() == before
    entries = json.loads(before)["contracts"]
    assert entries["PrintLicense"]["address"] == licenses.address
    assert entries["DeviceRegistry"]["address"] == licenses.DEVICES()


def test_other_code_is_replaced(here, people, script, capsys, tmp_path):
    (book,) = (tmp_path / "deployments").glob("*.json")
    entries = json.loads(book.read_text())
    devices = entries["contracts"]["DeviceRegistry"]["address"]
    entries["contracts"]["DeviceRegistry"]["address"] = here.address
    book.write_text(json.dumps(entries))
    fresh = deploy.deploy()
    output = capsys.readouterr().out
    assert "this chain has other code there" in output
    # A PrintLicense that believes the old registry isn't kept either.
    assert "believes another DeviceRegistry" in output
    assert fresh.address != here.address
    assert fresh.DEVICES() != devices


def test_issue_and_show(capsys, here, licensed, keys):
    assert "Issued: license 0x" in capsys.readouterr().out
    show_license.main()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["license"] == format_id(licensed)
    assert lines["owner"] == keys.owner.address
    assert lines["printer"] == keys.printer.address
    assert lines["copies"] == "3 left, 0 used"
    assert lines["failures"] == "0 of 1 allowed"
    assert lines["valid"] == "until 2099-12-31 23:59:59 UTC"
    assert lines["terms"] == "revocable, trusted device"


def test_license_by_its_number(licensed, script, keys, capsys):
    script(LICENSE="4711-A4", OWNER=keys.owner.address)
    show_license.main()
    assert format_id(licensed) in capsys.readouterr().out
    script(LICENSE="4711-A5")
    with pytest.raises(SystemExit, match="There is no license"):
        show_license.main()


def test_refusals_are_sentences(here, licensed, script):
    with pytest.raises(SystemExit, match="The contract refused: LicenseExists"):
        issue.main()
    script("OWNER=WALLET")
    with pytest.raises(SystemExit, match="The contract refused: NotAllowed"):
        revoke.main()
    script(COPIES="many")
    with pytest.raises(SystemExit, match="copies: 'many' isn't a whole number"):
        issue.main()
    with pytest.raises(SystemExit, match="IMPRIMATUR_COPIES must be a whole number"):
        grant.main()


def test_missing_settings_are_named(script):
    script("OWNER")
    with pytest.raises(SystemExit, match="Set IMPRIMATUR_LICENSE"):
        revoke.main()
    script(LICENSE="4711")
    with pytest.raises(SystemExit, match="Set IMPRIMATUR_OWNER"):
        revoke.main()
    script(LICENSE="0x" + "12" * 32)
    with pytest.raises(SystemExit, match="Deploy them first"):
        revoke.main()
    with pytest.raises(SystemExit, match="Set IMPRIMATUR_WALLET_KEYSTORE and"):
        bind_device.main()


def test_operator_issues_for_the_owner(here, script, keys, capsys):
    script("OWNER", OPERATOR=keys.printer.address)
    authorize_portal.main()
    assert "may issue licenses" in capsys.readouterr().out
    script("OWNER=WALLET", OWNER=keys.owner.address)
    script(NUMBER="1", PRINTER=keys.printer.address, FILE_HASH="5a" * 32, COPIES=3)
    issue.main()
    assert here.licenseOf(license_id(keys.owner.address, number_from_text("1")))["remaining"] == 3
    script("OWNER", OWNER="")
    authorize_portal.cut_off()
    script("OWNER=WALLET", OWNER=keys.owner.address, NUMBER="2")
    with pytest.raises(SystemExit, match="NotAllowed"):
        issue.main()


@pytest.fixture
def orders_file(here, script, keys, tmp_path):
    """Writes a CSV file of so many orders and names it to the script."""

    def write(*copies):
        path = tmp_path / "orders.csv"
        rows = [f"n-{i},{keys.printer.address},{'5a' * 32},{count}" for i, count in enumerate(copies)]
        path.write_text("\n".join(["number,printer,file_hash,copies", *rows]) + "\n")
        script("OWNER", CSV=path)
        return [license_id(keys.owner.address, number_from_text(f"n-{i}")) for i in range(len(copies))]

    return write


def test_batch(here, keys, orders_file, capsys):
    ids = orders_file(1, 2, 3)
    issue_batch.dry_run()
    assert "3 licenses would be issued, in 1 transactions." in capsys.readouterr().out
    assert here.balanceOf(keys.printer.address, ids[0]) == 0
    issue_batch.main()
    assert [here.balanceOf(keys.printer.address, id) for id in ids] == [1, 2, 3]


def test_batch_is_completed(here, keys, orders_file, capsys):
    """Interrupted between two transactions, or with new lines: only what is missing is issued."""
    orders_file(1, 2)
    issue_batch.main()
    ids = orders_file(1, 2, 3)
    capsys.readouterr()
    issue_batch.main()
    assert "3 orders, 2 of them issued already." in capsys.readouterr().out
    assert here.balanceOf(keys.printer.address, ids[2]) == 3


def test_batch_with_other_terms(orders_file):
    orders_file(1, 2)
    issue_batch.main()
    orders_file(1, 5)
    with pytest.raises(SystemExit, match=r"line 3: license 0x.* exists with other terms"):
        issue_batch.main()


def test_batch_with_a_wrong_line(here, keys, orders_file):
    ids = orders_file(1, 0)
    with pytest.raises(SystemExit, match="line 3: copies: '0'"):
        issue_batch.main()
    assert here.balanceOf(keys.printer.address, ids[0]) == 0


def test_batches_of_250(here, keys, orders_file, capsys):
    ids = orders_file(*[1] * 251)
    issue_batch.main()
    printed = capsys.readouterr().out
    assert "Issued 250 licenses in 0x" in printed
    assert "Issued 1 licenses in 0x" in printed
    assert here.balanceOf(keys.printer.address, ids[-1]) == 1


def test_grant(here, licensed, script, capsys):
    script(COPIES=4)
    grant.main()
    assert "7 are left now" in capsys.readouterr().out
    script(COPIES=70_000)
    with pytest.raises(SystemExit, match="at most 65,535"):
        grant.main()
    script(COPIES=1, FOR_COPY=9)
    with pytest.raises(SystemExit, match="CopyNotRefundable"):
        grant.main()


def test_approve_file(here, licensed, script, tmp_path):
    script(FILE_HASH=f"{OTHER_HASH:064x}")
    approve_file.main()
    assert here.checkHash(licensed, OTHER_HASH)
    approve_file.withdraw()
    assert not here.checkHash(licensed, OTHER_HASH)
    part = tmp_path / "part.gcode"
    script(FILE=part)
    with pytest.raises(SystemExit, match="IMPRIMATUR_FILE can't be read"):
        approve_file.main()
    part.write_text("G28\n")
    approve_file.main()
    script(FILE="", FILE_HASH="short")
    with pytest.raises(SystemExit, match="must be 64 hexadecimal digits"):
        approve_file.main()


def test_revoke(here, licensed, capsys):
    revoke.main()
    assert "3 copies are forfeited" in capsys.readouterr().out
    show_license.main()
    assert "revoked" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="LicenseIsRevoked"):
        revoke.main()


def test_device_is_bound_and_trusted(here, licensed, script, keys, DeviceRegistry):
    registry = DeviceRegistry.at(here.DEVICES())
    device = keys.device.address
    script("WALLET", "DEVICE", "ATTESTOR=DEVICE")
    bind_device.main()
    assert registry.walletOf(device) == keys.printer.address
    script(DEVICE=device, ATTESTOR=device, EVIDENCE="ee" * 32)
    for step in (attest_device.main, attest_device.present, attest_device.accept):
        assert not registry.isTrusted(device, keys.owner.address)
        step()
    assert registry.isTrusted(device, keys.owner.address)
    here.useLicense(licensed, FILE_HASH, {"from": keys.device.account})
    attest_device.retract()
    assert not registry.isTrusted(device, keys.owner.address)
    with pytest.raises(SystemExit, match="DeviceIsBound"):
        bind_device.main()
    bind_device.unbind()
    assert registry.walletOf(device) == NOBODY
    script(DEVICE="0x12")
    with pytest.raises(SystemExit, match="must be an address"):
        bind_device.unbind()


def test_grant_by_an_operator(here, licensed, script, keys):
    here.setOperator(
        keys.owner.address, keys.printer.address, RIGHT_GRANT, 2**63, {"from": keys.owner.account}
    )
    script("OWNER=WALLET", COPIES=1)
    grant.main()
    with pytest.raises(SystemExit, match="NotAllowed"):
        revoke.main()


def test_from_the_command_line(here, licensed):
    """As a user starts it: Brownie, a network, the environment."""
    command = [sys.executable, "tools/brownie_cli.py", "run", "show_license", "--network", "imprimatur"]
    env = os.environ | {"IMPRIMATUR_RPC_URL": web3.provider.endpoint_uri}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"license   {format_id(licensed)}" in done.stdout
