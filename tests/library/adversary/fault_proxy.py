"""An HTTP proxy before a real node: it spoils requests by a seed, and is strict as geth where anvil isn't.

anvil takes replacements that pay hardly more, and throws transactions away that the base fee outgrew or that
left the chain with their block. Here both fees must rise by a tenth, s must be low, and what geth would have
kept is kept and handed over again.
"""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Any, Self

from library.adversary.network import LIMIT_EXCEEDED, Weather
from library.adversary.signed import REFUSED, Signed, read, replaces

from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable

TICK = 0.03
"""Seconds between two looks at what has to be done later."""
OUTGROWN = ("max fee per gas less than block base fee", "underpriced")
"""How anvil refuses what geth would keep until the base fee falls."""

Entry = dict[str, Any]


class Unanswered(Exception):
    """The connection ends without an answer."""


class Strict:
    """The pool that anvil should have: what was let in, by sender and nonce, newest last."""

    def __init__(self, node: HttpRpc) -> None:
        self._node = node
        self._lock = threading.RLock()
        self._kept: dict[tuple[str, int], list[Signed]] = {}
        self.returned = 0
        """How often something was handed over again."""

    def _mined(self, sender: str) -> int:
        return int(self._node.call("eth_getTransactionCount", [sender, "latest"]), 16)

    def send(self, raw: str) -> str:
        """Let a transaction in and pass it on; its hash.

        Raises:
            NodeRefused: by these rules, or by anvil.
        """
        transaction = read(bytes.fromhex(raw.removeprefix("0x")))
        place = (transaction.sender, transaction.nonce)
        with self._lock:
            own = self._kept.get(place, [])
            if own and self._mined(transaction.sender) <= transaction.nonce:
                if own[-1].hash == transaction.hash:
                    raise NodeRefused(REFUSED, "already known")
                if not replaces(transaction, own[-1]):
                    raise NodeRefused(REFUSED, "replacement transaction underpriced")
            try:
                self._node.call("eth_sendRawTransaction", [raw])
            except NodeRefused as refused:
                if not any(words in refused.message.lower() for words in OUTGROWN):
                    raise
            self._kept.setdefault(place, []).append(transaction)
        return transaction.hash

    def restore(self) -> None:
        """Hand over again what anvil threw away, or what left the chain with its block."""
        with self._lock:
            mined = {sender: self._mined(sender) for sender in {sender for sender, _ in self._kept}}
            waiting = [
                own[-1] for (sender, nonce), own in sorted(self._kept.items()) if nonce >= mined[sender]
            ]
            for transaction in waiting:
                if self._node.call("eth_getTransactionByHash", [transaction.hash]) is None:
                    self._hand_over(transaction)

    def _hand_over(self, transaction: Signed) -> None:
        try:
            self._node.call("eth_sendRawTransaction", ["0x" + transaction.raw.hex()])
            self.returned += 1
        except NodeRefused:
            return  # Its fee is still too low, or a block took the nonce this moment.

    def forget(self) -> None:
        """As a node that restarts without a journal."""
        with self._lock:
            self._kept.clear()


