"""The whole story, played through the HTTP interfaces of a running demo: `tools/story.py STATE/demo.json`.

An owner uploads a part and issues two copies; the printer prints both; a third attempt is refused; a plain
start is refused; the explorer shows what happened. Ends with 0, or with 1 and what went wrong.
"""

import html
import json
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.transactions import next_nonce
from imprimatur.hashing import sha256_file

COPIES = 2
PRINT_TIMEOUT = 300.0
"""Seconds that one print on the virtual printer may take."""


class StoryFailed(Exception):
    """The story took another course than it should."""


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise StoryFailed(what)


def wait_for(what: str, look: Callable[[], Any], timeout: float) -> Any:
    """The first true result of `look`."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        if time.monotonic() > deadline:
            raise StoryFailed(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.3)
    return found


def first(pattern: str, text: str, what: str) -> str:
    """The first group of a pattern in a page."""
    match = re.search(pattern, text, re.DOTALL)
    if match is None:
        raise StoryFailed(f"the page has no {what}")
    return html.unescape(match[1])


class Owner:
    """An owner in the portal, as a browser would do it."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self._base = demo["portal"]
        self._session = requests.Session()
        page = self._get("/login")
        form = {"email": demo["owner"]["email"], "password": demo["owner"]["password"], "next": ""}
        answer = self._post("/login", form, page)
        expect("/login" not in answer.url, "the owner couldn't sign in")

    def _get(self, path: str) -> str:
        answer = self._session.get(self._base + path, timeout=30)
        answer.raise_for_status()
        return answer.text

    def _post(self, path: str, form: dict[str, Any], page: str) -> requests.Response:
        token = first(r'name="csrf_token"[^>]* value="([^"]+)"', page, "form")
        answer = self._session.post(self._base + path, data=form | {"csrf_token": token}, timeout=30)
        answer.raise_for_status()
        return answer

    def upload(self, path: Path) -> tuple[int, str]:
        """Id and SHA-256 of the new design."""
        token = first(r'data-csrf="([^"]+)"', self._get("/designs/new"), "upload form")
        with path.open("rb") as file:
            answer = self._session.put(
                f"{self._base}/designs/files",
                params={"name": path.name},
                data=file,
                headers={"X-CSRFToken": token},
                timeout=60,
            )
        answer.raise_for_status()
        stored = answer.json()
        return int(first(r"/designs/(\d+)", stored["location"], "design")), stored["sha256"]

    def issue(self, design: int, printer: str, number: str, copies: int) -> str:
        """Id (0x…) of the license, once it stands on the chain."""
        page = self._get(f"/licenses/new?design={design}")
        option = first(rf'<option value="(\d+)"[^>]*>{re.escape(printer)}<', page, f"printer {printer}")
        form = {"design": design, "printer": option, "number": number, "copies": copies, "last_day": ""}
        answer = self._post("/licenses", form, page)
        id = first(r"/licenses/(0x[0-9a-f]{64})", answer.url, "license")

        def issued() -> bool:
            state = first(r'data-state="(\w+)"', self._get(f"/licenses/{id}"), "state")
            expect(state != "failed", "the license wasn't issued; its page says why")
            return state == "done"

        wait_for("the license is issued", issued, 60)
        return id


