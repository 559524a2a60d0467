"""A node that is slow, wrong, busy or gone: what the client makes of it, against a real HTTP server."""

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur.chain.adapters import ProviderRpc
from imprimatur.chain.json_depth import DEEPEST, is_deep
from imprimatur.chain.node import balance, chain_id, has_code, mined_count
from imprimatur.chain.rpc import BATCH_SIZE, HttpRpc, NodeBusy, NodeRefused, NodeUnreachable, Rpc, quantity
from support.node import ROOT
from tools.launcher.processes import free_port

SECRET = "k3y-in-the-path"


class Node(ThreadingHTTPServer):
    """Answers as `script` says; one function per request, the last one for all that follow."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = []
        self.asked = []
        self.connections = set()

    @property
    def url(self):
        return f"http://user:{SECRET}@127.0.0.1:{self.server_port}/v3/{SECRET}?key={SECRET}"

    def handle_error(self, request, client_address):
        """Clients that hang up on us are what is tested."""

    @property
    def methods(self):
        return [[c["method"] for c in r] if isinstance(r, list) else r["method"] for r in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request)
        self.server.connections.add(self.client_address)
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self, request)

    def reply(self, content, status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Quiet."""


def raw(content, status=200, headers=()):
    return lambda handler, request: handler.reply(content, status, headers)


def answer(status=200, **changes):
    """An answer with these fields changed; None leaves one out."""

    def send(handler, request):
        whole = {"jsonrpc": "2.0", "id": request["id"], "result": "0x1"} | changes
        handler.reply(json.dumps({k: v for k, v in whole.items() if v is not None}).encode(), status)

    return send


def result(value):
    """An answer with this result, null as well."""

    def send(handler, request):
        handler.reply(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode())

    return send


def answers(arrange=lambda entries: entries):
    """A batch whose results repeat the methods; `refuse` is refused."""

    def send(handler, request):
        entries = []
        for call in request:
            outcome = {"result": call["method"]}
            if call["method"] == "refuse":
                outcome = {"error": {"code": -32601, "message": "not here"}}
            entries.append({"jsonrpc": "2.0", "id": call["id"], **outcome})
        handler.reply(json.dumps(arrange(entries)).encode())

    return send


def hang_up(handler, request):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut_off(handler, request):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"jsonrpc":')
    handler.close_connection = True


def stall(handler, request):
    time.sleep(1)
    hang_up(handler, request)


def drip(handler, request):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def slowly(start, piece):
    """Sends this start, then one piece after the other for four seconds."""

    def send(handler, request):
        handler.close_connection = True
        handler.wfile.write(start)
        for _ in range(80):
            handler.wfile.write(piece)
            time.sleep(0.05)

    return send


OK = b"HTTP/1.1 200 OK\r\n"
SLOW = {
    "status": slowly(b"HTTP", b"/"),
    "headers": slowly(OK + b"X: ", b"a"),
    "many headers": slowly(OK, b"X: a\r\n"),
    "size of a chunk": slowly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "within a chunk": slowly(OK + b"Transfer-Encoding: chunked\r\n\r\n10000\r\n", b" "),
    "trailers": slowly(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a"),
    "body": slowly(OK + b"Content-Length: 1000\r\n\r\n", b" "),
    "body without length": slowly(OK + b"\r\n", b" "),
    "packed body": slowly(
        OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0\0\0\xff\xff"
    ),
}


def endless(handler, request):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


@pytest.fixture
def node():
    server = Node()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def rpc(node):
    return HttpRpc(node.url, retries=0)


@contextmanager
def unreachable(match=None, kind=NodeUnreachable):
    """The error, whose text and traceback hold no credentials."""
    with pytest.raises(kind, match=match) as caught:
        yield caught
    shown = ["".join(traceback.format_exception(caught.value))]
    error = caught.value
    while error is not None:
        shown.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    assert SECRET not in "".join(shown)


def test_a_result(node, rpc):
    node.script = [answer(result={"number": "0x2"})]
    assert rpc.call("eth_call", [1, "x"]) == {"number": "0x2"}
    assert node.asked[0]["params"] == [1, "x"]
    node.script = [raw(b'{"jsonrpc":"2.0","id":2,"result":null,"error":null}')]
    assert rpc.call("eth_getTransactionReceipt", []) is None


def test_a_refusal_has_its_facts(node, rpc):
    error = {"code": 3, "message": "execution reverted", "data": "0x12"}
    for status in (200, 400, 500):
        node.script = [answer(status, result=None, error=error)]
        with pytest.raises(NodeRefused) as refused:
            rpc.call("eth_call", [])
        assert (refused.value.code, refused.value.message, refused.value.data) == tuple(error.values())


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("plain text", 0, "plain text"),
        ({"code": "x", "message": None}, 0, ""),
        ({}, 0, ""),
        ({"code": -1, "message": "long " * 1000}, -1, "long " * 1000),
    ],
)
def test_refusals_of_odd_shape(node, rpc, error, code, message):
    node.script = [answer(result=None, error=error)]
    with pytest.raises(NodeRefused) as refused:
        rpc.call("eth_call", [])
    assert (refused.value.code, refused.value.message) == (code, message)
    assert len(str(refused.value)) < 400


