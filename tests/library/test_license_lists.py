"""Many licenses asked for at once say what each one says alone."""

import pytest

from imprimatur.chain.orders import Terms
from imprimatur.chain.signers import KeySigner
from support.node import Chain

FILES = [f"{n:064x}" for n in range(1, 5)]


@pytest.fixture(scope="module")
def owner(chain: Chain) -> KeySigner:
    return chain.account()


def test_licenses_at_once(chain: Chain, owner: KeySigner) -> None:
    printer = chain.account()
    ids = [chain.issue(owner, printer.address, file, 2, f"at-once-{file[-2:]}") for file in FILES]
    asked = [ids[0], 4711, *ids[1:]]
    licenses = chain.licenses
    assert licenses.licenses_of(asked) == [licenses.license_of(id) for id in asked]
    assert licenses.licenses_of(asked)[1] is None
    assert licenses.licenses_of([]) == []
    block = int(chain.rpc.call("eth_blockNumber", []), 16)
    chain.send(printer, licenses.use_license_call(ids[0], FILES[0]))
    before, now = licenses.licenses_of(ids[:1], block), licenses.licenses_of(ids[:1])
    assert [license and license.used for license in (*before, *now)] == [0, 1]


def test_usability_at_once(chain: Chain, owner: KeySigner) -> None:
    printer = chain.account()
    fine = chain.issue(owner, printer.address, FILES[0], 1, "usable-1")
    trusted = chain.issue(owner, printer.address, FILES[1], 1, "usable-2", flags=Terms.TRUSTED_DEVICE)
    asked = [(fine, FILES[0]), (fine, FILES[1]), (trusted, FILES[1]), (4711, FILES[0])]
    found = chain.licenses.can_use_each(asked, printer.address)
    assert [usable.reason for usable in found] == [
        None,
        "FileHashMismatch",
        "DeviceNotTrusted",
        "LicenseNotFound",
    ]
    assert found == [chain.licenses.can_use(id, file, printer.address) for id, file in asked]


def test_transfers_to_somebody(chain: Chain, owner: KeySigner) -> None:
    first, second = chain.account(), chain.account()
    terms = {"flags": Terms.TRANSFERABLE}
    id = chain.issue(owner, first.address, FILES[2], 1, "transfer-1", **terms)
    kept = chain.issue(owner, first.address, FILES[3], 1, "transfer-2", **terms)
    receipt = chain.send(first, chain.licenses.transfer_license_call(id, second.address))
    assert [event.values["id"] for event in chain.licenses.transfers_to(second.address)] == [id]
    assert list(chain.licenses.transfers_to(first.address)) == []
    block = int(receipt["blockNumber"], 16)
    assert len(list(chain.licenses.transfers_to(second.address, block))) == 1
    assert kept not in {event.values["id"] for event in chain.licenses.transfers_to(second.address)}
