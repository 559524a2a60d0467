"""What a node says about itself and about accounts.

Every function raises `NodeUnreachable` also when the answer isn't what the method answers.
"""

from imprimatur.chain.rpc import NodeUnreachable, Rpc, quantity


def chain_id(rpc: Rpc) -> int:
    """Number of the chain that the node belongs to (EIP-155)."""
    return quantity(rpc.call("eth_chainId", []))


def has_code(rpc: Rpc, address: str) -> bool:
    """Whether there is a contract at `address`."""
    code = rpc.call("eth_getCode", [address, "latest"])
    if not isinstance(code, str) or not code.startswith("0x"):
        raise NodeUnreachable("The chain node's answer isn't a contract's code.")
    return len(code) > len("0x")


def balance(rpc: Rpc, address: str) -> int:
    """What an account holds, in wei."""
    return quantity(rpc.call("eth_getBalance", [address, "latest"]))


def mined_count(rpc: Rpc, sender: str) -> int:
    """How many transactions of `sender` have been mined: every nonce below it is taken."""
    return quantity(rpc.call("eth_getTransactionCount", [sender, "latest"]))
