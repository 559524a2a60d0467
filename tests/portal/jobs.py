"""Jobs as the portal has them for devices: a sealed file in the storage, a license on the chain's side."""

import io
import json
import threading
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from portal.stage import GCODE, Party, TestChain
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.models import Design, Intent, IntentState, License
from app.services.issuing import end_of_day
from app.settings import Settings
from imprimatur import sealing
from imprimatur.chain.signers import KeySigner, Signer
from imprimatur.device_auth import authorization
from imprimatur.license_id import format_id, license_id, number_from_text
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import SignedManifest, sign_manifest

OPERATOR = KeySigner(bytes(31) + b"o")


@dataclass
class Sealed:
    """A design and the bytes that travel."""

    design: Design
    content: bytes


def sealed_design(app: Flask, session: Session, owner: Party, content: bytes = GCODE) -> Sealed:
    runtime = app.extensions["imprimatur"]
    options: Settings = runtime.settings
    assert options.desk is not None
    target = io.BytesIO()
    made = sealing.seal(io.BytesIO(content), target)
    with runtime.files.new() as file:
        file.write(target.getvalue())
    design = Design(
        owner_id=owner.user.id,
        file_name="clip.gcode",
        storage_key=file.key,
        size=made.size,
        sha256=made.sha256,
        material="PLA",
        filament_g=1.19,
        layer_height_mm=0.28,
        sealed_size=made.sealed_size,
        sealed_sha256=made.sealed_sha256,
        key_commitment=made.key_commitment,
        wrapped_key=sealing.wrap_key(made.file_key, options.desk.recipient),
        wrapped_for=options.desk.recipient.hex(),
    )
    session.add(design)
    session.commit()
    return Sealed(design, target.getvalue())


def job(
    session: Session,
    chain: TestChain,
    owner: Party,
    design: Design,
    wallet: str,
    number: str,
    state: IntentState = IntentState.DONE,
) -> License:
    """A license whose order the worker has carried to the chain, as far as the tables say."""
    id = license_id(owner.user.account, number_from_text(number))
    sealing_ = Sealing(design.sealed_sha256 or "", design.sealed_size or 0, design.key_commitment or "")
    manifest = Manifest(
        chain.chain_id,
        chain.licenses.address,
        id,
        design.file_name,
        design.size,
        design.sha256,
        sealing_,
        material="PLA",
    )
    license = License(
        id=format_id(id),
        owner_id=owner.user.id,
        design_id=design.id,
        intent=Intent(key=f"issue:{format_id(id)}", state=state),
        number=number,
        printer_name="MK4",
        printer_address=wallet,
        file_hash=design.sha256,
        copies=3,
        valid_until=end_of_day(None),
        manifest_hash=manifest.hash.hex(),
        signed_manifest=sign_manifest(manifest, OPERATOR).to_bytes(),
    )
    session.add(license)
    session.commit()
    return license


def manifest_of(license: License) -> SignedManifest:
    return SignedManifest.from_bytes(license.signed_manifest or b"")


ORIGIN = "http://127.0.0.1:5000"
"""Where the portal's `options` say that it is."""


class DeviceClient:
    """A device that signs what it sends."""

    def __init__(self, app: Flask, signer: Signer) -> None:
        self.signer = signer
        self._client: FlaskClient = app.test_client()

    def send(self, method: str, url: str, body: bytes = b"", **headers: str) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Authorization", authorization(self.signer, method, ORIGIN, url, body))
        return self._client.open(url, method=method, data=body or None, headers=sent)

    def get(self, url: str, **headers: str) -> TestResponse:
        return self.send("GET", url, **headers)

    def post(self, url: str, document: dict[str, Any]) -> TestResponse:
        return self.send("POST", url, json.dumps(document).encode(), Content_Type="application/json")


def at_once(*calls: Any) -> list[Any]:
    """What they give, started together."""
    start, found = threading.Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        start.wait()
        found[place] = calls[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