def test_a_node_that_could_not_read_the_question_refuses_it(node, rpc):
    content = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}'
    node.script = [raw(content, 400)]
    with pytest.raises(NodeRefused, match="parse error"):
        rpc.call("eth_call", [])


@pytest.mark.parametrize(
    "misbehave",
    [
        raw(b""),
        raw(b"<html>Bad gateway</html>", 502),
        raw(b"not found", 404),
        raw(b"\xff\xfe\xfd"),
        raw(b"[" * 100_000),
        raw(b'{"id":1,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        raw(b'{"id":1,"result":' + b"9" * 100_000 + b"}"),
        raw(b"null"),
        raw(b'"text"'),
        raw(b"[]"),
        raw(b"{}"),
        raw(b'{"id":true,"result":1}'),
        raw(b'{"id":1.0,"result":1}'),
        raw(b"\x1f\x8b broken", headers=[("Content-Encoding", "gzip")]),
        answer(id=99),
        answer(id="1"),
        answer(id=None),
        answer(result=None),
        hang_up,
        cut_off,
    ],
)
def test_what_is_no_answer(node, rpc, misbehave):
    node.script = [misbehave]
    with unreachable():
        rpc.call("eth_chainId", [])
    assert len(node.asked) == 1
    # The next question has a fresh answer, whatever was left of the last one.
    node.script = [answer()]
    assert rpc.call("eth_chainId", []) == "0x1"


def test_deep_nesting_does_not_end_a_process_without_recursion_limit(node):
    """As programs are that import eth-account or web3 themselves."""
    node.script = [
        raw(b"[" * 1_000_000),
        raw(b'{"id":1,"result":' + b"[" * 300_000 + b"]" * 300_000 + b"}"),
        raw(b'["]",' * 300_000 + b"0" + b"]" * 300_000),
        raw(b'["\\"]",' * 300_000 + b"0" + b"]" * 300_000),
        raw(("[" * 300_000 + "]" * 300_000).encode("utf-16")),
        raw(b'"' + b'\\"' * 1_000_000 + b"\\"),
        answer(result={"nested": [[[["]]]]]]"]]]]}),
    ]
    code = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from imprimatur.chain.rpc import HttpRpc, NodeUnreachable\n"
        f"rpc = HttpRpc({node.url!r}, retries=0)\n"
        "for _ in range(6):\n"
        "    try: print(rpc.call('eth_chainId', []))\n"
        "    except NodeUnreachable: print('refused')\n"
        "print(rpc.call('eth_chainId', []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["refused"] * 6 + ["{'nested': [[[[']]]]]]']]]]}"]


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


nested = st.recursive(
    st.text(st.sampled_from('[]{}"\\x'), max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(nested, st.integers(0, 3), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
def test_depth_is_told_whatever_the_strings_hold(value, wrapped, encoding):
    """Around the border: as deep as allowed, and one level more."""
    levels = DEEPEST + 1 - depth_of(value) - wrapped
    for _ in range(levels):
        value = [value]
    assert is_deep(json.dumps(value).encode(encoding)) == (wrapped == 0)


def test_redirects_are_refused(node, rpc):
    node.script = [raw(b"", 307, [("Location", f"http://127.0.0.1:{node.server_port}/{SECRET}")])]
    with unreachable("HTTP 307"):
        rpc.call("eth_chainId", [])
    assert len(node.asked) == 1


def test_nobody_listens():
    rpc = HttpRpc(f"http://u:{SECRET}@127.0.0.1:{free_port()}/{SECRET}", retries=1)
    with unreachable("The chain node doesn't answer"):
        rpc.call("eth_chainId", [])
    assert SECRET not in repr(rpc)


def test_logs_show_no_credentials(node, caplog):
    node.script = [answer()]
    rpc = HttpRpc(node.url.replace("?key=", "/"))
    with caplog.at_level(logging.DEBUG, logger="imprimatur"):
        rpc.call("eth_chainId", [])
    assert SECRET not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("imprimatur"))


@pytest.mark.parametrize("kind", [stall, drip, endless])
def test_slow_and_endless_answers_end(node, kind):
    node.script = [kind]
    rpc = HttpRpc(node.url, read_timeout=0.3, deadline=0.5, retries=5, largest_answer=1 << 20)
    with unreachable():
        rpc.call("eth_chainId", [])
    patient = HttpRpc(node.url, largest_answer=1 << 20)
    with unreachable():
        patient.call("eth_chainId", [], timeout=0.3)
    with unreachable():
        patient.batch([("eth_chainId", [])], timeout=0.3)


@pytest.mark.parametrize("answering", SLOW.values(), ids=SLOW)
def test_no_answer_is_so_slow_that_the_deadline_passes(node, answering):
    """However it is slow, a call returns while the server is still busy answering."""
    finished = threading.Event()

    def answering_and_telling(handler, request):
        with suppress(OSError):
            answering(handler, request)
            finished.set()

    node.script = [answering_and_telling]
    rpc = HttpRpc(node.url, read_timeout=2, deadline=0.3, retries=5)
    with unreachable("takes too long"):
        rpc.call("eth_chainId", [])
    assert not finished.is_set()
    assert len(node.asked) == 1
    node.script = [answer()]
    assert rpc.call("eth_chainId", []) == "0x1"


def test_a_server_that_does_not_listen_does_not_hold_a_call():
    """It accepts the connection and never reads, while there is more to say than sockets keep."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        rpc = HttpRpc(f"http://127.0.0.1:{server.getsockname()[1]}", connect_timeout=600, deadline=0.3)
        with unreachable("takes too long"):
            rpc.call("eth_sendRawTransaction", ["0" * (32 << 20)])


def test_an_answer_is_measured_unpacked(node):
    packed = gzip.compress(json.dumps({"id": 1, "result": "0" * (1 << 22)}).encode())
    assert len(packed) < 1 << 16
    node.script = [raw(packed, headers=[("Content-Encoding", "gzip")])]
    with unreachable("1048576 bytes"):
        HttpRpc(node.url, retries=0, largest_answer=1 << 20).call("eth_getLogs", [])
    assert len(HttpRpc(node.url, retries=0).call("eth_getLogs", [])) == 1 << 22


def test_reads_are_repeated_and_sends_are_not(node):
    rpc = HttpRpc(node.url, retries=2)
    node.script = [hang_up, raw(b"<html>", 502), answer()]
    assert rpc.call("eth_chainId", []) == "0x1"
    assert len(node.asked) == 3
    assert len({request["id"] for request in node.asked}) == 1
    node.asked.clear()
    node.script = [hang_up]
    for method in ("eth_sendRawTransaction", "eth_sendTransaction", "evm_mine", "anvil_reorg"):
        with unreachable():
            rpc.call(method, [])
        with unreachable():
            rpc.batch([("eth_chainId", []), (method, [])])
    assert len(node.asked) == 8
    node.asked.clear()
    with unreachable():
        rpc.call("eth_chainId", [])
    assert len(node.asked) == 3


def test_refusals_are_not_repeated(node):
    node.script = [answer(result=None, error={"code": 3, "message": "no"})]
    with pytest.raises(NodeRefused):
        HttpRpc(node.url, retries=5).call("eth_call", [])
    assert len(node.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_node_says_when(node, rpc, status):
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":429,"message":"slow down"}}'
    far = "Mon, 01 Jan 2024 00:00:00 +999999999999999"
    headers = ((None, None), ("7", 7), ("nonsense", None), ("-5", None), (far, None))
    for header, seconds in headers:
        node.script = [raw(body, status, [("Retry-After", header)] if header else [])]
        with unreachable(f"busy.*{status}", NodeBusy) as busy:
            rpc.call("eth_sendRawTransaction", [])
        assert busy.value.retry_after == seconds
    node.script = [raw(b"", status, [("Retry-After", formatdate(time.time() + 60, usegmt=True))])]
    with pytest.raises(NodeBusy) as busy:
        rpc.call("eth_chainId", [])
    assert 50 < busy.value.retry_after <= 60


def test_patience_is_kept_within_the_deadline(node):
    asked_at = []

    def busy_for_a_second(handler, request):
        asked_at.append(time.monotonic())
        if asked_at[-1] - asked_at[0] < 1:
            handler.reply(b"", 429, [("Retry-After", "1")])
        else:
            answer()(handler, request)

    node.script = [busy_for_a_second]
    assert HttpRpc(node.url, retries=1).call("eth_chainId", []) == "0x1"
    node.script = [raw(b"", 503, [("Retry-After", "3600")])]
    node.asked.clear()
    with pytest.raises(NodeBusy):
        HttpRpc(node.url, retries=5).call("eth_chainId", [])
    assert len(node.asked) == 1


def test_a_batch_in_any_order(node, rpc):
    calls = [("a", []), ("refuse", [1]), ("b", []), ("c", [])]
    for arrange in (list, lambda e: e[::-1], lambda e: e[2:] + e[:2]):
        node.script = [answers(arrange)]
        first, refused, *others = rpc.batch(calls)
        assert [first, *others] == ["a", "b", "c"]
        assert isinstance(refused, NodeRefused)
        assert refused.code == -32601
    assert rpc.batch([]) == []


@pytest.mark.parametrize(
    "arrange",
    [
        lambda e: e[1:],
        lambda e: [*e, e[0]],
        lambda e: [e[0], *e],
        lambda e: [*e[:-1], e[0]],
        lambda e: [*e, {"id": 99, "result": 1}],
        lambda e: [{**e[0], "id": 99}, *e[1:]],
        lambda e: [{**e[0], "id": [1]}, *e[1:]],
        lambda e: [{**e[0], "id": True}, *e[1:]],
        lambda e: [{"id": e[0]["id"]}, *e[1:]],
        lambda e: [None, *e[1:]],
        lambda e: [],
        lambda e: e[0],
        lambda e: {"entries": e},
    ],
)
def test_a_batch_with_missing_wrong_or_foreign_entries(node, rpc, arrange):
    node.script = [answers(arrange)]
    with unreachable():
        rpc.batch([("a", []), ("b", []), ("c", [])])


def test_a_batch_refused_as_a_whole_is_refused_entry_by_entry(node, rpc):
    node.script = [raw(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}')]
    results = rpc.batch([("a", []), ("b", [])])
    assert [type(result) for result in results] == [NodeRefused] * 2


@pytest.mark.parametrize("number", ["0x0", "0x00", "0xfF", "0x" + "f" * 64])
def test_numbers(number):
    assert quantity(number) == int(number, 16)


@pytest.mark.parametrize(
    "nonsense",
    [None, 7, True, "", "0x", "7", "-0x1", "0x-1", "0x1_0", " 0x1", "0x1\n", "0xg", "0x" + "f" * 65, [], {}],
)
def test_what_is_no_number(node, rpc, nonsense):
    with pytest.raises(NodeUnreachable, match="isn't a number"):
        quantity(nonsense)
    node.script = [result(nonsense)]
    for read in (chain_id, lambda rpc: balance(rpc, "0x"), lambda rpc: mined_count(rpc, "0x")):
        with unreachable("isn't a number"):
            read(rpc)


@pytest.mark.parametrize("nonsense", [None, 7, "60", []])
def test_what_is_no_code(node, rpc, nonsense):
    node.script = [result(nonsense)]
    with unreachable("isn't a contract's code"):
        has_code(rpc, "0x")


def test_long_batches_are_asked_in_pieces(node):
    node.script = [answers()]
    methods = [f"m{n}" for n in range(23)]
    assert HttpRpc(node.url, batch_size=10).batch([(method, []) for method in methods]) == methods
    assert node.methods == [methods[:10], methods[10:20], methods[20:]]


def test_a_batch_of_reads_is_repeated(node):
    node.script = [answers(lambda e: e[1:]), answers()]
    assert HttpRpc(node.url).batch([("eth_chainId", []), ("eth_call", [])]) == ["eth_chainId", "eth_call"]


def test_threads_share_one_client(node):
    """Each keeps its own connection, and nobody gets another one's answer."""
    node.script = [lambda handler, request: answer(result=request["params"][0])(handler, request)]
    rpc = HttpRpc(node.url, retries=0)
    wrong = []

    def ask(start):
        for n in range(start, start + 40):
            if rpc.call("echo", [n]) != n:
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n * 1000,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(node.asked) == 200
    assert len(node.connections) == 5


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 4) | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["id", "result", "error", "code"]), inner)
        ),
    )
)
def test_whatever_json_comes_is_an_answer_or_an_error_of_ours(value):
    """Both shapes of question, without a server in between."""
    rpc = HttpRpc("http://127.0.0.1:1", retries=0)
    rpc._json = lambda *_: value
    for ask in (lambda: rpc.call("m", []), lambda: rpc.batch([("m", []), ("n", [])])):
        with suppress(NodeUnreachable, NodeRefused):
            ask()


