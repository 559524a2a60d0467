"""A key behind a signing server: Web3Signer's published API, as of its version 26.4.2.

Nothing that the server says is believed. What it returns must be, in every byte, what was asked for, signed
by the address that was meant; otherwise it is thrown away.
"""

import json
import time
from typing import Any

from imprimatur.chain.http import Answer, HttpPeer, NoAnswer
from imprimatur.chain.keccak import keccak256
from imprimatur.chain.rpc import CONNECT_TIMEOUT, HttpRpc, NodeBusy, NodeRefused, NodeUnreachable
from imprimatur.chain.signers.assembled import AssemblingSigner
from imprimatur.chain.signers.payloads import (
    NotOurSignature,
    Signature,
    address_of,
    check,
    message_payload,
    signature_in,
    signed_transaction,
    transaction_payload,
)
from imprimatur.chain.signers.protocol import SignerUnusable, Types
from imprimatur.chain.signers.typed_payload import typed_data_payload

TIMEOUT = 20.0
"""Seconds; a server may ask an HSM or a vault in turn."""
LARGEST_ANSWER = 1 << 20
"""Bytes."""


class RemoteSignerUnreachable(SignerUnusable):
    """The server gave no usable answer. It may be asked again: signing changes nothing."""


class RemoteSignerRefused(SignerUnusable):
    """The server answered that it doesn't sign this."""