class Printer:
    """The operator at OctoPrint."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self._base = demo["octoprint"]
        self._session = requests.Session()
        self._session.headers["X-Api-Key"] = demo["octoprint_api_key"]

    def get(self, path: str) -> Any:
        answer = self._session.get(self._base + path, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, **arguments: Any) -> requests.Response:
        return self._session.post(self._base + path, timeout=60, **arguments)

    def hurry(self) -> None:
        """The virtual printer takes its time for each move; a feed rate of a million per cent ends that."""
        answer = self.post("/api/printer/command", json={"command": "M220 S1000000"})
        expect(answer.status_code == 204, f"the printer wasn't told to hurry: {answer.text}")

    def card(self, id: str) -> dict[str, Any] | None:
        """The license in the list of licensed jobs, read from the chain now."""
        licenses = self.get("/plugin/imprimatur/licenses?fresh=true")["licenses"]
        return next((card for card in licenses if card["id"] == id), None)

    def print(self, id: str) -> requests.Response:
        return self.post(f"/plugin/imprimatur/licenses/{id}/print", json={})

    def finished(self, job: str) -> dict[str, Any]:
        """The job, when it is over and the printer is idle again."""

        def over() -> dict[str, Any] | None:
            found = next(j for j in self.get("/plugin/imprimatur/jobs")["jobs"] if j["id"] == job)
            expect(found["state"] not in ("FAILED", "ABANDONED"), f"the print ended: {found['message']}")
            idle = self.get("/api/job")["state"] == "Operational"
            return found if found["state"] == "FINISHED" and idle else None

        return wait_for("the print has finished", over, PRINT_TIMEOUT)


def play(demo: dict[str, Any]) -> None:
    """Play it; raises StoryFailed."""
    part = Path(demo["example"])
    number = f"STORY-{secrets.token_hex(4).upper()}"
    rpc = HttpRpc(demo["chain"])
    contract = PrintLicense(rpc, demo["contract"], demo["contract_since"])
    wallet = demo["printer"]["wallet"]

    owner = Owner(demo)
    design, sha256 = owner.upload(part)
    expect(sha256 == sha256_file(part), "the portal shows another SHA-256 than the file has")
    tell(f"The owner uploaded {part.name} ({part.stat().st_size:,} bytes), SHA-256 {sha256[:16]}…")

    id = owner.issue(design, demo["printer"]["name"], number, COPIES)
    license = contract.license_of(int(id, 16))
    expect(license is not None and license.remaining == COPIES, "the chain doesn't hold the copies ordered")
    tell(f"She issued license {number}: {COPIES} copies for {demo['printer']['name']}.")

    printer = Printer(demo)
    printer.hurry()
    for copy in range(1, COPIES + 1):
        card = printer.card(id)
        expect(card is not None, "the license isn't in the list of licensed jobs")
        expect(card["remaining"] == COPIES - copy + 1, f"the list shows {card['remaining']} copies left")
        answer = printer.print(id)
        expect(answer.status_code == 202, f"the print wasn't accepted: {answer.text}")
        started = time.monotonic()
        job = printer.finished(answer.json()["job"]["id"])
        expect(job["copy"] == copy, f"copy {job['copy']} was consumed instead of {copy}")
        tell(f"The printer printed copy {copy} of {COPIES} ({time.monotonic() - started:.0f} s).")

    card = printer.card(id)
    expect(card is not None and card["state"] == "used_up", "the list doesn't show the license as used up")
    answer = printer.print(id)
    expect(answer.status_code == 409, f"a third print was not refused ({answer.status_code})")
    expect(answer.json()["reason"]["key"] == "no_copies_left", f"refused for another reason: {answer.text}")
    used = contract.license_of(int(id, 16))
    expect(used is not None and used.used == COPIES, "a refused print used a copy")
    tell(f"A third attempt was refused: {answer.json()['error']}")

    coins = int(rpc.call("eth_getBalance", [wallet, "latest"]), 16)
    expect(coins == next_nonce(rpc, wallet) == 0, "the printer's wallet has sent transactions")
    tell("The printer needed no coins: the portal carried what it signed.")

    answer = printer.post(
        "/api/files/local", files={"file": ("own.gcode", b"G28\nG1 X1 E1\n")}, data={"print": "true"}
    )
    expect(answer.status_code == 409, f"an unlicensed start was not refused ({answer.status_code})")
    tell(f"An unlicensed start was refused: {answer.json()['error']}")

    expected = [("used", id)] * COPIES + [("issued", id)]

    def shown() -> bool:
        page = requests.get(f"{demo['portal']}/explorer", params={"q": number}, timeout=30).text
        return re.findall(r'<tr data-event="(\w+)" data-license="(0x[0-9a-f]+)"', page) == expected

    wait_for("the explorer shows all of it", shown, 30)
    tell(f"The explorer shows it all, newest first: {', '.join(kind for kind, _ in expected)}.")


def tell(sentence: str) -> None:
    print(f"  ✓ {sentence}", flush=True)


def main() -> int:
    demo = json.loads(Path(sys.argv[1]).read_text())
    try:
        play(demo)
    except (StoryFailed, requests.RequestException) as error:
        print(f"  ✗ The story failed: {error}", flush=True)
        return 1
    print("The story went as it should.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
