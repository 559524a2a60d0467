"""Signing the use of one copy: fresh keys, serial and commitment. Nothing is sent and nothing is written."""

from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers import Signer
from imprimatur.chain.typed_data import USE, Domain, Use, sign_use
from imprimatur.device.job import UseSignature
from imprimatur.sealing.keys import new_key, public_key
from imprimatur.serials.entry import encrypt_serial
from imprimatur.serials.tag_key import TagKey, commitment_of

NO_ENTRY = bytes(32)
"""Encrypted serial where the owner has named no key that could read it."""


def sign_copy(
    signer: Signer,
    domain: Domain,
    id: int,
    file_hash: str,
    copy: int,
    deadline: int,
    serial: str,
    log_recipient: bytes | None,
    since: int,
) -> UseSignature:
    """The use of copy `copy`, signed by a device, with keys that were never used before.

    Args:
        file_hash: hexadecimal SHA-256 of the plain file.
        deadline: Unix second after which the chain takes it no more.
        log_recipient: the owner's public key for serials (32 bytes), if she has one.
        since: number of a block before which it can't have happened.

    Raises:
        SerialInvalid, PartInvalid, InvalidKey: a value can't stand in a use.
        SignerUnusable
    """
    job_key, tag_key = new_key(), TagKey.generate()
    if log_recipient is None:
        commitment, entry = commitment_of(id, copy, serial, tag_key.address), NO_ENTRY
    else:
        commitment, entry = encrypt_serial(serial, id, copy, tag_key.address, job_key, log_recipient)
    use = Use(id, file_hash, copy, public_key(job_key), entry, commitment, deadline)
    digest = typed_data_digest(domain, USE, use.values())
    return UseSignature(sign_use(signer, domain, use), "0x" + digest.hex(), job_key, tag_key, serial, since)
