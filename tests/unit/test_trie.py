"""Tries: known roots, agreement with a naive twin, proofs that hold and changed proofs that don't."""

import pytest
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain import rlp_codec, trie
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.trie import ProofInvalid

lists = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=40)


# --- a twin that says what a trie is, without any thought of speed -----------------------------------------


def naive_root(values):
    """Root of the trie over `rlp(index) → value`; paths are text of hexadecimal digits."""
    return keccak(naive_node({rlp_codec.encode_int(i).hex(): value for i, value in enumerate(values)}))


def naive_node(entries):
    if not entries:
        return rlp_codec.encode(b"")
    if len(entries) == 1:
        ((path, value),) = entries.items()
        return rlp_codec.encode([naive_path(path, True), value])
    shared = 0
    while len({path[: shared + 1] for path in entries}) == 1:
        shared += 1
    if shared:
        path = next(iter(entries))[:shared]
        rest = naive_node({path[shared:]: value for path, value in entries.items()})
        return rlp_codec.encode([naive_path(path, False), naive_reference(rest)])
    children = [
        naive_reference(naive_node({path[1:]: value for path, value in entries.items() if path[0] == digit}))
        for digit in "0123456789abcdef"
    ]
    return rlp_codec.encode([*children, b""])


def naive_path(path, leaf):
    flag = 2 if leaf else 0
    return bytes.fromhex(f"{flag + 1}{path}" if len(path) % 2 else f"{flag}0{path}")


def naive_reference(node):
    if node == rlp_codec.encode(b""):
        return b""
    return rlp_codec.decode(node) if len(node) < 32 else keccak(node)


# --- keccak ------------------------------------------------------------------------------------------------


def test_known_hashes():
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    ommers = keccak256(rlp_codec.encode([]))
    assert ommers.hex() == "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_keccak_agrees_with_eth_utils(data):
    assert keccak256(data) == keccak(data)


# --- roots -------------------------------------------------------------------------------------------------


def test_empty_root():
    assert trie.root([]) == trie.EMPTY_ROOT == keccak256(rlp_codec.encode(b""))


@settings(deadline=None)
@given(lists)
def test_root_is_the_naive_one(values):
    assert trie.root(values) == naive_root(values)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 127, 128, 129, 130, 255, 256, 257, 300])
def test_root_where_keys_grow(count):
    """Keys are 0x80, 0x01 … 0x7f, 0x8180 … 0x81ff, 0x820100 …: the shape changes at these counts."""
    values = [bytes([i % 251]) * (1 + i % 90) for i in range(count)]
    assert trie.root(values) == naive_root(values)
    for index in {0, 1, count // 2, count - 1}:
        if index < count:
            proof = trie.proof(values, index)
            assert trie.verify(trie.root(values), trie.index_key(index), proof) == values[index]


# --- proofs ------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(lists)
def test_every_value_is_proven(values):
    root = trie.root(values)
    for index, value in enumerate(values):
        assert trie.verify(root, trie.index_key(index), trie.proof(values, index)) == value


@settings(max_examples=50, deadline=None)
@given(lists, st.data())
def test_every_changed_bit_is_noticed(values, data):
    index = data.draw(st.integers(0, len(values) - 1))
    proof = trie.proof(values, index)
    node = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 8 * len(proof[node]) - 1))
    changed = bytearray(proof[node])
    changed[bit // 8] ^= 1 << bit % 8
    proof[node] = bytes(changed)
    with pytest.raises(ProofInvalid):
        trie.verify(trie.root(values), trie.index_key(index), proof)


@settings(max_examples=50, deadline=None)
@given(lists, st.data())
def test_a_proof_holds_for_its_index_only(values, data):
    index = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(st.integers(0, 2 * len(values)).filter(lambda i: i != index))
    proof = trie.proof(values, index)
    try:
        found = trie.verify(trie.root(values), trie.index_key(other), proof)
    except ProofInvalid:
        return
    # A short value can stand inside the last node that both have in common.
    assert other < len(values)
    assert found == values[other]


def test_nodes_missing_or_too_many():
    values = [bytes([i]) * 40 for i in range(40)]
    root, key, proof = trie.root(values), trie.index_key(7), trie.proof(values, 7)
    assert len(proof) > 1
    for wrong in (proof[:-1], proof[1:], [], [*proof, proof[-1]], [proof[0], *proof], proof[::-1]):
        with pytest.raises(ProofInvalid):
            trie.verify(root, key, wrong)


def test_no_such_value():
    with pytest.raises(IndexError):
        trie.proof([b"a"], 1)
    with pytest.raises(IndexError):
        trie.proof([b"a"], -1)


def forged(*nodes):
    """Root and proof of nodes that a forger chose; each but the last has the next one's hash as `b"next"`."""
    encoded = []
    for node in reversed(nodes):
        named = [keccak256(encoded[0]) if part == b"next" else part for part in node]
        encoded.insert(0, rlp_codec.encode(named))
    return keccak256(encoded[0]), encoded


LEAF = [bytes.fromhex("20ab"), b"value"]
KEY = bytes.fromhex("ab")
SHORT_LEAF = [bytes.fromhex("3b"), b"v"]


def branch(value):
    """One child, at the nibble a."""
    return [b""] * 10 + [SHORT_LEAF] + [b""] * 5 + [value]


@pytest.mark.parametrize(
    "nodes",
    [
        [[bytes.fromhex("40ab"), b"value"]],  # an unknown flag
        [[bytes.fromhex("60ab"), b"value"]],
        [[bytes.fromhex("3a"), b"value"]],  # a shorter key
        [branch(b"value")],  # a branch with a value beside the child
        [[bytes.fromhex("21ab"), b"value"]],  # padding that isn't zero
        [[b"", b"value"]],  # no path at all
        [[bytes.fromhex("20ab"), b""]],  # no value
        [[bytes.fromhex("20ab"), [b"value"]]],  # a list as value
        [[bytes.fromhex("20ac"), b"value"]],  # another key
        [[bytes.fromhex("20abab"), b"value"]],  # a longer key
        [[[b"\x20\xab"], b"value"]],  # a list as path
        [[bytes.fromhex("00"), b"next"], LEAF],  # an extension by nothing
        [[bytes.fromhex("1a"), b"short"]],  # neither a hash nor a node
        [[bytes.fromhex("1a"), [bytes.fromhex("3b"), b"v" * 40]]],  # embedded though too long
        [[b""] * 16],  # neither 2 nor 17 parts
        [[b""] * 17],  # an empty branch
        [[b""] * 16 + [b"value"]],  # a branch with a value
        [[bytes.fromhex("00ab"), [b""] * 17]],  # the key ends at a branch
    ],
)
def test_malformed_nodes(nodes):
    root, proof = forged(*nodes)
    with pytest.raises(ProofInvalid):
        trie.verify(root, KEY, proof)


def test_the_forger_of_these_tests_can_also_tell_the_truth():
    root, proof = forged(LEAF)
    assert trie.verify(root, KEY, proof) == b"value"
    for node in ([bytes.fromhex("1a"), SHORT_LEAF], branch(b"")):
        root, proof = forged(node)
        assert trie.verify(root, KEY, proof) == b"v"


def test_a_node_that_is_no_list():
    node = rlp_codec.encode(b"text")
    with pytest.raises(ProofInvalid, match="malformed"):
        trie.verify(keccak256(node), KEY, [node])
