"""Both contracts once a module, chain state restored after every test."""

from pathlib import Path
from types import SimpleNamespace

import brownie
import pytest

from imprimatur.chain import typed_data
from imprimatur.chain.interface import interface_of
from imprimatur.chain.orders import Order
from imprimatur.chain.signers import KeySigner

FILE_HASH = int("5a" * 32, 16)
OTHER_HASH = int("c3" * 32, 16)
NUMBER = 0x4711
FOR_EVER = 2**256 - 1
RIGHT_ISSUE, RIGHT_GRANT, RIGHT_APPROVE_FILE, RIGHT_REVOKE = 1, 2, 4, 8
TRANSFERABLE, REVOCABLE, TRUSTED_DEVICE, REVOKED = 1, 2, 4, 8
NOBODY = "0x" + "00" * 20
MANIFEST = "0x" + "11" * 32
EVIDENCE = "0x" + "22" * 32
WORDS = ["0x" + digit * 64 for digit in "abc"]
"""Key recipient, encrypted serial and commitment of a use."""
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.fixture(scope="module")
def people(accounts):
    names = ("deployer", "owner", "printer", "operator", "stranger", "buyer", "attestor")
    return SimpleNamespace(**dict(zip(names, accounts, strict=False)))


@pytest.fixture(scope="module")
def keys(accounts):
    """Accounts whose key the tests hold: they sign messages. The chain knows them as `account`."""

    def key(name):
        signer = KeySigner(bytes(brownie.web3.keccak(text=name)))
        account = accounts.add(bytes(brownie.web3.keccak(text=name)).hex())
        accounts[0].transfer(account, "10 ether")
        return SimpleNamespace(signer=signer, account=account, address=signer.address)

    return SimpleNamespace(**{name: key(name) for name in ("owner", "device", "printer", "stranger")})


@pytest.fixture(scope="module")
def registry(DeviceRegistry, people):
    return people.deployer.deploy(DeviceRegistry)


@pytest.fixture(scope="module")
def licenses(PrintLicense, registry, people):
    return people.deployer.deploy(PrintLicense, registry)


@pytest.fixture(scope="session")
def sources():
    """Contracts that only tests use."""
    source = Path(__file__).with_name("sources").joinpath("Accounts.sol").read_text()
    return brownie.compile_source(source, solc_version="0.8.37", evm_version="cancun")


@pytest.fixture(autouse=True)
def isolate(licenses, keys, fn_isolation):
    """Restores the chain after each test."""


def refused(error, *values):
    """Expects that a call reverts with this custom error and these values."""
    texts = [str(value).lower() if str(value).startswith("0x") else str(value) for value in values]
    return brownie.reverts(f"{error}: {', '.join(texts)}" if values else f"{error}: ")


def license_id(owner, number=NUMBER):
    return int(str(owner), 16) << 96 | number


def reason(event):
    """Name of the error in a batch's UseSkipped or FailureSkipped."""
    return interface_of("PrintLicense").error_name(bytes.fromhex(str(event["reason"])[2:]))


def names(tx):
    """A transaction's events by name, in order."""
    return [event.name for event in tx.events]


def moved(tx):
    """What ERC-1155's single event says: by whom, from, to, license, copies."""
    event = tx.events["TransferSingle"]
    return tuple(event[name] for name in ("operator", "from", "to", "id", "value"))


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
            "manifestHash": MANIFEST,
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


@pytest.fixture
def printed(licenses, people, issued):
    """Issues a license and consumes copies of it; its id."""

    def print_copies(count, **changes):
        id = issued(**({"copies": count + 2} | changes))
        for _ in range(count):
            licenses.useLicense(id, FILE_HASH, {"from": people.printer})
        return id

    return print_copies


@pytest.fixture(scope="module")
def domain(licenses):
    return typed_data.license_domain(brownie.chain.id, licenses.address)


@pytest.fixture(scope="module")
def device_domain(registry):
    return typed_data.device_domain(brownie.chain.id, registry.address)


@pytest.fixture
def bind(registry, device_domain):
    """Binds a device (one of `keys`) to a wallet."""

    def bind_device(wallet, device, **options):
        nonce = registry.nonceOf(device.address)
        consent = typed_data.sign_binding(device.signer, device_domain, str(wallet), nonce, FOR_EVER)
        return registry.bind(device.address, FOR_EVER, consent, {"from": wallet} | options)

    return bind_device


def library_order(values):
    """The library's order of the same fields as the contract's."""
    owner, number, printer, file_hash, copies, until, flags, failures, manifest, deadline = values
    return Order(
        owner=str(owner),
        number=number,
        printer=str(printer),
        file_hash=f"{file_hash:064x}",
        copies=copies,
        deadline=deadline,
        valid_until=until,
        flags=flags,
        failures_allowed=failures,
        manifest_hash=bytes.fromhex(manifest[2:]),
    )


def high_s(signature):
    """The other signature that the same key and message have: with s in the upper half (EIP-2)."""
    raw = bytes.fromhex(signature[2:])
    s = SECP256K1_ORDER - int.from_bytes(raw[32:64], "big")
    return "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()
