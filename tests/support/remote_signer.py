"""A small server with the signing part of Web3Signer's API, eth1 mode. It can be told to lie."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_utils.crypto import keccak

NOT_UNLOCKED = {"code": -32000, "message": "No unlocked account matches the Sender"}
INVALID_PARAMS = {"code": -32602, "message": "Invalid params"}


class SigningServer(ThreadingHTTPServer):
    """Signs with one key.

    `lie` gets the honest answer's text (0x…) and returns another; `respond` replaces the whole exchange.
    """

    daemon_threads = True

    def __init__(self, key: bytes, chain_id: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.account = Account.from_key(key)
        self.public_key: bytes = self.account._key_obj.public_key.to_bytes()
        self.chain_id = chain_id
        self.lie: Callable[[str], Any] = lambda honest: honest
        self.respond: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.asked: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up are part of the tests."""

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        """The outcome of a JSON-RPC call."""
        if method == "eth_accounts":
            return {"result": self.lie([self.account.address.lower()])}  # type: ignore[arg-type]
        address = params[0]["from"] if method == "eth_signTransaction" else params[0]
        if address.lower() != self.account.address.lower():
            return {"error": NOT_UNLOCKED}
        if method == "eth_sign":
            signable = encode_defunct(hexstr=params[1])
            return {"result": self.lie("0x" + self.account.sign_message(signable).signature.hex())}
        if method == "eth_signTypedData":
            signable = encode_typed_data(full_message=json.loads(params[1]))
            return {"result": self.lie("0x" + self.account.sign_message(signable).signature.hex())}
        if method == "eth_signTransaction":
            return {"result": self.lie(self._transaction(params[0]))}
        return {"error": {"code": -32601, "message": "Method not found"}}

    def _transaction(self, asked: dict[str, str]) -> str:
        numbers = ("nonce", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
        # The chain is the server's own setting; what the caller says of it is ignored.
        transaction = {name: int(asked[name], 16) for name in numbers} | {
            "type": 2,
            "chainId": self.chain_id,
            "to": asked["to"],
            "data": asked["data"],
        }
        return "0x" + self.account.sign_transaction(transaction).raw_transaction.hex()


class _Handler(BaseHTTPRequestHandler):
    server: SigningServer
    protocol_version = "HTTP/1.1"
    # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        if self.server.respond is not None:
            self.server.respond(self)
        elif self.path == "/":
            outcome = self.server.answer(body["method"], body["params"])
            content = json.dumps({"jsonrpc": "2.0", "id": body["id"], **outcome}).encode()
            self.reply(400 if "error" in outcome else 200, content)
        elif self.path.lower() == f"/api/v1/eth1/sign/0x{self.server.public_key.hex()}":
            digest = keccak(hexstr=body["data"])
            signature = self.server.account.unsafe_sign_hash(digest).signature
            self.reply(200, str(self.server.lie("0x" + signature.hex())).encode())
        else:
            self.reply(404, b"Not found")

    def do_GET(self) -> None:
        if self.server.respond is not None:
            self.server.respond(self)
        else:
            up = self.path == "/upcheck"
            self.reply(200 if up else 404, b"OK" if up else b"Not found")

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@contextmanager
def signing_server(key: bytes, chain_id: int) -> Iterator[SigningServer]:
    """A running server; it stops at the end."""
    server = SigningServer(key, chain_id)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
