"""One contract a module, chain state restored after every test."""

from types import SimpleNamespace

import brownie
import pytest

FILE_HASH = int("5a" * 32, 16)
OTHER_HASH = int("c3" * 32, 16)
NUMBER = 0x4711
FOR_EVER = 2**256 - 1
RIGHT_ISSUE = 1


@pytest.fixture(scope="module")
def people(accounts):
    names = ("deployer", "owner", "printer", "operator", "stranger")
    return SimpleNamespace(**dict(zip(names, accounts, strict=False)))


@pytest.fixture(scope="module")
def licenses(PrintLicense, people):
    return people.deployer.deploy(PrintLicense)


@pytest.fixture(autouse=True)
def isolate(licenses, fn_isolation):
    """Restores the chain after each test."""


def refused(error, *values):
    """Expects that a call reverts with this custom error and these values."""
    texts = [str(value).lower() if str(value).startswith("0x") else str(value) for value in values]
    return brownie.reverts(f"{error}: {', '.join(texts)}")


def license_id(owner, number=NUMBER):
    return int(str(owner), 16) << 96 | number


@pytest.fixture(scope="module")
def order(people):
    """Makes an order; every field can be replaced by name."""

    def make(**changes):
        fields = {
            "owner": people.owner,
            "number": NUMBER,
            "printer": people.printer,
            "fileHash": FILE_HASH,
            "copies": 2,
            "validUntil": 0,
            "flags": 0,
            "failuresAllowed": 0,
            "manifestHash": "0x" + "11" * 32,
            "deadline": FOR_EVER,
        }
        assert changes.keys() <= fields.keys()
        return tuple((fields | changes).values())

    return make


@pytest.fixture
def issued(licenses, people, order):
    """Issues a license as the owner; its id."""

    def issue(**changes):
        licenses.issue(order(**changes), {"from": people.owner})
        return license_id(people.owner, changes.get("number", NUMBER))

    return issue
