"""Headers: a public hash, every fork's number of fields, and refusal of what isn't a header."""

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain import rlp_codec
from imprimatur.chain.headers import FIELDS, OLDEST, Header, HeaderInvalid, header_of, parse_header
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.trie import EMPTY_ROOT

MAINNET_GENESIS = {
    "parentHash": "0x" + "00" * 32,
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x" + "00" * 20,
    "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    "transactionsRoot": "0x" + EMPTY_ROOT.hex(),
    "receiptsRoot": "0x" + EMPTY_ROOT.hex(),
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x400000000",
    "number": "0x0",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x0",
    "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    "mixHash": "0x" + "00" * 32,
    "nonce": "0x0000000000000042",
}
BFT = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"


@st.composite
def any_header(draw):
    """A header of any fork, with any values."""
    fields = []
    for _, size in FIELDS[: draw(st.integers(OLDEST, len(FIELDS)))]:
        if size is None:
            fields.append(rlp_codec.int_bytes(draw(st.integers(0, 1 << 256))))
        else:
            length = draw(st.integers(0, 100)) if size < 0 else size
            fields.append(draw(st.binary(min_size=length, max_size=length)))
    return Header(tuple(fields))


def test_genesis_of_ethereum():
    header = header_of(MAINNET_GENESIS)
    assert header.hash.hex() == "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
    assert (header.number, header.timestamp, header.receipts_root) == (0, 0, EMPTY_ROOT)
    assert header.state_root.hex().startswith("d7f8974f")
    assert (header.parent_hash, header.logs_bloom) == (bytes(32), bytes(256))
    assert header.transactions_root == EMPTY_ROOT


@settings(deadline=None)
@given(any_header())
def test_header_comes_back_from_its_bytes(header):
    assert header.rlp == rlp.encode(list(header.fields))
    assert parse_header(header.rlp) == header
    assert header.hash == keccak256(header.rlp)


@settings(deadline=None)
@given(any_header(), st.data())
def test_any_other_bytes_are_another_header(header, data):
    bit = data.draw(st.integers(0, 8 * len(header.rlp) - 1))
    changed = bytearray(header.rlp)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        assert parse_header(bytes(changed)).hash != header.hash
    except HeaderInvalid:
        return


def test_missing_field():
    block = {name: value for name, value in MAINNET_GENESIS.items() if name != "stateRoot"}
    with pytest.raises(HeaderInvalid, match="stateRoot"):
        header_of(block)


def test_a_fork_without_the_one_before():
    with pytest.raises(HeaderInvalid, match="baseFeePerGas"):
        header_of(MAINNET_GENESIS | {"withdrawalsRoot": "0x" + "00" * 32})


@pytest.mark.parametrize("bad", ["0xzz", 12, ["0x0"], "-0x1"])
def test_unreadable_json(bad):
    with pytest.raises(HeaderInvalid, match="can't be read"):
        header_of(MAINNET_GENESIS | {"number": bad})


@pytest.mark.parametrize("place", range(len(FIELDS)))
def test_field_of_wrong_size(place):
    """Each field one byte longer: numbers get a leading zero, extra data has no size."""
    fields = [b"" if size is None else bytes(max(size, 0)) for _, size in FIELDS]
    assert parse_header(rlp.encode(fields)).fields == tuple(fields)
    fields[place] = b"\x00" + fields[place]
    if FIELDS[place][0] == "extraData":
        assert parse_header(rlp.encode(fields)).fields == tuple(fields)
    else:
        with pytest.raises(HeaderInvalid):
            parse_header(rlp.encode(fields))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", rlp.encode([b""] * 14), rlp.encode([b""] * (len(FIELDS) + 1)), rlp.encode([[]] * 15)],
)
def test_no_header(data):
    with pytest.raises(HeaderInvalid):
        parse_header(data)


# --- consortium chains -------------------------------------------------------------------------------------

VANITY, VALIDATORS, VOTE = bytes(32), [b"\x11" * 20, b"\x22" * 20], [b"\x33" * 20, b"\xff"]


def bft_header(*extra):
    block = MAINNET_GENESIS | {"mixHash": BFT, "extraData": "0x" + rlp.encode(list(extra)).hex()}
    return header_of(block)


def hashed_extra_data(header):
    return rlp.decode(header.fields[[name for name, _ in FIELDS].index("extraData")])


def test_qbft_seals_and_round_arent_hashed():
    sealed = bft_header(VANITY, VALIDATORS, [], b"\x07", [b"\x44" * 65, b"\x55" * 65])
    assert hashed_extra_data(sealed) == [VANITY, VALIDATORS, [], b"", []]
    assert sealed.hash == bft_header(VANITY, VALIDATORS, [], b"", []).hash
    assert sealed.hash == bft_header(VANITY, VALIDATORS, [], b"\x08", [b"\x66" * 65]).hash
    assert sealed.hash != bft_header(VANITY, VALIDATORS, VOTE, b"\x07", [b"\x44" * 65]).hash
    assert parse_header(sealed.rlp) == sealed


def test_ibft_2_hashes_neither_round_nor_seals():
    sealed = bft_header(VANITY, VALIDATORS, b"", bytes(3) + b"\x07", [b"\x44" * 65])
    assert hashed_extra_data(sealed) == [VANITY, VALIDATORS, b""]


@pytest.mark.parametrize("extra", ["0x", "0x1234", "0x" + rlp.encode([VANITY, VALIDATORS]).hex()])
def test_other_engines_with_the_same_mark_are_hashed_as_they_are(extra):
    header = header_of(MAINNET_GENESIS | {"mixHash": BFT, "extraData": extra})
    assert bytes.fromhex(extra[2:]) in header.fields


def test_seals_of_other_chains_are_hashed():
    """Clique signs inside of extra data, and its hash has all of it."""
    extra = rlp.encode([VANITY, VALIDATORS, [], b"\x07", [b"\x44" * 65]])
    header = header_of(MAINNET_GENESIS | {"extraData": "0x" + extra.hex()})
    assert extra in header.fields
