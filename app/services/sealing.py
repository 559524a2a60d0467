"""From a stream of plain bytes to a sealed file in the storage, in one pass and constant memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

from app.services.storage import FileStore
from imprimatur.sealing import seal, wrap_key


class Source(Protocol):
    """Plain bytes, once from start to end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none only at the end."""


@dataclass(frozen=True, slots=True)
class StoredSealed:
    """A sealed file in the storage. Hashes are hexadecimal SHA-256, sizes bytes.

    `wrapped_key` is the file key, encrypted to `wrapped_for`, the key desk's public key in hexadecimal:
    nobody else can open the file from now on, the portal included.
    """

    storage_key: str
    size: int
    sha256: str
    sealed_size: int
    sealed_sha256: str
    key_commitment: str
    wrapped_key: bytes = field(repr=False)
    wrapped_for: str


def seal_into(store: FileStore, recipient: bytes, source: Source) -> StoredSealed:
    """Encrypt what `source` gives to a fresh key, and that key to `recipient` (X25519, 32 bytes).

    The plain bytes and the key are in memory only, and nothing of either is left when this returns.

    Raises:
        Exception: whatever `source` or the storage raised; nothing is kept then.
    """
    with store.new() as target:
        sealed = seal(cast(BinaryIO, source), cast(BinaryIO, target))
        wrapped = wrap_key(sealed.file_key, recipient)
    return StoredSealed(
        storage_key=target.key,
        size=sealed.size,
        sha256=sealed.sha256,
        sealed_size=sealed.sealed_size,
        sealed_sha256=sealed.sealed_sha256,
        key_commitment=sealed.key_commitment,
        wrapped_key=wrapped,
        wrapped_for=recipient.hex(),
    )


class ChunkSource:
    """Chunks of any size as a `Source`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        taken, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return taken
