"""eth-account without its side effect.

One of its dependencies raises Python's recursion limit to 100,000 when it is imported. From then on a few
hundred kilobytes of opening brackets overflow the stack of whoever parses them as JSON, and end the process.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kept_recursion_limit() -> Iterator[None]:
    """Around the first import of eth-account or web3: the recursion limit stays what it was."""
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def load_account() -> Any:
    """The class `eth_account.Account`."""
    with kept_recursion_limit():
        from eth_account import Account
    return Account
