"""`canUse` says beforehand what a use would say: the same error, or none."""

import pytest
from brownie import chain
from brownie.exceptions import VirtualMachineError

from conftest import FILE_HASH, OTHER_HASH, REVOCABLE, TRUSTED_DEVICE, license_id
from imprimatur.chain.interface import interface_of


def _say(licenses, id, file_hash, caller):
    usable, selector = licenses.canUse(id, file_hash, caller)
    if usable:
        assert str(selector) == "0x00000000"
        return None
    return interface_of("PrintLicense").error_name(bytes.fromhex(str(selector)[2:]))


@pytest.mark.parametrize(
    ("who", "file_hash", "terms", "name"),
    [
        ("printer", FILE_HASH, {}, None),
        ("stranger", FILE_HASH, {}, "NotThePrinter"),
        ("printer", 0, {}, "FileHashIsZero"),
        ("printer", OTHER_HASH, {}, "FileHashMismatch"),
        ("printer", FILE_HASH, {"flags": TRUSTED_DEVICE}, "DeviceNotTrusted"),
    ],
)
def test_says_what_a_use_says(licenses, people, issued, who, file_hash, terms, name):
    id, account = issued(**terms), getattr(people, who)
    assert _say(licenses, id, file_hash, account) == name
    if name:
        with pytest.raises(VirtualMachineError, match=name):
            licenses.useLicense(id, file_hash, {"from": account})
    else:
        licenses.useLicense(id, file_hash, {"from": account})


def test_says_when_a_license_ended(licenses, people, issued):
    until = chain.time() + 100
    expiring = issued(number=1, validUntil=until)
    revoked = issued(number=2, flags=REVOCABLE)
    used_up = issued(number=3, copies=1)
    licenses.revoke(revoked, {"from": people.owner})
    licenses.useLicense(used_up, FILE_HASH, {"from": people.printer})
    chain.sleep(200)
    chain.mine()
    assert _say(licenses, expiring, FILE_HASH, people.printer) == "LicenseExpired"
    assert _say(licenses, revoked, FILE_HASH, people.printer) == "LicenseIsRevoked"
    assert _say(licenses, used_up, FILE_HASH, people.printer) == "LicenseExhausted"
    assert _say(licenses, license_id(people.stranger), FILE_HASH, people.printer) == "LicenseNotFound"
