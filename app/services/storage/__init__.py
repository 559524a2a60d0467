"""Where sealed files are kept. One setting chooses: a folder, a bucket of an S3 server, or memory."""

from app.services.storage.interface import FileMissing, FileStore, NewFile, StorageFailed, StoredFile
from app.services.storage.opening import open_store

__all__ = ["FileMissing", "FileStore", "NewFile", "StorageFailed", "StoredFile", "open_store"]
