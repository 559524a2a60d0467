"""A node before a real one that gives the logs of so many blocks at once, and says so as other nodes do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

GETH = (-32005, "query returned more than 10000 results")
"""Code and message of the usual refusal."""


@dataclass
class Limits:
    """What the node refuses, and what it was asked.

    Attributes:
        blocks: of one question for logs; 0: it refuses each of them.
        refusal: code and message.
        data: of the refusal.
        status: of HTTP, when it refuses.
        whole: refuse a batch as a whole, with one answer, where one of its questions is refused.
        ranges: first and last block of each question for logs.
        requests: how many requests came.
    """

    blocks: int
    refusal: tuple[int, str] = GETH
    data: Any = None
    status: int = 200
    whole: bool = False
    ranges: list[tuple[int, int]] = field(default_factory=list)
    requests: int = 0


@contextmanager
def limited_node(url: str, limits: Limits) -> Iterator[str]:
    """URL of a node with these limits before the node at `url`."""

    def ask(question: Any) -> Any:
        return requests.post(url, json=question, timeout=30).json()

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        query = question["params"][0] if question["method"] == "eth_getLogs" else {}
        if "fromBlock" in query:
            first, last = (_number(query[name], ask) for name in ("fromBlock", "toBlock"))
            limits.ranges.append((first, last))
            if last - first + 1 > limits.blocks:
                code, message = limits.refusal
                error = {"code": code, "message": message, "data": limits.data}
                return {"jsonrpc": "2.0", "id": question["id"], "error": error}
        answered: dict[str, Any] = ask(question)
        return answered

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            limits.requests += 1
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            questions = asked if isinstance(asked, list) else [asked]
            answers = [answer(question) for question in questions]
            refused = next((one for one in answers if "error" in one), None)
            said: Any = answers if isinstance(asked, list) else answers[0]
            if refused and limits.whole and isinstance(asked, list):
                said = refused | {"id": None}
            body = json.dumps(said).encode()
            self.send_response(limits.status if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _number(block: str, ask: Any) -> int:
    if block == "latest":
        block = ask({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []})["result"]
    return int(block, 16)