class RemoteSigner:
    """Signs by the server's JSON-RPC: `eth_signTransaction`, `eth_sign`, `eth_signTypedData`.

    Args:
        url: of the server; may hold credentials, which then stand in no error and no log of this class.
        address: of the account that signs. The server isn't asked: it could name another.
        timeout: seconds for one signature.
    """

    def __init__(self, url: str, address: str, timeout: float = TIMEOUT) -> None:
        from eth_utils.address import to_checksum_address

        self._address = str(to_checksum_address(address))
        self._peer = HttpPeer(url, CONNECT_TIMEOUT, timeout, LARGEST_ANSWER)
        self._rpc = HttpRpc(url, timeout, deadline=timeout, retries=0, largest_answer=LARGEST_ANSWER)

    @property
    def address(self) -> str:
        return self._address

    def accounts(self) -> list[str]:
        """Checksum addresses that the server says it signs for (`eth_accounts`)."""
        from eth_utils.address import to_checksum_address

        try:
            return [str(to_checksum_address(account)) for account in self._call("eth_accounts", [])]
        except (TypeError, ValueError) as error:
            raise self._unreachable("its list of accounts can't be read") from error

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        asked = {
            "from": self._address,
            "to": transaction["to"],
            "data": transaction["data"],
            **{
                name: hex(transaction[name])
                for name in ("nonce", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas", "chainId")
            },
        }
        raw = self._bytes(self._call("eth_signTransaction", [asked]))
        signature = signature_in(raw, transaction)
        check(keccak256(transaction_payload(transaction)), signature, self._address)
        return signed_transaction(transaction, signature)

    def sign_message(self, message: bytes) -> str:
        answer = self._call("eth_sign", [self._address, "0x" + message.hex()])
        return self._checked(message_payload(message), answer)

    def sign_typed_data(self, domain: dict[str, Any], types: Types, message: dict[str, Any]) -> str:
        payload = typed_data_payload(domain, types, message)
        answer = self._call("eth_signTypedData", [self._address, typed_data_json(domain, types, message)])
        return self._checked(payload, answer)

    def _checked(self, payload: bytes, answer: Any) -> str:
        return check(keccak256(payload), _signature(self._bytes(answer)), self._address).hex

    def _call(self, method: str, params: list[Any]) -> Any:
        try:
            return self._rpc.call(method, params)
        except NodeUnreachable as error:
            # The client of JSON-RPC thinks that it talks to a node; only what it saw counts here.
            cause = error.__cause__
            if isinstance(cause, NoAnswer):
                why = str(cause)
            elif isinstance(error, NodeBusy):
                why = f"it is busy (HTTP {error.status})"
            else:
                why = "what it says isn't JSON-RPC"
            raise self._unreachable(why) from error
        except NodeRefused as error:
            raise RemoteSignerRefused(
                f"The remote signer at {self._peer.host} refused: {error.message[:300]} (code {error.code})."
            ) from error

    def _bytes(self, answer: Any) -> bytes:
        try:
            return bytes.fromhex(answer.removeprefix("0x"))
        except (AttributeError, ValueError) as error:
            raise self._unreachable("its answer isn't hexadecimal") from error

    def _unreachable(self, why: str) -> RemoteSignerUnreachable:
        return _unreachable(self._peer.host, why)

    def __repr__(self) -> str:
        return f"RemoteSigner({self.address})"


class RemoteKeySigner(AssemblingSigner):
    """Signs by the server's `/api/v1/eth1/sign/{public key}`, which signs the Keccak-256 of any bytes.

    What is signed is put together here, so the server needn't know the chain. It doesn't see either what it
    signs: rules on the server about transactions need `RemoteSigner`.

    Args:
        url: of the server, without the path.
        public_key: 64 bytes x and y.
        timeout: seconds for one signature.
    """

    def __init__(self, url: str, public_key: bytes, timeout: float = TIMEOUT) -> None:
        super().__init__(address_of(public_key))
        path = f"/api/v1/eth1/sign/0x{public_key[-64:].hex()}"
        self._peer = HttpPeer(url.rstrip("/") + path, CONNECT_TIMEOUT, timeout, LARGEST_ANSWER)
        self._timeout = timeout

    def _sign(self, payload: bytes) -> Signature:
        answer = self._post(json.dumps({"data": "0x" + payload.hex()}).encode())
        try:
            signature = bytes.fromhex(answer.content.decode("ascii").strip().removeprefix("0x"))
        except ValueError as error:
            raise _unreachable(self._peer.host, "its answer isn't hexadecimal") from error
        return check(keccak256(payload), _signature(signature), self.address)

    def _post(self, body: bytes) -> Answer:
        try:
            answer = self._peer.ask(body, time.monotonic() + self._timeout)
        except NoAnswer as error:
            raise _unreachable(self._peer.host, str(error)) from error
        if answer.status == 404:
            raise RemoteSignerRefused(f"The remote signer at {self._peer.host} has no key of {self.address}.")
        if 400 <= answer.status < 500 and answer.status != 429:
            raise RemoteSignerRefused(
                f"The remote signer at {self._peer.host} refused (HTTP {answer.status})."
            )
        if answer.status != 200:
            raise _unreachable(self._peer.host, f"HTTP {answer.status}")
        return answer


def is_up(url: str, timeout: float = TIMEOUT) -> bool:
    """Whether the server at `url` says that it runs (`/upcheck`). Its keys may be missing all the same."""
    peer = HttpPeer(url.rstrip("/") + "/upcheck", CONNECT_TIMEOUT, timeout, LARGEST_ANSWER)
    try:
        return peer.ask(None, time.monotonic() + timeout).status == 200
    except NoAnswer:
        return False


def typed_data_json(domain: dict[str, Any], types: Types, message: dict[str, Any]) -> str:
    """A message of EIP-712 as the JSON that `eth_signTypedData` takes; bytes are 0x-hexadecimal text.

    Numbers from 2^53 on are decimal text: they don't survive every JSON reader.
    """
    used = {field["type"].partition("[")[0] for fields in types.values() for field in fields}
    known = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    known |= {"salt": "bytes32"}
    described = [{"name": name, "type": kind} for name, kind in known.items() if name in domain]
    return json.dumps(
        {
            "types": {"EIP712Domain": described, **types},
            "primaryType": next(name for name in types if name not in used),
            "domain": _as_json(domain),
            "message": _as_json(message),
        }
    )


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if isinstance(value, int) and abs(value) >= 1 << 53 else value


def _signature(raw: bytes) -> Signature:
    """From 65 bytes r, s, v, with v 27 or 28, or 0 or 1."""
    if len(raw) != 65 or raw[64] not in (0, 1, 27, 28):
        raise NotOurSignature("The remote signer returned something that isn't a signature of 65 bytes.")
    return Signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), raw[64] % 27)


def _unreachable(host: str, why: str) -> RemoteSignerUnreachable:
    return RemoteSignerUnreachable(f"The remote signer at {host} gives no usable answer: {why.rstrip('.')}.")