class FaultProxy:
    """Serves on a free port of 127.0.0.1 until its `with` block ends.

    Args:
        target: URL of the real node.
        weather: its times are real seconds here; `lagging` has no meaning before a single node.
        stall: seconds that a stalled request takes.
        pool_kept: whether what anvil throws away comes back.
    """

    def __init__(
        self, target: str, seed: int, weather: Weather, stall: float = 1.0, pool_kept: bool = True
    ) -> None:
        self._target = target
        self._dice = Random(f"proxy {seed}")
        self._lock = threading.Lock()
        self._stall = stall
        self._later: list[tuple[float, str]] = []
        self._stopped = threading.Event()
        self._node = HttpRpc(target)
        self.weather = weather
        self.pool_kept = pool_kept
        self.pool = Strict(self._node)
        self.faults: Counter[str] = Counter()
        self.late = 0
        """How many doubled or delayed sendings were of no use any more."""
        self.errors: list[BaseException] = []
        """What went wrong in the proxy itself; must stay empty."""
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True),
            threading.Thread(target=self._tick, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()

    # --- later

    def _tick(self) -> None:
        while not self._stopped.wait(TICK):
            try:
                for raw in self._due():
                    self._quietly_send(raw)
                if self.pool_kept:
                    self.pool.restore()
            except NodeUnreachable:
                continue  # The node itself is being stopped, or busy: next time.
            except Exception as error:
                self.errors.append(error)

    def _due(self) -> list[str]:
        with self._lock:
            now = time.monotonic()
            due = [raw for moment, raw in self._later if moment <= now]
            self._later = [(moment, raw) for moment, raw in self._later if moment > now]
        return due

    def _quietly_send(self, raw: str) -> None:
        try:
            self.pool.send(raw)
        except NodeRefused:
            self.late += 1

    # --- requests

    def answer(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of the answer to a request.

        Raises:
            Unanswered: there is none.
        """
        request = json.loads(body)
        with self._lock:
            fault = next((n for n in ("refused", "lost", "stalled", "busy") if self._happens(n)), None)
            done, way = self._dice.random() < 0.5, self._dice.randrange(3)
        if fault == "busy":
            status, retry = ((429, {"Retry-After": "0"}), (503, {}), (429, {}))[way]
            return status, retry, b"slow down"
        if fault == "refused":
            if way:
                raise Unanswered
            return 500, {"Content-Type": "text/html"}, b"<h1>Internal Server Error</h1>"
        if fault != "stalled" or done:
            entries = request if isinstance(request, list) else [request]
            answers, unanswered = self._answers(entries)
        else:
            answers, unanswered = [], True
        if fault == "stalled":
            self._stopped.wait(self._stall)
        if fault is not None or unanswered:
            raise Unanswered
        content = answers if isinstance(request, list) else answers[0]
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def _answers(self, entries: list[Entry]) -> tuple[list[Entry], bool]:
        questions: list[Entry] = []
        answers: dict[int, Entry] = {}
        unanswered = False
        for place, entry in enumerate(entries):
            with self._lock:
                limited = self._happens("limited")
            if entry["method"] == "eth_sendRawTransaction":
                answers[place], lost = self._send(entry)
                unanswered = unanswered or lost
            elif limited:
                refused = NodeRefused(LIMIT_EXCEEDED, "daily request count exceeded, request rate limited")
                answers[place] = _refusal(entry, refused)
            else:
                questions.append(entry | {"id": place})
        if questions:
            for answer in self._forward(questions):
                answers[answer["id"]] = answer | {"id": entries[answer["id"]]["id"]}
        return [answers[place] for place in range(len(entries))], unanswered

    def _send(self, entry: Entry) -> tuple[Entry, bool]:
        (raw,) = entry["params"]
        with self._lock:
            fault = next((n for n in ("swallowed", "delayed", "doubled") if self._happens(n)), None)
            silent = fault == "delayed" and self._dice.random() < 0.5
            if fault in ("delayed", "doubled"):
                self._later.append((time.monotonic() + self._dice.uniform(0, self.weather.delay), raw))
        try:
            if fault in ("swallowed", "delayed"):
                hash = read(bytes.fromhex(raw.removeprefix("0x"))).hash
            else:
                hash = self.pool.send(raw)
        except NodeRefused as refused:
            return _refusal(entry, refused), silent
        return {"jsonrpc": "2.0", "id": entry["id"], "result": hash}, silent

    def _forward(self, questions: list[Entry]) -> list[Entry]:
        import requests

        try:
            answers: list[Entry] = requests.post(self._target, json=questions, timeout=20).json()
        except requests.RequestException as error:
            raise Unanswered from error
        return answers

    def _happens(self, name: str) -> bool:
        rate: float = getattr(self.weather, name)
        happens = self._dice.random() < rate
        self.faults[name] += happens
        return happens


def _refusal(entry: Entry, refused: NodeRefused) -> Entry:
    error = {"code": refused.code, "message": refused.message, "data": refused.data}
    return {"jsonrpc": "2.0", "id": entry["id"], "error": error}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A stalled request may outlive the test; nobody waits for it.
    block_on_close = False

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        error = sys.exception()
        # Clients die here in the middle of everything; that is no error.
        if error is not None and not isinstance(error, ConnectionError | NodeUnreachable):
            self.proxy.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        try:
            if len(body) < length:
                raise Unanswered  # The client died while it spoke.
            status, headers, content = self.server.proxy.answer(body)
        except Unanswered:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return