class Fake(Rpc):
    """Knows single calls only."""

    def call(self, method, params):
        if method == "refuse":
            raise NodeRefused(1, "no")
        if method == "lost":
            raise NodeUnreachable("gone")
        return method


def test_a_class_that_knows_single_calls_has_batches():
    first, refused, last = Fake().batch([("a", []), ("refuse", []), ("b", [])])
    assert (first, last) == ("a", "b")
    assert isinstance(refused, NodeRefused)
    with pytest.raises(NodeUnreachable):
        Fake().batch([("a", []), ("lost", [])])


class Provider:
    def __init__(self, outcome):
        self.outcome = outcome

    def make_request(self, method, params):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def provider(node):
    """web3.py's own, which asks twice only where it is told to."""
    from imprimatur.chain.account import kept_recursion_limit

    with kept_recursion_limit():
        from web3 import HTTPProvider

    return HTTPProvider(node.url, exception_retry_configuration=None)


def test_a_provider_of_web3_is_an_rpc(node):
    from imprimatur.chain.account import kept_recursion_limit

    with kept_recursion_limit():
        from web3 import HTTPProvider
        from web3.exceptions import Web3Exception

    node.script = [answer(result="0x7")]
    rpc = ProviderRpc(HTTPProvider(node.url))
    assert rpc.call("eth_chainId", []) == "0x7"
    node.script = [answer(result=None, error={"code": 3, "message": "no", "data": "0x1"})]
    with pytest.raises(NodeRefused) as refused:
        rpc.call("eth_call", [])
    assert refused.value.data == "0x1"
    node.script = [raw(b"<html>", 502)]
    with unreachable("HTTPError"):
        rpc.call("eth_sendRawTransaction", [])
    for error in (OSError(SECRET), ValueError(SECRET), Web3Exception(SECRET)):
        with pytest.raises(NodeUnreachable) as lost:
            ProviderRpc(Provider(error)).call("eth_call", [])
        assert SECRET not in str(lost.value)
    with pytest.raises(NodeUnreachable, match="JSON-RPC"):
        ProviderRpc(Provider("text")).call("eth_call", [])
    with pytest.raises(ZeroDivisionError):
        ProviderRpc(Provider(ZeroDivisionError())).call("eth_call", [])


