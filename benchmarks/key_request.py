"""How long a device waits for a key, beside a bare signed request that writes one row.

    python -m benchmarks.key_request [--devices 12] [--each 40]

Both sides run under the same gunicorn, asked over one kept connection by the same client. The bare app checks
the device's signature and commits one row (SQLite, WAL, synchronous=FULL) with nothing between. The desk does
its whole work: limits, license, one batch to an anvil node, file key opened and wrapped, nonce and audit row
in one commit, answer signed. A third line shows a license of which 500 copies are consumed: its events are
all read. Medians of interleaved requests.
"""

import argparse
import hashlib
import http.client
import json
import os
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sqlalchemy as sa
from flask import Flask, Response, request
from sqlalchemy.orm import Session

from app.models import Base, Design, Intent, License, Printer, User
from app.services.desk_keys import make_keys
from imprimatur import sealing
from imprimatur.chain import transactions
from imprimatur.chain.events.layout import checksummed
from imprimatur.chain.signers import KeySigner
from imprimatur.device_auth import authenticate, authorization
from imprimatur.key_answer import Question, read_answer
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import sign_manifest
from support.node import Chain, running_chain
from tools.launcher.processes import end_with_launcher, free_port, http_ok

ROOT = Path(__file__).resolve().parents[1]
URL = "/api/v1/keys"
ORIGIN = "https://desk.example"
"""Both servers are told that they are there."""
MANY = 500
"""Copies of the license with many events."""
GOAL = 3.0


def bare() -> Flask:
    """An app that only authenticates and writes."""
    app = Flask("bare")
    path = os.environ["BARE_DATABASE"]
    connections: dict[int, sqlite3.Connection] = {}

    @app.get("/healthz")
    def healthz() -> str:
        return "ok"

    @app.post(URL)
    def keys() -> Response:
        body = request.get_data()
        signed = authenticate(request.headers.get("Authorization"), "POST", ORIGIN, URL, body)
        connection = connections.get(threading.get_ident())
        if connection is None:
            connection = connections[threading.get_ident()] = sqlite3.connect(path)
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS nonce (address, nonce, PRIMARY KEY (address, nonce))"
            )
        with connection:
            connection.execute("INSERT INTO nonce VALUES (?, ?)", (signed.address, signed.nonce))
        return Response(b"{}", content_type="application/json")

    return app


@contextmanager
def gunicorn(target: str, environment: dict[str, str]) -> Iterator[http.client.HTTPConnection]:
    """A kept connection to an app on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", target, "--worker-class", "gthread", "--threads", "4"]
    command += ["--workers", "1", "--no-control-socket", "--keep-alive", "60", "--log-level", "warning"]
    command += ["--bind", f"127.0.0.1:{port}"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": path} | environment,
            stderr=log,
            preexec_fn=end_with_launcher,
        )
        try:
            deadline = time.monotonic() + 60
            while not http_ok(f"http://127.0.0.1:{port}/healthz"):
                if server.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{target} doesn't start:\n{log.read().decode()}")
                time.sleep(0.1)
            yield http.client.HTTPConnection("127.0.0.1", port)
        finally:
            server.terminate()
            server.wait(30)


class Scene:
    """A chain with licenses of one sealed file, and the portal's rows about them."""

    def __init__(self, chain: Chain, folder: Path) -> None:
        self.chain = chain
        self.folder = folder
        self.contract = checksummed(chain.licenses.address[2:].lower())
        self.owner = chain.account(1000)
        self.identity = make_keys(folder / "desk", "password")
        (folder / "password").write_text("password")
        chain.write_address_book(folder / "deployments")
        self.database = f"sqlite:///{folder / 'portal.db'}"
        engine = sa.create_engine(self.database)
        Base.metadata.create_all(engine)
        self.session = Session(engine)
        user = User(email="a@example.com", fs_uniquifier="u", name="A", account=self.owner.address)
        self.file_key, content = sealing.new_key(), b"G28"
        self.sealed = Sealing("00" * 32, 500, sealing.key_commitment(self.file_key))
        self.design = Design(
            owner=user,
            file_name="a.gcode",
            storage_key="0" * 32,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            sealed_size=500,
            sealed_sha256=self.sealed.sha256,
            key_commitment=self.sealed.key_commitment,
            wrapped_key=sealing.wrap_key(self.file_key, self.identity.recipient),
            wrapped_for=self.identity.recipient.hex(),
        )
        self.session.add(self.design)
        self.session.commit()

    @property
    def environment(self) -> dict[str, str]:
        """For the desk."""
        desk = self.folder / "desk"
        return {
            "IMPRIMATUR_DATABASE_URL": self.database,
            "IMPRIMATUR_STORAGE_URL": (self.folder / "files").as_uri(),
            "IMPRIMATUR_SECRET_KEY_FILE": str(self.folder / "secret"),
            "IMPRIMATUR_CHAIN_URL": self.chain.url,
            "IMPRIMATUR_DEPLOYMENTS": str(self.folder / "deployments"),
            "IMPRIMATUR_DESK_URL": ORIGIN,
            "IMPRIMATUR_DESK_FILE": str(desk / "public.json"),
            "IMPRIMATUR_DESK_KEYSTORE": str(desk / "keystore.json"),
            "IMPRIMATUR_DESK_VAULT": str(desk / "vault.age"),
            "IMPRIMATUR_DESK_PASSWORD_FILE": str(self.folder / "password"),
        }

    def license(self, device: KeySigner, copies: int) -> int:
        """A license of which every copy is consumed, the last one by `job`."""
        number, file_hash = secrets.token_hex(8), self.design.sha256
        id = self.chain.order(self.owner.address, device.address, file_hash, copies, number).id
        manifest = Manifest(self.chain.chain_id, self.contract, id, "a.gcode", 3, file_hash, self.sealed)
        terms = {"manifest_hash": manifest.hash}
        order = self.chain.order(self.owner.address, device.address, file_hash, copies, number, **terms)
        self.chain.send(self.owner, self.chain.licenses.issue_call(order))
        text = format_id(id)
        self.session.add(Printer(owner_id=self.design.owner_id, name=number, address=device.address))
        self.session.add(
            License(
                id=text,
                owner_id=self.design.owner_id,
                design=self.design,
                intent=Intent(key=f"issue:{text}"),
                number=number,
                printer_name="P",
                printer_address=device.address,
                file_hash=file_hash,
                copies=copies,
                manifest_hash=manifest.hash.hex(),
                signed_manifest=sign_manifest(manifest, self.owner).to_bytes(),
            )
        )
        self.session.commit()
        return id

    def consume(self, device: KeySigner, id: int, copies: int) -> bytes:
        """Use all copies; the job key of the last one."""
        rpc, fees = self.chain.rpc, transactions.suggest_fees(self.chain.rpc)
        job_key = sealing.new_key()
        for copy in range(1, copies + 1):
            call = self.chain.licenses.use_license_and_log_call(
                id,
                self.design.sha256,
                copy,
                sealing.public_key(job_key),
                bytes([1]) * 32,
                secrets.token_bytes(32),
            )
            chain_id, to = self.chain.chain_id, self.chain.licenses.address
            raw, hash = device.sign_transaction(
                transactions.build(chain_id, copy - 1, to, call, 300_000, fees, 0)
            )
            rpc.call("eth_sendRawTransaction", ["0x" + raw.hex()])
        transactions.wait_for_receipt(rpc, hash, poll=0.02)
        return job_key


