"""What a browser hears from a running OctoPrint: its push socket, with everything that the terminal shows."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websocket import WebSocketException, create_connection

from support.octoprint import OctoPrint, wait_for


class Listener:
    """A logged in browser's connection. `frames` are the texts as they came."""

    def __init__(self, octoprint: OctoPrint) -> None:
        session = octoprint.post("/api/login", passive=True).json()
        self._socket = create_connection(
            octoprint.url.replace("http", "ws") + "/sockjs/websocket", timeout=300
        )
        self._socket.send(json.dumps({"auth": f"{session['name']}:{session['session']}"}))
        self.frames: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        wait_for("The history came", lambda: any('"history"' in frame for frame in self.frames))

    def _listen(self) -> None:
        try:
            while frame := self._socket.recv():
                self.frames.append(frame if isinstance(frame, str) else frame.decode())
        except (WebSocketException, OSError):
            return

    def close(self) -> None:
        self._socket.close()
        self._thread.join(10)

    def _parts(self, kind: str) -> Iterator[Any]:
        for frame in list(self.frames):
            message = json.loads(frame)
            if kind in message:
                yield message[kind]

    def events(self, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
        """Name and payload of each event whose name begins so."""
        found = [(event["type"], event["payload"]) for event in self._parts("event")]
        return [(name, payload) for name, payload in found if name.startswith(prefix)]

    def terminal(self) -> list[str]:
        """The lines of the terminal, as far as the server still had them and sends them."""
        parts = [*self._parts("history"), *self._parts("current")]
        return [line for part in parts for line in part.get("logs") or []]

    def completions(self) -> list[float]:
        """Per cent of the print, as shown one after the other."""
        shown = [part["progress"]["completion"] for part in self._parts("current") if part.get("progress")]
        return [value for value in shown if value is not None]


@contextmanager
def listening(octoprint: OctoPrint) -> Iterator[Listener]:
    listener = Listener(octoprint)
    try:
        yield listener
    finally:
        listener.close()
