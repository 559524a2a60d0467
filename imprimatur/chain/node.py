"""What a node says about itself and about accounts."""

from imprimatur.chain.rpc import Rpc


def chain_id(rpc: Rpc) -> int:
    """Number of the chain that the node belongs to (EIP-155)."""
    return int(rpc.call("eth_chainId", []), 16)


def has_code(rpc: Rpc, address: str) -> bool:
    """Whether there is a contract at `address`."""
    return len(rpc.call("eth_getCode", [address, "latest"])) > len("0x")


def balance(rpc: Rpc, address: str) -> int:
    """What an account holds, in wei."""
    return int(rpc.call("eth_getBalance", [address, "latest"]), 16)


def mined_count(rpc: Rpc, sender: str) -> int:
    """How many transactions of `sender` have been mined: every nonce below it is taken."""
    return int(rpc.call("eth_getTransactionCount", [sender, "latest"]), 16)
