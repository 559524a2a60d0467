"""One real chain node for the tests of the chain modules, and keystores that cost nothing to open."""

from collections.abc import Iterator

import eth_keyfile.keyfile
import pytest

from support.node import running_chain


@pytest.fixture(scope="session")
def chain():
    with running_chain() as chain:
        yield chain


@pytest.fixture(scope="session", autouse=True)
def cheap_keystores() -> Iterator[None]:
    """eth_keyfile makes a password cost a second of scrypt; what is tested here is what happens around it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eth_keyfile.keyfile, "get_default_work_factor_for_kdf", lambda _kdf: 2)
        yield