def test_a_provider_asks_a_batch_at_once(node, provider):
    rpc = ProviderRpc(provider)
    node.script = [answers(lambda e: e[::-1])]
    methods = [f"m{n}" for n in range(BATCH_SIZE + 1)]
    assert rpc.batch([(method, []) for method in methods]) == methods
    assert node.methods == [methods[:-1], methods[-1:]]
    first, refused, last = rpc.batch((("a", []), ("refuse", [1]), ("b", [])))
    assert (first, last) == ("a", "b")
    assert isinstance(refused, NodeRefused)
    node.asked.clear()
    assert rpc.batch([]) == []
    assert node.asked == []
    node.script = [raw(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"batch too large"}}')]
    assert [type(result) for result in rpc.batch([("a", []), ("b", [])])] == [NodeRefused] * 2
    node.script = [raw(b"<html>", 502), raw(b"<html>"), hang_up]
    for _ in range(3):
        with unreachable():
            rpc.batch([("a", []), ("b", [])])


@pytest.mark.parametrize("status", [400, 413, 500])
def test_a_refusal_with_a_status_reaches_who_asked_a_provider(node, provider, status):
    """Some nodes refuse a range that way; web3.py throws what they said away."""

    def refuses(handler, request):
        error = {"code": -32614, "message": "eth_getLogs is limited to a 10,000 range"}
        said = [
            {"id": one["id"], **({"error": error} if one["method"] == "eth_getLogs" else {"result": "0x7"})}
            for one in (request if isinstance(request, list) else [request])
        ]
        handler.reply(json.dumps(said[::-1] if isinstance(request, list) else said[0]).encode(), status)

    rpc = ProviderRpc(provider)
    node.script = [refuses]
    with pytest.raises(NodeRefused, match="limited") as refused:
        rpc.call("eth_getLogs", [])
    assert refused.value.code == -32614
    node.script = [refuses]
    number, logs = rpc.batch([("eth_blockNumber", []), ("eth_getLogs", [])])
    assert (number, logs.code) == ("0x7", -32614)
    for body in (b"<html>", b"{}", b"null", b'{"error": null}', b'[{"id": "1"}]', b'"limited"'):
        node.script = [raw(body, status)] * 2
        with unreachable("HTTPError"):
            rpc.call("eth_getLogs", [])
        with unreachable("HTTPError"):
            rpc.batch([("eth_getLogs", [])])


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_node_behind_a_provider_has_refused_nothing(node, provider, status):
    node.script = [answer(status, result=None, error={"code": -32005, "message": "limit exceeded"})]
    with unreachable("HTTPError"):
        ProviderRpc(provider).call("eth_getLogs", [])


