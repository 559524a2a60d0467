"""From a storage's URL to the storage."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from app.services.storage.interface import FileStore
from app.services.storage.local import LocalFiles
from app.services.storage.objects import ObjectFiles
from app.settings import SettingInvalid

PATIENCE = timedelta(seconds=30)
"""How long a request that fails is repeated: somebody waits for its outcome."""
_FORMS = "use file:///folder, s3://bucket/prefix or memory:///"


_SETTING = "IMPRIMATUR_STORAGE_URL"


def open_store(url: str) -> FileStore:
    """The storage at a URL: `file:///folder`, `s3://bucket/prefix` or `memory:///`. Asks no server.

    S3's clients agree on how they are told the rest: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    `AWS_REGION`, and `AWS_ENDPOINT_URL` for a server that isn't Amazon's. `memory:///` lives as long as this
    process, for tests.

    Raises:
        SettingInvalid: another scheme, or a part of the URL is missing or too much.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise SettingInvalid(_SETTING, f"{url!r} says more than a place; {_FORMS}")
    match parts.scheme:
        case "file" if parts.netloc in ("", "localhost") and parts.path.startswith("/"):
            return LocalFiles(Path(url2pathname(parts.path)))
        case "s3" if parts.netloc:
            return ObjectFiles(_bucket(parts.netloc, unquote(parts.path).strip("/")))
        case "memory" if not parts.netloc and parts.path in ("", "/"):
            from obstore.store import MemoryStore

            return ObjectFiles(MemoryStore())
    raise SettingInvalid(_SETTING, f"{url!r} isn't a storage; {_FORMS}")


def _bucket(name: str, prefix: str) -> Any:
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    try:
        return S3Store(
            name,
            prefix=prefix or None,
            client_options={
                "allow_http": plain,
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={"max_retries": 6, "retry_timeout": PATIENCE},
        )
    except BaseError as error:
        raise SettingInvalid(_SETTING, f"the bucket {name} can't be used: {error}") from error
