"""A portal's device API that does what a test tells it to, lies included. Signatures are really checked."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from imprimatur.device_auth import NotAuthenticated, authenticate
from imprimatur.license_id import format_id

LISTING = "/api/v1/device/licenses"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass
class DevicePortal:
    """What it lists and serves. Tests change the fields while it runs."""

    url: str = ""
    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of a file after which the connection is closed."""
    listing: bytes | None = None
    """Sent instead of the entries."""
    status: int = 200
    no_length: bool = False
    downloads: list[int] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    """Addresses whose signatures were valid."""

    def offer(self, id: int, number: str, data: bytes, **file: Any) -> None:
        """Serve an honest entry and its file."""
        self.files[id] = data
        self.entries[id] = {
            "id": format_id(id),
            "number": number,
            "owner_name": "Aero Spares",
            "file": {
                "name": "clip.gcode",
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "material": "PLA",
                "print_time_s": 1234,
                "filament_mm": 1234.5,
                "filament_g": 3.2,
                "layer_height_mm": 0.2,
                "thumbnail_png": base64.b64encode(PIXEL).decode(),
            }
            | file,
        }

    def reset(self) -> None:
        """Honest again."""
        self.cut_after, self.listing, self.status, self.no_length = None, None, 200, False


def _handler(portal: DevicePortal) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                device = authenticate(self.headers.get("Authorization"), "GET", self.path)
            except NotAuthenticated as error:
                return self.problem(401, str(error))
            portal.devices.add(device.address)
            if portal.status != 200:
                return self.problem(portal.status, "Not today.")
            if self.path == LISTING:
                body = portal.listing
                if body is None:
                    body = json.dumps({"licenses": list(portal.entries.values())}).encode()
                return self.answer(200, "application/json", body)
            for id, data in portal.files.items():
                if self.path == f"{LISTING}/{format_id(id)}/file":
                    portal.downloads.append(id)
                    return self.file(data)
            return self.problem(404, "There is no such license for this printer.")

        def file(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            if not portal.no_length:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data if portal.cut_after is None else data[: portal.cut_after])

        def problem(self, status: int, detail: str) -> None:
            body = json.dumps({"title": "Refused", "detail": detail}).encode()
            self.answer(status, "application/problem+json", body)

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print what matters themselves."""

    return Handler


@contextmanager
def running_portal() -> Iterator[DevicePortal]:
    portal = DevicePortal()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(portal))
    portal.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield portal
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
