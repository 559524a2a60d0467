"""The portal client against a portal that lies."""

import io
import json

import pytest

from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import license_id, number_from_text
from octoprint_imprimatur import portal as portal_module
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.portal import MAX_LISTING, MAX_THUMBNAIL, Portal
from support.device_portal import PIXEL, DevicePortal

SIGNER = KeySigner(b"\x01" * 32)
ID = license_id(SIGNER.address, number_from_text("A-1"))


@pytest.fixture
def client(portal: DevicePortal) -> Portal:
    portal.entries.pop(ID, None)
    portal.offer(ID, "A-1", b"G28\n")
    return Portal(portal.url, SIGNER)


def download(client: Portal) -> bytes:
    sink = io.BytesIO()
    client.download(ID, sink, lambda done, expected: None)
    return sink.getvalue()


def test_an_honest_portal(client: Portal, portal: DevicePortal) -> None:
    offer = client.listing()[ID]
    assert (offer.number, offer.name, offer.material, offer.print_time) == ("A-1", "clip.gcode", "PLA", 1234)
    assert offer.thumbnail
    assert download(client) == b"G28\n"
    assert SIGNER.address in portal.devices


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", {"a": 1}),
        ("name", "x" * 10_000),
        ("material", ["PLA"]),
        ("print_time_s", "soon"),
        ("print_time_s", -5),
        ("print_time_s", True),
        ("print_time_s", 1e300),
        ("layer_height_mm", float("inf")),
        ("thumbnail_png", "not base64!"),
        ("thumbnail_png", "R0lGODlh"),
        ("thumbnail_png", "A" * (MAX_THUMBNAIL * 2)),
        ("thumbnail_png", 7),
    ],
)
def test_values_of_a_wrong_kind_are_dropped(
    client: Portal, portal: DevicePortal, field: str, value: object
) -> None:
    portal.offer(ID, "A-1", b"G28\n", **{field: value})
    offer = client.listing()[ID]
    assert len(offer.name) <= 120
    assert offer.thumbnail is None or field != "thumbnail_png"
    assert offer.print_time is None or field != "print_time_s"
    assert offer.layer_height is None or field != "layer_height_mm"


def test_a_thumbnail_that_is_too_big_is_dropped(client: Portal, portal: DevicePortal) -> None:
    import base64

    portal.offer(ID, "A-1", b"x", thumbnail_png=base64.b64encode(PIXEL + bytes(MAX_THUMBNAIL)).decode())
    assert client.listing()[ID].thumbnail is None


def test_a_number_that_isnt_part_of_the_id_is_dropped(client: Portal, portal: DevicePortal) -> None:
    portal.entries[ID]["number"] = "A-2"
    assert client.listing()[ID].number == ""


@pytest.mark.parametrize(
    "listing",
    [b"", b"[]", b"{", b'{"licenses": 5}', b"\xff\xfe", b'{"licenses": {"a": 1}}', b"[" * 100_000],
)
def test_a_listing_that_is_none(client: Portal, portal: DevicePortal, listing: bytes) -> None:
    portal.listing = listing
    with pytest.raises(Refused) as refused:
        client.listing()
    assert refused.value.message.key == "portal_confused"


@pytest.mark.parametrize(
    "entry", [None, 5, "x", {}, {"id": "0x12", "file": {}}, {"id": None, "file": {"size": 1}}]
)
def test_entries_that_are_none_are_skipped(client: Portal, portal: DevicePortal, entry: object) -> None:
    portal.listing = json.dumps({"licenses": [entry, portal.entries[ID]]}).encode()
    assert list(client.listing()) == [ID]


def test_a_listing_without_end(client: Portal, portal: DevicePortal) -> None:
    portal.listing = b" " * (MAX_LISTING + 1)
    with pytest.raises(Refused, match="too long"):
        client.listing()


def test_a_refusal_carries_the_portals_reason(client: Portal, portal: DevicePortal) -> None:
    portal.status = 403
    with pytest.raises(Refused, match=r"Not today. \(HTTP 403.\)"):
        client.listing()


def test_an_unknown_file(client: Portal, portal: DevicePortal) -> None:
    del portal.files[ID]
    with pytest.raises(Refused) as refused:
        download(client)
    assert refused.value.message.key == "file_missing"


def test_a_download_that_breaks_off(client: Portal, portal: DevicePortal) -> None:
    portal.files[ID] = bytes(300_000)
    portal.cut_after = 100_000
    with pytest.raises(Refused) as refused:
        download(client)
    assert refused.value.message.key == "download_broken"


def test_a_file_of_unknown_length(client: Portal, portal: DevicePortal) -> None:
    portal.no_length = True
    with pytest.raises(Refused, match="without its length"):
        download(client)


def test_a_file_that_is_too_big(client: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "MAX_FILE", 3)
    with pytest.raises(Refused) as refused:
        download(client)
    assert refused.value.message.key == "download_too_big"


def test_a_portal_that_is_down() -> None:
    with pytest.raises(Refused) as refused:
        Portal("http://127.0.0.1:1", SIGNER).listing()
    assert refused.value.message.key == "portal_down"


def test_no_portal() -> None:
    with pytest.raises(Refused) as refused:
        Portal("", SIGNER).listing()
    assert refused.value.message.key == "portal_not_set_up"


def test_the_recursion_limit_stays_as_it_was() -> None:
    """eth-account's dependencies raise it: then OctoPrint's own JSON parsing could be overflowed."""
    import sys

    assert SIGNER.address
    assert sys.getrecursionlimit() < 10_000