def ask(connection: http.client.HTTPConnection, device: KeySigner, body: bytes) -> tuple[float, bytes]:
    """Milliseconds of one request, and its answer."""
    headers = {
        "Authorization": authorization(device, "POST", ORIGIN, URL, body),
        "Content-Type": "application/json",
    }
    started = time.perf_counter()
    connection.request("POST", URL, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"HTTP {answer.status}: {content.decode()}")
    return (time.perf_counter() - started) * 1000, content


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=12)
    parser.add_argument("--each", type=int, default=40, help="requests of each device; at most 60 a minute")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_chain() as chain:
        folder = Path(name)
        scene = Scene(chain, folder)
        jobs: list[tuple[KeySigner, int, int, bytes]] = []
        for copies in [1] * arguments.devices + [MANY]:
            device = chain.account(1000)
            id = scene.license(device, copies)
            jobs.append((device, id, copies, scene.consume(device, id, copies)))
        with (
            gunicorn("benchmarks.key_request:bare()", {"BARE_DATABASE": str(folder / "bare.db")}) as peer,
            gunicorn("app.desk:create_app()", scene.environment) as desk,
        ):
            times: dict[str, list[float]] = {"bare": [], "desk": [], "many": []}
            for round in range(arguments.each):
                for device, id, copies, job_key in jobs:
                    recipient = sealing.public_key(job_key)
                    wanted = {"id": format_id(id), "copy": copies, "keyRecipient": recipient.hex()}
                    body = json.dumps(wanted).encode()
                    plain, _ = ask(peer, device, body)
                    full, content = ask(desk, device, body)
                    question = Question(chain.chain_id, scene.contract, id, copies, recipient)
                    answer = read_answer(content, question, scene.identity.address)
                    assert answer.wrapped_key is not None
                    assert sealing.unwrap_key(answer.wrapped_key, job_key) == scene.file_key
                    if round > 0:  # the first one opens connections and compiles statements
                        times["bare"].append(plain)
                        times["desk" if copies == 1 else "many"].append(full)
        scene.session.close()
    return report(times)


def report(times: dict[str, list[float]]) -> int:
    medians: dict[str, Any] = {side: statistics.median(found) for side, found in times.items()}
    for side, label in (
        ("bare", "signed request, one commit"),
        ("desk", "key request"),
        ("many", f"key request, {MANY} copies consumed"),
    ):
        found = sorted(times[side])
        p95 = found[int(0.95 * len(found))]
        print(
            f"{label:<36} median {medians[side]:6.2f} ms   p95 {p95:6.2f} ms   "
            f"ratio {medians[side] / medians['bare']:5.2f}   ({len(found)} requests)"
        )
    ratio = medians["desk"] / medians["bare"]
    print(f"goal: ratio <= {GOAL:.0f}: {'met' if ratio <= GOAL else 'missed'} ({ratio:.2f})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
