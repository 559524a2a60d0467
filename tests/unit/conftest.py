"""One real chain node for the tests of the chain modules, and keystores that cost nothing to open."""

import pytest

from support.keystores import cheap_keystores
from support.node import running_chain

__all__ = ["cheap_keystores"]


@pytest.fixture(scope="session")
def chain():
    with running_chain() as chain:
        yield chain
