"""Merkle–Patricia tries (Ethereum yellow paper, appendix D): roots of lists, proofs and their verification.

Two kinds of keys occur: `rlp(index)` for the receipts of a block, and hashes of 32 bytes for accounts and
storage. In neither is one key the beginning of another, so a branch never holds a value of its own, and one
that does is refused.
"""

from collections.abc import Iterator, Sequence

from imprimatur.chain import rlp_codec
from imprimatur.chain.keccak import DIGEST_SIZE, keccak256
from imprimatur.chain.rlp_codec import Decoded
from imprimatur.errors import ImprimaturError

EMPTY_ROOT = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
"""Root of a trie without entries: keccak256(rlp(no bytes))."""

_WIDTH = 16
_ODD = 1
_LEAF = 2
"""Flags in a compact path's first nibble."""
_DIGITS = bytes.maketrans(b"0123456789abcdef", bytes(range(_WIDTH)))

Entries = Sequence[tuple[bytes, bytes]]
"""Paths (one nibble a byte) and values, sorted by path."""


class ProofInvalid(ImprimaturError):
    """The nodes don't prove what they are said to prove."""


def root(values: Sequence[bytes]) -> bytes:
    """Root of the trie of a list, such as a block's `receiptsRoot` of its encoded receipts."""
    if not values:
        return EMPTY_ROOT
    return keccak256(_node(_entries(values), 0))


def proof(values: Sequence[bytes], index: int) -> list[bytes]:
    """The nodes from the root to `values[index]`, for `verify` with the key `index_key(index)`.

    Raises:
        IndexError: there is no such value.
    """
    if not 0 <= index < len(values):
        raise IndexError(f"There is no value {index} in a list of {len(values)}.")
    entries, path, depth = _entries(values), _nibbles(index_key(index)), 0
    nodes: list[bytes] = []
    while True:
        node = _node(entries, depth)
        # Shorter nodes stand inside their parent.
        if not nodes or len(node) >= DIGEST_SIZE:
            nodes.append(node)
        if len(entries) == 1:
            return nodes
        fork = _fork(entries, depth)
        if fork > depth:
            depth = fork
        else:
            entries = [entry for entry in entries if entry[0][depth] == path[depth]]
            depth += 1


def index_key(index: int) -> bytes:
    """Key of a list's value."""
    return rlp_codec.encode_int(index)


def verify(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes:
    """The value at `key` in the trie with this root.

    Args:
        root: 32 bytes.
        key: as it stands in the trie: `index_key(i)`, or the hash of an address or storage slot.
        proof: the nodes from the root, without those that stand inside their parent; no more than needed.

    Raises:
        ProofInvalid: a node is missing, changed, malformed or not needed, or the trie doesn't hold the key.
    """
    path, nodes = _nibbles(key), iter(proof)
    node = _hashed(nodes, root)
    while True:
        if len(node) == _WIDTH + 1:
            if node[_WIDTH] != b"" or not path:
                raise ProofInvalid("A branch of the proof holds a value, which no such trie has.")
            child, path = node[path[0]], path[1:]
        elif len(node) == 2:
            part, leaf = _expand(node[0])
            if not path.startswith(part) or (leaf and path != part):
                raise ProofInvalid("The proof shows that the trie doesn't hold this entry.")
            child, path = node[1], path[len(part) :]
            if leaf:
                return _end(child, nodes)
        else:
            raise ProofInvalid(f"A node of the proof has {len(node)} parts instead of 2 or 17.")
        node = _follow(child, nodes)


# --- building --------------------------------------------------------------------------------------------


def _nibbles(key: bytes) -> bytes:
    return key.hex().encode().translate(_DIGITS)


def _entries(values: Sequence[bytes]) -> Entries:
    return sorted((_nibbles(index_key(index)), value) for index, value in enumerate(values))


def _fork(entries: Entries, depth: int) -> int:
    """The depth at which the paths, equal up to `depth`, part. Sorted: the first and the last tell."""
    first, last = entries[0][0], entries[-1][0]
    while first[depth] == last[depth]:
        depth += 1
    return depth


def _node(entries: Entries, depth: int) -> bytes:
    path, value = entries[0]
    if len(entries) == 1:
        return _pair(path[depth:], _LEAF, rlp_codec.encode_bytes(value))
    fork = _fork(entries, depth)
    if fork > depth:
        return _pair(path[depth:fork], 0, _reference(_node(entries, fork)))
    children = [rlp_codec.EMPTY] * (_WIDTH + 1)
    start = 0
    while start < len(entries):
        nibble, end = entries[start][0][depth], start + 1
        while end < len(entries) and entries[end][0][depth] == nibble:
            end += 1
        children[nibble] = _reference(_node(entries[start:end], depth + 1))
        start = end
    return rlp_codec.wrap(b"".join(children))


def _pair(path: bytes, flag: int, encoded: bytes) -> bytes:
    return rlp_codec.wrap(rlp_codec.encode_bytes(_compact(path, flag)) + encoded)


def _compact(path: bytes, flag: int) -> bytes:
    """Hex-prefix encoding of a path (yellow paper, appendix C)."""
    nibbles = bytes((flag | _ODD,)) + path if len(path) % 2 else bytes((flag, 0)) + path
    return bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))


def _reference(node: bytes) -> bytes:
    """How a parent names a node: by its hash, or as it is when it is shorter than one."""
    return node if len(node) < DIGEST_SIZE else rlp_codec.encode_bytes(keccak256(node))


# --- verifying -------------------------------------------------------------------------------------------


def _hashed(nodes: Iterator[bytes], digest: bytes) -> list[Decoded]:
    node = next(nodes, None)
    if node is None:
        raise ProofInvalid("The proof ends before the entry.")
    if keccak256(node) != digest:
        raise ProofInvalid("A node of the proof doesn't have the hash that its parent, or the root, names.")
    try:
        return rlp_codec.decode_list(node)
    except rlp_codec.RlpInvalid as error:
        raise ProofInvalid(f"A node of the proof is malformed: {error}") from error


def _follow(child: Decoded, nodes: Iterator[bytes]) -> list[Decoded]:
    if isinstance(child, list):
        if len(rlp_codec.encode(child)) >= DIGEST_SIZE:
            raise ProofInvalid("A node stands inside its parent though it is too long for that.")
        return child
    if not child:
        raise ProofInvalid("The proof shows that the trie doesn't hold this entry.")
    if len(child) != DIGEST_SIZE:
        raise ProofInvalid(f"A node of the proof names another by {len(child)} bytes instead of a hash.")
    return _hashed(nodes, child)


def _end(value: Decoded, nodes: Iterator[bytes]) -> bytes:
    if next(nodes, None) is not None:
        raise ProofInvalid("The proof holds more nodes than it needs.")
    if not isinstance(value, bytes) or not value:
        raise ProofInvalid("The entry at the end of the proof has no value.")
    return value


def _expand(compact: Decoded) -> tuple[bytes, bool]:
    """Path and kind (leaf or not) of a node of two parts."""
    if not isinstance(compact, bytes) or not compact:
        raise ProofInvalid("A node of the proof has no path.")
    nibbles = _nibbles(compact)
    flag, leaf = nibbles[0] & _ODD, bool(nibbles[0] & _LEAF)
    path = nibbles[1 if flag else 2 :]
    if nibbles[0] > (_LEAF | _ODD) or (not flag and nibbles[1]) or not (leaf or path):
        raise ProofInvalid("A path of the proof isn't in its one valid form.")
    return path, leaf
