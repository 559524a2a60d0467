"""A server between a client and a node that answers as it likes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

Answer = dict[str, Any]
Lie = Callable[[str, Any], Any]
"""Gets a method and the node's result, and gives what the client is told."""


@contextmanager
def lying_node(url: str, lie: Lie) -> Iterator[str]:
    """URL of a node that tells `lie` of what the node at `url` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Else a body waits for the receipt of its head, which a kept connection puts off for 40 ms.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers = requests.post(url, json=asked, timeout=30).json()
            questions = asked if isinstance(asked, list) else [asked]
            methods = {question["id"]: question["method"] for question in questions}
            for answer in answers if isinstance(answers, list) else [answers]:
                if "result" in answer:
                    answer["result"] = lie(methods[answer["id"]], answer["result"])
            body = json.dumps(answers).encode()
            self.send_response(200)
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
