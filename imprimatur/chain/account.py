"""eth-account without its side effect.

One of its dependencies raises Python's recursion limit to 100,000 when it is imported. From then on a few
hundred kilobytes of opening brackets overflow the stack of whoever parses them as JSON, and end the process.
"""

import sys
from typing import Any


def load_account() -> Any:
    """The class `eth_account.Account`, with the recursion limit as it was before."""
    limit = sys.getrecursionlimit()
    from eth_account import Account

    sys.setrecursionlimit(limit)
    return Account
