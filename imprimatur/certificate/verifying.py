"""Verifying a certificate without network, without the word of anybody.

The way: event ← logs ← receipt ← receipts trie ← the header's receiptsRoot ← the header's hash ← a block hash
that the reader trusts. With a state: license's word ← storage trie ← account ← stateRoot of a header, which
is the same or has a trusted hash too.

A header doesn't name its chain, and any contract can log our events. So the contract's address comes from the
reader's address book for the certificate's chain, and trusted hashes are those of a stated chain.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from imprimatur import address_book
from imprimatur.canonical_json import NotCanonical
from imprimatur.certificate import document
from imprimatur.certificate.errors import BlockNotTrusted, CertificateInvalid, ForeignContract, OtherChain
from imprimatur.certificate.license_state import LicenseState, storage_slot, unpack
from imprimatur.certificate.parts import Parts, ReceiptProof, StateProof
from imprimatur.certificate.print_events import WORD, Print, print_at
from imprimatur.certificate.statement import Block, ProvenState, Verified
from imprimatur.chain import rlp_codec, trie
from imprimatur.chain.headers import Header, HeaderInvalid
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.print_license import CONTRACT
from imprimatur.chain.receipts import ReceiptInvalid, decode_receipt
from imprimatur.serials.tag import TagInvalid

_ACCOUNT_FIELDS = 4
_STORAGE_ROOT = 2
_MALFORMED = (
    HeaderInvalid,
    NotCanonical,
    ReceiptInvalid,
    TagInvalid,
    rlp_codec.RlpInvalid,
    trie.ProofInvalid,
)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Hashes (32 bytes) of blocks that the reader trusts to belong to a chain."""

    chain_id: int
    hashes: frozenset[bytes]

    def require(self, chain_id: int, blocks: Iterable[Block]) -> None:
        """All these blocks of this chain are trusted.

        Raises:
            OtherChain: the hashes are of another chain.
            BlockNotTrusted: one isn't among them.
        """
        if chain_id != self.chain_id:
            raise OtherChain(chain_id, self.chain_id)
        for block in blocks:
            if block.hash not in self.hashes:
                raise BlockNotTrusted(block.number, block.hash)


def verify(data: bytes, book: Path, anchor: Anchor | None = None) -> Verified:
    """What the certificate in `data` proves.

    Args:
        data: the file's bytes.
        book: the reader's folder of address books (`imprimatur.address_book`).
        anchor: block hashes that the reader trusts. Without any the certificate can only be consistent:
            `anchored` is False then, and whoever made it could have made up all of it.

    Raises:
        CertificateInvalid: it proves nothing; the reason is in the error.
        AddressBookDamaged: the address book of its chain can't be read.
    """
    try:
        parts = document.read(data)
        _require_ours(parts, book)
        verified = establish(parts)
        if document.write(parts, verified) != data:
            raise CertificateInvalid("what it says beside its proof isn't what the proof says.")
    except _MALFORMED as error:
        raise CertificateInvalid(str(error)) from error
    if anchor is None:
        return verified
    anchor.require(parts.chain_id, verified.blocks)
    return replace(verified, anchored=True)


def _require_ours(parts: Parts, book: Path) -> None:
    contract = document.hexadecimal(parts.contract)
    try:
        trusted = address_book.trusted(book, parts.chain_id, CONTRACT)
    except address_book.NotDeployed as error:
        raise ForeignContract(parts.chain_id, contract) from error
    if contract not in trusted:
        raise ForeignContract(parts.chain_id, contract)


def establish(parts: Parts) -> Verified:
    """What these parts prove, if their contract and blocks are what they say.

    Raises:
        CertificateInvalid: they contradict each other.
        ProofInvalid: the nodes don't lead where they should.
        ReceiptInvalid, RlpInvalid, TagInvalid: a value isn't what it should be.
    """
    print = _print(parts.proof, parts.header, parts.contract)
    state = _state(parts, parts.state, print) if parts.state else None
    tag = parts.opening.tag_of(print) if parts.opening else None
    if tag and tag.commitment != print.commitment:
        raise CertificateInvalid("the serial and tag in it don't open the commitment.")
    return Verified(parts.chain_id, parts.contract, print, _block(parts.header), state, tag, anchored=False)


def _block(header: Header) -> Block:
    return Block(header.number, header.hash, header.timestamp)


def _print(proof: ReceiptProof, header: Header, contract: bytes) -> Print:
    key = trie.index_key(proof.transaction)
    receipt = decode_receipt(trie.verify(header.receipts_root, key, proof.nodes))
    if receipt.succeeded is not True:
        raise CertificateInvalid("its receipt doesn't say that the transaction succeeded.")
    return print_at(receipt.logs, proof.log, contract)


def _state(parts: Parts, proof: StateProof, print: Print) -> ProvenState:
    if proof.header.hash != parts.header.hash and proof.header.number <= parts.header.number:
        raise CertificateInvalid("the block of its state doesn't come after the print's block.")
    license = _license(proof, print.id, parts.contract)
    if license.used < print.copy:
        raise CertificateInvalid("at the block of its state the copy wasn't consumed yet.")
    return ProvenState(_block(proof.header), license, license.outcome_of(print.copy))


def _license(proof: StateProof, id: int, contract: bytes) -> LicenseState:
    account = rlp_codec.decode_list(trie.verify(proof.header.state_root, keccak256(contract), proof.account))
    if len(account) != _ACCOUNT_FIELDS or not isinstance(storage_root := account[_STORAGE_ROOT], bytes):
        raise CertificateInvalid("the account in its state isn't one.")
    key = keccak256(storage_slot(id))
    value = rlp_codec.decode(trie.verify(storage_root, key, proof.storage))
    if not isinstance(value, bytes) or len(value) > WORD:
        raise CertificateInvalid("the license's word in its state isn't one.")
    return unpack(rlp_codec.scalar(value))
