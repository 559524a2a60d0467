"""EIP-712 messages are the standard's, and their compact signatures the standard's too."""

import re

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from imprimatur.chain import typed_data
from imprimatur.chain.signers import KeySigner
from support.node import ROOT

SIGNER = KeySigner(bytes(range(1, 33)))
DOMAIN = typed_data.license_domain(1, "0x" + "11" * 20)
FAILURE = typed_data.Failure(id=7, copy=3, evidence=b"\x05" * 32, deadline=9)


def test_signature_is_the_standard_one():
    signature = SIGNER.sign_typed_data(DOMAIN, typed_data.FAILURE, FAILURE.values())
    message = encode_typed_data(DOMAIN, typed_data.FAILURE, FAILURE.values())
    assert Account.recover_message(message, signature=signature) == SIGNER.address


def test_types_are_the_contracts():
    """Name, order and type of every field, as the contracts' sources write them."""
    sources = "".join(
        (ROOT / "contracts" / f"{name}.sol").read_text() for name in ("PrintLicense", "DeviceRegistry")
    )
    texts = re.sub(r'"\s+"', "", sources)
    for types in (typed_data.ORDER, typed_data.USE, typed_data.FAILURE, typed_data.BIND):
        ((name, fields),) = types.items()
        body = ",".join(f"{field['type']} {field['name']}" for field in fields)
        assert f'"{name}({body})"' in texts


def test_compact_signature_holds_the_same():
    full = bytes.fromhex(SIGNER.sign_typed_data(DOMAIN, typed_data.FAILURE, FAILURE.values())[2:])
    signature = typed_data.sign_failure(SIGNER, DOMAIN, FAILURE).signature
    vs = int.from_bytes(signature.vs, "big")
    assert signature.r == full[:32]
    assert vs & (1 << 255) - 1 == int.from_bytes(full[32:64], "big")
    assert vs >> 255 == full[64] - 27


@pytest.mark.parametrize(
    "signature",
    ["0x", "0x" + "11" * 64, "0x" + "11" * 64 + "00", "0x" + "11" * 32 + "80" + "11" * 31 + "1b"],
    ids=["empty", "64 bytes", "v is 0", "high s"],
)
def test_malformed_signatures(signature):
    with pytest.raises(typed_data.MalformedSignature):
        typed_data.compact(signature)
