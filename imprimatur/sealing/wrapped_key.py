"""A file key on its way to one print: encrypted with age v1 to the public key of the job."""

from imprimatur.sealing.age import (
    SealedFileDamaged,
    check_header,
    failure_of,
    identity,
    load_pyrage,
    recipient,
)
from imprimatur.sealing.keys import KEY_SIZE, InvalidKey, check_secret

MAX_WRAPPED_SIZE = 4096
"""Bytes. Wrapped keys have 200 to 500: age adds a line of random length."""


class WrappedKeyDamaged(SealedFileDamaged):
    """This isn't a wrapped file key, or not as it was wrapped."""


def wrap_key(file_key: bytes, recipient_key: bytes) -> bytes:
    """`file_key` (32 bytes) as an age file for the job whose public key is `recipient_key` (32 bytes).

    Raises:
        InvalidKey: wrong size, or a public key that protects nothing.
    """
    return bytes(load_pyrage().encrypt(check_secret(file_key), [recipient(recipient_key)]))


def unwrap_key(wrapped: bytes, job_key: bytes) -> bytes:
    """The file key (32 bytes) that `wrapped` holds for the secret `job_key` (32 bytes).

    age doesn't say who wrapped it: compare `key_commitment` of the result with the manifest's.

    Raises:
        InvalidKey: `job_key` isn't 32 bytes.
        NotForThisKey: wrapped for another job, or damaged where that shows.
        WrappedKeyDamaged: changed, cut, prolonged, or not a file key.
    """
    key = identity(job_key)
    if len(wrapped) > MAX_WRAPPED_SIZE:
        raise WrappedKeyDamaged("This is too long for a wrapped file key. Ask the key desk again.")
    try:
        check_header(wrapped)
        file_key = bytes(load_pyrage().decrypt(wrapped, [key]))
        return check_secret(file_key)
    except (SealedFileDamaged, InvalidKey) as error:
        raise WrappedKeyDamaged(
            f"This isn't a wrapped file key of {KEY_SIZE} bytes. Ask the key desk again."
        ) from error
    except load_pyrage().DecryptError as error:
        failure = failure_of(error)
        if isinstance(failure, SealedFileDamaged):
            raise WrappedKeyDamaged("The wrapped file key is damaged. Ask the key desk again.") from error
        raise failure from error
