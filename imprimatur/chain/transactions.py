"""Making, signing and following EIP-1559 transactions.

A signed transaction is bytes that can be sent any number of times and happen at most once (its nonce).
Callers store the bytes before the first broadcast: then a crash can't double what it did.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

from imprimatur.chain.contract import revert_of
from imprimatur.chain.rpc import NodeRefused, Rpc, quantity
from imprimatur.chain.signers import Signer
from imprimatur.errors import ImprimaturError

GAS_MARGIN = 1.25
"""Gas limit over the node's estimate: state may differ a little when the transaction is mined."""
MIN_TIP = 1_000_000
"""Wei per gas, when the node suggests nothing."""
_KNOWN_ALREADY = re.compile(
    r"\b(already known|alreadyknown|already imported|known transaction|nonce too low)\b", re.IGNORECASE
)
"""As geth, Nethermind, anvil, Besu, and all say it; not "unknown transaction type"."""


class TransactionPending(ImprimaturError):
    """Not mined yet; nothing is known about its outcome."""


class NotEnoughFunds(ImprimaturError):
    """The sender can't pay the gas."""


class NoBaseFee(ImprimaturError):
    """The chain doesn't have EIP-1559."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to send, and the hash they will have on the chain."""

    raw: bytes
    hash: str
    sender: str
    nonce: int


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas: at most `max_fee` in all, and of it at most `tip` for who makes the block (EIP-1559)."""

    max_fee: int
    tip: int


def next_nonce(rpc: Rpc, sender: str) -> int:
    """The sender's next nonce, pending transactions included."""
    return quantity(rpc.call("eth_getTransactionCount", [sender, "pending"]))


def suggest_fees(rpc: Rpc) -> Fees:
    """Fees with which a transaction sent now stays valid for six full blocks in a row.

    Raises:
        NodeUnreachable, NodeRefused
        NoBaseFee: the chain is older than EIP-1559.
    """
    block, tip = rpc.batch([("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])])
    if isinstance(block, NodeRefused):
        raise block
    return fees_from(block, tip)


def fees_from(block: dict[str, Any] | None, tip: str | NodeRefused) -> Fees:
    """The fees that the newest block and a node's answer about tips suggest.

    Raises:
        NoBaseFee: the chain is older than EIP-1559.
    """
    if not block or "baseFeePerGas" not in block:
        raise NoBaseFee("This chain has no base fee (EIP-1559), which every transaction here relies on.")
    # Not every node has an opinion about tips.
    wei = MIN_TIP if isinstance(tip, NodeRefused) else max(MIN_TIP, quantity(tip))
    # A full block raises the base fee by an eighth; six of them double it.
    return Fees(2 * quantity(block["baseFeePerGas"]) + wei, wei)


def estimate_gas(rpc: Rpc, call: dict[str, Any]) -> int:
    """Gas limit for a call (`from`, `to`, `data` and so on, as JSON-RPC has them), `GAS_MARGIN` included.

    Raises:
        ContractReverted: the contract would refuse; with its error and values.
        NotEnoughFunds: the node says that the sender can't pay.
        NodeUnreachable, NodeRefused
    """
    try:
        return gas_from(rpc.call("eth_estimateGas", [call]), call)
    except NodeRefused as error:
        return gas_from(error, call)


def gas_from(answer: str | NodeRefused, call: dict[str, Any]) -> int:
    """The gas limit behind a node's estimate, or its refusal; as `estimate_gas`."""
    if not isinstance(answer, NodeRefused):
        return int(quantity(answer) * GAS_MARGIN)
    if reverted := revert_of(answer):
        raise reverted from answer
    if "insufficient funds" in answer.message.lower():
        raise NotEnoughFunds(f"{call.get('from')} can't pay this. Send it some ether.") from answer
    raise answer


def build(
    chain_id: int, nonce: int, to: str, data: str, gas: int, fees: Fees, value: int = 0
) -> dict[str, Any]:
    """An EIP-1559 transaction for `Signer.sign_transaction`. `value` in wei, `data` as 0x… text."""
    from eth_utils.address import to_checksum_address

    return {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "to": to_checksum_address(to),
        "value": value,
        "data": data,
        "gas": gas,
        "maxFeePerGas": fees.max_fee,
        "maxPriorityFeePerGas": fees.tip,
    }


def sign(rpc: Rpc, signer: Signer, to: str, data: str, nonce: int | None = None) -> SignedTransaction:
    """Simulate a call and sign the transaction that does it. Nothing is sent.

    Raises:
        ContractReverted: the contract would refuse; with its error and values.
        NotEnoughFunds: the account can't pay the gas.
    """
    gas = estimate_gas(rpc, {"from": signer.address, "to": to, "data": data})
    fees = suggest_fees(rpc)
    balance = quantity(rpc.call("eth_getBalance", [signer.address, "latest"]))
    if balance < gas * fees.max_fee:
        raise NotEnoughFunds(
            f"{signer.address} holds {balance} wei; this transaction may need {gas * fees.max_fee}. "
            "Send it some ether."
        )
    chain_id = quantity(rpc.call("eth_chainId", []))
    nonce = next_nonce(rpc, signer.address) if nonce is None else nonce
    raw, hash = signer.sign_transaction(build(chain_id, nonce, to, data, gas, fees))
    return SignedTransaction(raw, hash, signer.address, nonce)


def is_known_already(message: str) -> bool:
    """Whether a node's refusal of signed bytes says that it has them, or had them: look at the receipt."""
    return _KNOWN_ALREADY.search(message) is not None


def broadcast(rpc: Rpc, raw: bytes) -> None:
    """Hand signed bytes to the node. A node that has them already is no error: look at the receipt.

    Raises:
        NodeUnreachable: unknown whether it arrived; send the same bytes again.
        NodeRefused: the node gives another reason, such as missing funds.
    """
    try:
        rpc.call("eth_sendRawTransaction", ["0x" + raw.hex()])
    except NodeRefused as error:
        if not is_known_already(error.message):
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
