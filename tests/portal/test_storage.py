"""The storage behind one URL: a folder, an S3 server, memory. All keep the same promises."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from portal.stage import DESK_SECRET

from app.services import sealing
from app.services.storage import FileMissing, FileStore, StorageFailed, objects, open_store
from app.services.storage.local import LocalFiles
from app.services.storage.objects import ObjectFiles
from app.settings import SettingInvalid
from imprimatur.sealing import open_sealed, public_key, unwrap_key
from support.node import ROOT
from support.s3 import S3, running_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with running_s3() as server:
        server.make_bucket("parts")
        yield server


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    """An empty storage of each kind. Pieces are small, so that small files have several."""
    monkeypatch.setattr(objects, "PIECE_SIZE", 1000)
    if request.param == "file":
        return open_store((tmp_path / "files").as_uri())
    if request.param == "memory":
        return open_store("memory:///")
    server: S3 = request.getfixturevalue("s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://parts/{os.urandom(8).hex()}/sealed")


def put(store: FileStore, data: bytes, chunk: int = 700) -> str:
    with store.new() as file:
        for start in range(0, len(data), chunk):
            assert file.write(data[start : start + chunk]) == len(data[start : start + chunk])
        file.flush()
    return file.key


def everything_in(store: FileStore) -> list[str]:
    if isinstance(store, LocalFiles):
        return sorted(str(path) for path in store._folder.rglob("*"))
    assert isinstance(store, ObjectFiles)
    return sorted(found["path"] for some in obstore.list(store._store) for found in some)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3000, 4321])
def test_what_was_written_is_read(store: FileStore, size: int) -> None:
    data = os.urandom(size)
    file = store.open(put(store, data))
    assert file.size == size
    assert b"".join(file.read()) == data
    assert b"".join(file.read(size // 3, size // 2)) == data[size // 3 : size // 2]
    assert b"".join(file.read(size)) == b""
    assert b"".join(file.read(size + 5, size + 9)) == b""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.binary(max_size=3500),
    chunk=st.integers(1, 2500),
    start=st.integers(0, 4000),
    stop=st.integers(0, 4000),
)
def test_any_range_of_any_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes, chunk: int, start: int, stop: int
) -> None:
    monkeypatch.setattr(objects, "PIECE_SIZE", 1000)
    for store in (open_store("memory:///"), open_store((tmp_path / "files").as_uri())):
        file = store.open(put(store, data, chunk))
        assert b"".join(file.read(start, stop)) == data[start:stop]
        assert b"".join(file.read(start)) == data[start:]


def test_chunks_are_bounded(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PIECE_SIZE", 3 << 20)
    data = os.urandom(4 << 20)
    chunks = list(store.open(put(store, data, 1 << 19)).read())
    assert b"".join(chunks) == data
    assert max(len(chunk) for chunk in chunks) <= 1 << 20


def test_a_failed_writer_leaves_nothing(store: FileStore) -> None:
    kept = put(store, b"kept")
    before = everything_in(store)
    keys = []

    def fail() -> None:
        with store.new() as file:
            keys.append(file.key)
            file.write(bytes(5000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert everything_in(store) == before
    with pytest.raises(FileMissing):
        store.open(keys[0])
    assert store.open(kept).size == 4


def test_nobody_sees_half_a_file(store: FileStore) -> None:
    with store.new() as file:
        file.write(bytes(5000))
        with pytest.raises(FileMissing):
            store.open(file.key)
    assert store.open(file.key).size == 5000


def test_deleting(store: FileStore) -> None:
    key = put(store, bytes(5000))
    opened = store.open(key)
    store.delete(key)
    store.delete(key)
    assert [name for name in everything_in(store) if key in name] == []
    with pytest.raises(FileMissing, match=key):
        store.open(key)
    with pytest.raises(FileMissing):
        list(opened.read())


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "/"])
def test_what_is_no_key(store: FileStore, key: str) -> None:
    with pytest.raises(ValueError, match="isn't a storage key"):
        store.open(key)
    with pytest.raises(ValueError, match="isn't a storage key"):
        store.delete(key)


KILLED = """
import os, sys
from app.services.storage import objects, open_store
objects.PIECE_SIZE = 1000
store = open_store(sys.argv[1])
with store.new() as file:
    for _ in range(5):
        file.write(os.urandom(2 << 20 if sys.argv[1].startswith("file") else 1000))
    print(file.key, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_sweeping_takes_only_what_died(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A writer is killed with -9; what it left is found by the next sweep and nothing else is touched."""
    url = (tmp_path / "files").as_uri()
    if kind == "s3":
        server: S3 = request.getfixturevalue("s3")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://parts/{os.urandom(8).hex()}"
    store = open_store(url)
    kept = put(store, b"kept")
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    key = writer.stdout.readline().decode().strip()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    torn = everything_in(store)
    assert any(key in name for name in torn)
    assert store.sweep() == 0  # it could still be alive
    # A piece that the server had already may still arrive.
    assert set(torn) <= set(everything_in(store))
    if kind == "s3":
        time.sleep(1.1)  # It counts in seconds.
    assert store.sweep(older_than_s=0) == 1
    assert [name for name in everything_in(store) if key in name] == []
    assert b"".join(store.open(kept).read()) == b"kept"


def test_sweeping_nothing(store: FileStore) -> None:
    assert store.sweep(older_than_s=0) == 0


def test_a_short_piece_is_noticed() -> None:
    """Somebody else cut it."""
    store = open_store("memory:///")
    assert isinstance(store, ObjectFiles)
    key = put(store, bytes(5000))
    obstore.put(store._store, f"{key}/00000000", bytes(4999))
    with pytest.raises(StorageFailed, match="is short"):
        list(store.open(key).read())


def test_a_server_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://parts")
    monkeypatch.setattr(
        store,
        "_store",
        obstore.store.S3Store("parts", retry_config={"max_retries": 0}, client_options={"allow_http": True}),
    )
    for action in (
        lambda: put(store, b"x"),
        lambda: store.open("0" * 32),
        lambda: store.delete("0" * 32),
        store.sweep,
    ):
        with pytest.raises(StorageFailed, match=r"^The storage failed: ") as failure:
            action()
        assert "\n" not in str(failure.value)


def test_a_bucket_that_isnt_there(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageFailed, match="404"):
        put(open_store("s3://nowhere"), b"x")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/files",
        "files",
        "file://host/srv",
        "file:",
        "ftp://x/y",
        "s3:///prefix",
        "s3://",
        "memory://name",
        "memory:///x",
        "s3://a:b@bucket",
        "s3://bucket?x=1",
        "file:///x#y",
    ],
)
def test_unknown_storages_are_named(url: str) -> None:
    with pytest.raises(SettingInvalid, match="IMPRIMATUR_STORAGE_URL"):
        open_store(url)


def test_a_folder_with_a_space(tmp_path: Path) -> None:
    store = open_store((tmp_path / "a b ü").as_uri())
    key = put(store, b"x")
    assert (tmp_path / "a b ü" / key).stat().st_mode & 0o077 == 0
    assert (tmp_path / "a b ü").stat().st_mode & 0o077 == 0


class Pieces:
    """A source of a given length that hands out what it likes."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)

    def read(self, size: int, /) -> bytes:
        taken, self.data = bytes(self.data[: min(size, 12_345)]), self.data[min(size, 12_345) :]
        return taken


def test_sealing_into_each(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PIECE_SIZE", 50_000)
    data = os.urandom(300_000)
    sealed = sealing.seal_into(store, public_key(DESK_SECRET), Pieces(data))
    stored: Any = store.open(sealed.storage_key)
    assert stored.size == sealed.sealed_size
    key = unwrap_key(sealed.wrapped_key, DESK_SECRET)
    with open_sealed(sealing.ChunkSource(stored.read()), key, hashing=True) as plain:  # type: ignore[arg-type]
        assert plain.readall() == data
        assert plain.digest == sealed.sha256
    assert key.hex() not in repr(sealed)