@pytest.mark.filterwarnings("ignore:Received batch response with missing")
@pytest.mark.parametrize(
    "arrange",
    [
        lambda e: e[1:],
        lambda e: [*e, e[0]],
        lambda e: [*e[:-1], e[0]],
        lambda e: [{**e[0], "id": [1]}, *e[1:]],
        lambda e: [{**e[0], "id": "0"}, *e[1:]],
        lambda e: [{**e[0], "id": True}, *e[1:]],
        lambda e: [{**e[0], "id": None}, *e[1:]],
        lambda e: [{"id": e[0]["id"]}, *e[1:]],
        lambda e: [None, *e[1:]],
        lambda e: [],
        lambda e: None,
        lambda e: "text",
        lambda e: e[0],
        lambda e: {"entries": e},
    ],
)
def test_a_providers_batch_that_does_not_fit(node, provider, arrange):
    node.script = [answers(arrange)]
    with unreachable():
        ProviderRpc(provider).batch([("a", []), ("b", []), ("c", [])])


def test_a_provider_without_batches_is_asked_one_by_one():
    class Unfinished(Provider):
        def make_batch_request(self, calls):
            raise NotImplementedError

    for kind in (Provider, Unfinished):
        rpc = ProviderRpc(kind({"id": 1, "result": "0x7"}))
        assert rpc.batch([("a", []), ("b", [])]) == ["0x7", "0x7"]
