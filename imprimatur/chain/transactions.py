"""Making, signing and following EIP-1559 transactions.

A signed transaction is bytes that can be sent any number of times and happen at most once (its nonce).
Callers store the bytes before the first broadcast: then a crash can't double what it did.
"""

import time
from dataclasses import dataclass
from typing import Any

from imprimatur.chain.contract import revert_of
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError

GAS_MARGIN = 1.25
"""Gas limit over the node's estimate: state may differ a little when the transaction is mined."""
MIN_TIP = 1_000_000
"""Wei per gas, when the node suggests nothing."""


class TransactionPending(ImprimaturError):
    """Not mined yet; nothing is known about its outcome."""


class NotEnoughFunds(ImprimaturError):
    """The sender can't pay the gas."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to send, and the hash they will have on the chain."""

    raw: bytes
    hash: str
    sender: str
    nonce: int


def next_nonce(rpc: Rpc, sender: str) -> int:
    """The sender's next nonce, pending transactions included."""
    return int(rpc.call("eth_getTransactionCount", [sender, "pending"]), 16)


def sign(rpc: Rpc, signer: Signer, to: str, data: str, nonce: int | None = None) -> SignedTransaction:
    """Simulate a call and sign the transaction that does it. Nothing is sent.

    Raises:
        ContractReverted: the contract would refuse; with its error and values.
        NotEnoughFunds: the account can't pay the gas.
    """
    from eth_utils.address import to_checksum_address

    call = {"from": signer.address, "to": to, "data": data}
    try:
        gas = int(rpc.call("eth_estimateGas", [call]), 16)
    except NodeRefused as error:
        raise revert_of(error) or error from error
    base_fee = int(rpc.call("eth_getBlockByNumber", ["latest", False])["baseFeePerGas"], 16)
    tip = max(MIN_TIP, int(rpc.call("eth_maxPriorityFeePerGas", []), 16))
    limit = int(gas * GAS_MARGIN)
    # Twice the base fee stays valid for six full blocks in a row.
    fee = 2 * base_fee + tip
    balance = int(rpc.call("eth_getBalance", [signer.address, "latest"]), 16)
    if balance < limit * fee:
        raise NotEnoughFunds(
            f"{signer.address} holds {balance} wei; this transaction may need {limit * fee}. "
            "Send it some ether."
        )
    transaction: dict[str, Any] = {
        "type": 2,
        "chainId": int(rpc.call("eth_chainId", []), 16),
        "nonce": next_nonce(rpc, signer.address) if nonce is None else nonce,
        "to": to_checksum_address(to),
        "value": 0,
        "data": data,
        "gas": limit,
        "maxFeePerGas": fee,
        "maxPriorityFeePerGas": tip,
    }
    raw, hash = signer.sign_transaction(transaction)
    return SignedTransaction(raw, hash, signer.address, transaction["nonce"])


def broadcast(rpc: Rpc, raw: bytes) -> None:
    """Hand signed bytes to the node. A node that has them already is no error: look at the receipt.

    Raises:
        NodeUnreachable: unknown whether it arrived; send the same bytes again.
        NodeRefused: the node gives another reason, such as missing funds.
    """
    try:
        rpc.call("eth_sendRawTransaction", ["0x" + raw.hex()])
    except NodeRefused as error:
        text = error.message.lower()
        if not any(known in text for known in ("already known", "already imported", "nonce too low")):
            raise


def receipt(rpc: Rpc, hash: str) -> dict[str, Any] | None:
    """The receipt of a mined transaction, or None."""
    found: dict[str, Any] | None = rpc.call("eth_getTransactionReceipt", [hash])
    return found


def wait_for_receipt(rpc: Rpc, hash: str, timeout: float = 60.0, poll: float = 0.2) -> dict[str, Any]:
    """The receipt, waiting up to `timeout` seconds.

    Raises:
        TransactionPending: not mined in time.
    """
    deadline = time.monotonic() + timeout
    while (found := receipt(rpc, hash)) is None:
        if time.monotonic() > deadline:
            raise TransactionPending(f"The transaction {hash} wasn't mined within {timeout:.0f} s.")
        time.sleep(poll)
    return found
