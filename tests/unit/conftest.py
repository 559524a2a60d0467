"""One real chain node for the tests of the chain modules."""

import pytest

from support.node import running_chain


@pytest.fixture(scope="session")
def chain():
    with running_chain() as chain:
        yield chain
