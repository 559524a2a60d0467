"""Files that only one job can open: age v1, sealed and opened in constant memory.

`seal` encrypts a file to a fresh *file key*, `open_sealed` gives the plain bytes back as a stream,
`wrap_key` and `unwrap_key` carry the file key to the *job key* of one print.
"""

from imprimatur.sealing.age import NotForThisKey, SealedFileDamaged, SealedFileUnusable
from imprimatur.sealing.keys import (
    KEY_SIZE,
    InvalidKey,
    identity_text,
    key_commitment,
    new_key,
    public_key,
    public_key_from_text,
    recipient_text,
    secret_from_text,
)
from imprimatur.sealing.plain_stream import PlainStream, open_sealed
from imprimatur.sealing.sealed_file import SealedFile, seal
from imprimatur.sealing.wrapped_key import WrappedKeyDamaged, unwrap_key, wrap_key

__all__ = [
    "KEY_SIZE",
    "InvalidKey",
    "NotForThisKey",
    "PlainStream",
    "SealedFile",
    "SealedFileDamaged",
    "SealedFileUnusable",
    "WrappedKeyDamaged",
    "identity_text",
    "key_commitment",
    "new_key",
    "open_sealed",
    "public_key",
    "public_key_from_text",
    "recipient_text",
    "seal",
    "secret_from_text",
    "unwrap_key",
    "wrap_key",
]
