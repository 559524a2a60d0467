"""Keystores that cost nothing to open."""

from collections.abc import Iterator

import eth_keyfile.keyfile
import pytest


@pytest.fixture(scope="session", autouse=True)
def cheap_keystores() -> Iterator[None]:
    """eth_keyfile makes a password cost a second of scrypt; what is tested here is what happens around it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eth_keyfile.keyfile, "get_default_work_factor_for_kdf", lambda _kdf: 2)
        yield
