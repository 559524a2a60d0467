"""The printer's clients of portal and key desk, against a server that does as agreed, or doesn't."""

import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from imprimatur import canonical_json, key_answer, schemas
from imprimatur.chain.signature_check import typed_data_digest
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import USE, Failure, Use, sign_failure, sign_use
from imprimatur.device import (
    AddressRefused,
    Desk,
    Ending,
    Outcome,
    Portal,
    PortalBusy,
    PortalConfused,
    PortalError,
    PortalInfo,
    PortalRefused,
    PortalUnreachable,
    RelayState,
)
from imprimatur.device import http as device_http
from imprimatur.device import portal as device_portal
from imprimatur.device.offers import OfferInvalid, read_offer
from imprimatur.key_answer import AnswerInvalid, Question, Refusal
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Sealing
from imprimatur.manifest.signature import SignedManifest
from imprimatur.sealing import new_key, public_key, unwrap_key
from support.delivery_portal import CHAIN_ID, CONTRACT, Fault, running_portal

DEVICE = KeySigner(bytes(range(1, 33)))
OWNER = KeySigner(bytes(range(2, 34)))
CODE = "ABCDE-12345-FGHJK"
FILE = b"G1 X10 E1\n" * 40_000
WORD = b"\x07" * 32


@pytest.fixture(scope="module")
def server():
    with running_portal() as server:
        yield server


@pytest.fixture
def served(server):
    """Honest, with one enrolled device and no license."""
    server.devices, server.disabled, server.invitations = {DEVICE.address}, set(), {CODE: None}
    server.served, server.extra_entries, server.page = {}, [], 50
    server.faults, server.requests, server.ranges = [], [], []
    server.relayed, server.waiting, server.outcomes = {}, {}, {}
    server.change_answer, server.answers = None, []
    return server


@pytest.fixture
def portal(served):
    return Portal(served.url, DEVICE)


@pytest.fixture
def desk(served):
    return Desk(f"{served.url}/desk", served.desk.address, DEVICE)


def a_use(**changes):
    return replace(
        Use(7, "ab" * 32, 1, WORD, WORD, WORD, int(time.time()) + 3600),
        **changes,
    )


# --- the address -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "portal.example", "ftp://portal.example", "https://", "https://portal.example:0", "https://a:b@portal.example",
     "https://portal.example/?a=1", "https://portal.example/#a", "http://portal.example", "http://192.168.0.7",
     "http://[::2]", "http://127.0.0.1.example"],
)  # fmt: skip
def test_an_address_that_isnt_safe_is_refused(url):
    with pytest.raises(AddressRefused) as refused:
        Portal(url, DEVICE)
    assert "a:b" not in str(refused.value)
    with pytest.raises(AddressRefused):
        Desk(url, CONTRACT, DEVICE)


@pytest.mark.parametrize(
    "url", ["https://portal.example/path/", "http://127.0.0.1:5000", "http://localhost", "http://[::1]:80"]
)
def test_a_safe_address_is_taken(url):
    assert Portal(url, DEVICE).url == url.rstrip("/")


def test_http_to_another_machine_only_when_asked():
    assert Portal("http://192.168.0.7", DEVICE, allow_http=True).url == "http://192.168.0.7"


# --- describing and enrolling ----------------------------------------------------------------------------


def test_describe(portal, served):
    assert portal.describe() == PortalInfo(CHAIN_ID, CONTRACT, 0, f"{served.url}/desk", served.desk.address)
    assert PortalInfo.from_document(served.info).to_document() == served.info


def test_enrolment(served):
    served.devices = set()
    portal = Portal(served.url, DEVICE)
    key = public_key(new_key())
    enrolment = portal.enrol(CODE, OWNER.address, key)
    assert (enrolment.device, enrolment.wallet) == (DEVICE.address, OWNER.address)
    assert (enrolment.printer, enrolment.owner) == ("Left bay", "Aero Spares")
    assert enrolment.portal == portal.describe()
    assert portal.enrol(CODE, OWNER.address, key) == enrolment
    assert schemas.problem_in(enrolment.to_document(), "device-api.v1", "enrolled") is None
    assert type(enrolment).from_document(enrolment.to_document()) == enrolment
    assert list(portal.jobs()) == []


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [("ZZZZZ-ZZZZZ-ZZZZZ", 404, "invitation_unknown"), (CODE, 409, "invitation_used")],
)
def test_an_enrolment_is_refused_by_name(served, code, status, problem):
    served.invitations[CODE] = OWNER.address
    with pytest.raises(PortalRefused) as refused:
        Portal(served.url, DEVICE).enrol(code, DEVICE.address, public_key(new_key()))
    assert (refused.value.status, refused.value.code) == (status, problem)
    assert "127.0.0.1 refuses" in str(refused.value)


def test_what_cant_be_sent_isnt_sent(served):
    with pytest.raises(ValueError, match="enrolment"):
        Portal(served.url, DEVICE).enrol("short", DEVICE.address, public_key(new_key()))
    assert served.requests == []


@pytest.mark.parametrize("name", ["contract", "deskAddress"])
def test_an_address_without_its_checksum_confuses(portal, served, name):
    body = json.dumps(served.info | {name: str(served.info[name]).lower()}).encode()
    served.faults = [Fault("GET .*/portal", 200, body)]
    with pytest.raises(PortalConfused, match="checksum"):
        portal.describe()


# --- jobs ------------------------------------------------------------------------------------------------


def test_jobs_over_several_pages(portal, served):
    served.page = 2
    ids = [served.offer(OWNER, DEVICE.address, FILE, number=f"4711-{n}") for n in range(5)]
    offers = list(portal.jobs())
    assert [offer.id for offer in offers] == ids
    offer = offers[0]
    assert (offer.number, offer.owner, offer.remaining) == ("4711-0", "Aero Spares", 3)
    assert (offer.filament_grams, offer.filament_millimeters, offer.layer_height) == (1.2, 402.5, 0.28)
    assert offer.manifest == served.served[ids[0]].manifest
    assert offer.signed.has_key_signature()
    assert len(served.requests) == 3


def test_pages_are_asked_for_when_they_are_needed(portal, served):
    served.page = 2
    for number in range(5):
        served.offer(OWNER, DEVICE.address, FILE, number=f"4711-{number}")
    next(iter(portal.jobs()))
    assert len(served.requests) == 1


def test_a_bad_entry_hides_no_other(portal, served, caplog):
    good = served.offer(OWNER, DEVICE.address, FILE)
    entry = served.served[good].entry
    other = format_id(good + 1)
    served.extra_entries = [
        None,
        {"id": 5},
        entry,  # listed twice
        entry | {"id": other},  # with the manifest of another license
        entry | {"id": other, "manifest": {}},
        entry | {"id": other, "manifest": json.loads("[" * 40 + "]" * 40)},
        entry | {"id": other, "more": 1},
    ]
    skipped = []
    assert [offer.id for offer in portal.jobs(skipped.append)] == [good]
    assert [entry.id for entry in skipped] == [None, None, good, *[good + 1] * 4]
    assert len({entry.reason for entry in skipped}) >= 4
    with caplog.at_level(logging.WARNING):
        assert len(list(portal.jobs())) == 1
    assert sum(other in record.getMessage() for record in caplog.records) == 4


def test_display_facts_are_bounded(served):
    entry = served.served[served.offer(OWNER, DEVICE.address, FILE)].entry
    text = json.dumps(entry | {"owner": "Aero\u202e\n Spares", "number": "4712"})
    changed = json.loads(text.replace("1.2", "1e999").replace("402.5", "NaN").replace("0.28", "1e3"))
    offer = read_offer(changed)
    assert (offer.owner, offer.number) == ("Aero Spares", "")
    assert (offer.filament_grams, offer.filament_millimeters, offer.layer_height) == (None, None, None)


def test_pages_that_never_end(portal, served, monkeypatch):
    served.faults = [Fault("/device/jobs", 200, b'{"jobs": [], "next": "7"}', times=9)]
    with pytest.raises(PortalConfused, match="circle"):
        list(portal.jobs())
    monkeypatch.setattr(device_portal, "MAX_PAGES", 3)
    served.faults = [Fault("/device/jobs", 200, b'{"jobs": [], "next": "%d"}' % n) for n in range(9)]
    with pytest.raises(PortalConfused, match="3 pages"):
        list(portal.jobs())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"jobs": {}, "next": null}', b'{"jobs": []}', b'{"jobs": [], "next": 7}',
     b'{"jobs": [%s], "next": null}' % b",".join([b"1"] * 51), b"[" * 100_000, b"\xff\xfe"],
)  # fmt: skip
def test_a_list_of_another_form(portal, served, body):
    served.faults = [Fault("/device/jobs", 200, body)]
    with pytest.raises(PortalConfused):
        list(portal.jobs(lambda skipped: None))


def test_an_answer_without_end_is_cut(served, monkeypatch):
    monkeypatch.setattr(device_portal, "LARGEST_ANSWER", 1000)
    served.faults = [Fault("/device/jobs", 200, b" " * 2000)]
    with pytest.raises(PortalUnreachable, match="more than 1000 bytes"):
        list(Portal(served.url, DEVICE).jobs())


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "number", "owner", "remaining", "manifest", "x"]), inner),
    max_leaves=8,
))  # fmt: skip
def test_any_entry_is_an_offer_or_not(entry):
    with pytest.raises(OfferInvalid):
        read_offer(entry)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_entry_is_the_same_offer_or_none(served, data):
    """Whatever is changed within what was signed: it isn't taken for the manifest that was signed."""
    id = next(iter(served.served), None) or served.offer(OWNER, DEVICE.address, FILE[:100])
    entry = json.loads(json.dumps(served.served[id].entry))
    part = entry["manifest"]["manifest"]
    path = data.draw(st.sampled_from(["license", "file", "sealing", "print"]))
    name = data.draw(st.sampled_from(sorted(part[path])))
    value = data.draw(st.integers(0, 99) | st.text(max_size=8))
    assume(value != part[path][name])
    part[path][name] = value
    try:
        changed = read_offer(entry)
    except OfferInvalid:
        return
    assert not changed.signed.has_key_signature()


def test_one_portal_serves_many_threads(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing

    def work(start):
        with portal.download(id, sealing, start) as download:
            assert b"".join(download) == sealed[start:]
        return [offer.id for offer in portal.jobs()]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(0, 4000, 100))) == [[id]] * 40


# --- refusals and faults ---------------------------------------------------------------------------------


def test_a_stranger_and_a_disabled_device(served):
    with pytest.raises(PortalRefused) as refused:
        list(Portal(served.url, OWNER).jobs())
    assert (refused.value.status, refused.value.code) == (403, "not_enrolled")
    served.disabled = {DEVICE.address}
    with pytest.raises(PortalRefused) as refused:
        list(Portal(served.url, DEVICE).jobs())
    assert refused.value.code == "device_disabled"
    assert "disabled this device" in str(refused.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, PortalRefused), (401, PortalRefused), (404, PortalRefused), (408, PortalUnreachable),
     (429, PortalBusy), (500, PortalUnreachable), (502, PortalUnreachable), (503, PortalBusy),
     (204, PortalConfused), (206, PortalConfused), (301, PortalUnreachable), (307, PortalUnreachable)],
)  # fmt: skip
def test_what_a_status_means(portal, served, status, error):
    headers = {"Location": "https://elsewhere.example/", "Retry-After": "7"}
    served.faults = [Fault("/device/jobs", status, b"", headers)]
    with pytest.raises(error) as raised:
        list(portal.jobs())
    assert len(served.requests) == 1
    if error is PortalBusy:
        assert raised.value.retry_after == 7


def test_no_other_place_is_asked(portal, served):
    """Not even one that would answer as agreed."""
    served.faults = [Fault("GET .*/portal", 302, b"", {"Location": f"{served.url}/api/v1/portal"})]
    with pytest.raises(PortalUnreachable, match="another address"):
        portal.describe()
    assert len(served.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"), [("0", 0), ("99999999999999", 3600), ("soon", None), ("-1", None), ("٧", None)]
)
def test_patience_is_bounded(portal, served, header, seconds):
    served.faults = [Fault("/device/jobs", 503, b"", {"Retry-After": header.encode().decode("latin-1")})]
    with pytest.raises(PortalBusy) as busy:
        list(portal.jobs())
    assert busy.value.retry_after == seconds


@pytest.mark.parametrize(
    "document",
    [{}, [], "text", {"type": "urn:imprimatur:problem:busy"},
     {"type": 1, "title": "", "status": 403, "detail": ""}],
)  # fmt: skip
def test_a_problem_of_another_form_names_nothing(portal, served, document):
    kind = {"Content-Type": "application/problem+json; charset=utf-8"}
    served.faults = [Fault("/device/jobs", 403, json.dumps(document).encode(), kind)]
    with pytest.raises(PortalRefused) as refused:
        list(portal.jobs())
    assert (refused.value.code, refused.value.detail) == ("", "")


def test_words_of_a_problem_stay_in_one_line(portal, served):
    document = {
        "type": "urn:imprimatur:problem:not_enrolled",
        "title": "",
        "status": 403,
        "detail": "one\ntwo\x1b[31m" + "x" * 900,
    }
    kind = {"Content-Type": "application/problem+json"}
    served.faults = [Fault("/device/jobs", 403, json.dumps(document).encode(), kind)]
    with pytest.raises(PortalRefused) as refused:
        list(portal.jobs())
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_nobody_there():
    with pytest.raises(PortalUnreachable, match=r"127\.0\.0\.1 doesn't answer"):
        Portal("http://127.0.0.1:9/secret-path", DEVICE).describe()


def test_a_torn_answer(portal, served):
    served.offer(OWNER, DEVICE.address, FILE)
    for keep in (0, 1, 100):
        served.faults = [Fault("/device/jobs", keep=keep)]
        with pytest.raises(PortalUnreachable):
            list(portal.jobs())
    assert len(list(portal.jobs())) == 1


def test_a_server_that_says_nothing(portal, served, monkeypatch):
    monkeypatch.setattr(device_http, "DEADLINE", 0.3)
    served.lock.acquire()
    try:
        with pytest.raises(PortalUnreachable):
            portal.describe()
    finally:
        served.lock.release()


@contextmanager
def dripping(answer):
    """A server that sends `answer`, then a byte now and then for ever; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)
            while not ended.wait(0.02):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_a_server_that_never_comes_to_an_end(monkeypatch, answer):
    monkeypatch.setattr(device_http, "DEADLINE", 0.3)
    with dripping(answer) as url, pytest.raises(PortalUnreachable):
        Portal(url, DEVICE).describe()


# --- download --------------------------------------------------------------------------------------------


def test_download_whole_and_from_anywhere(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing
    for start in (0, 1, 70_000, len(sealed) - 1):
        with portal.download(id, sealing, start) as download:
            assert (download.start, download.size) == (start, len(sealed))
            assert b"".join(download) == sealed[start:]
    assert served.ranges == [None, "bytes=1-", "bytes=70000-", f"bytes={len(sealed) - 1}-"]
    for start in (-1, len(sealed)):
        with pytest.raises(ValueError, match="no rest"), portal.download(id, sealing, start):
            pass


def test_a_portal_without_ranges_begins_at_the_start(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing
    served.faults = [Fault("/file", 200, sealed, {"ETag": f'"{sealing.sha256}"'})]
    with portal.download(id, sealing, 5000) as download:
        assert download.start == 0
        assert b"".join(download) == sealed


def test_a_torn_download_says_where(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing
    served.faults = [Fault("/file", keep=200_000)]
    got = bytearray()
    with portal.download(id, sealing) as download, pytest.raises(PortalUnreachable, match="after 200000 of"):
        got.extend(byte for piece in download for byte in piece)
    with portal.download(id, sealing, len(got)) as download:
        assert got + b"".join(download) == sealed


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Length": "4"}),
        (206, {}),
        (206, {"Content-Range": "bytes 9-{last}/{size}"}),
        (206, {"Content-Range": "bytes 10-11/{size}"}),
        (206, {"Content-Range": "bytes 10-{last}/{more}"}),
        (206, {"Content-Range": "bytes 10-{last}/*"}),
    ],
)
def test_another_file_isnt_downloaded(portal, served, status, headers):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealing = served.served[id].sealing
    size = sealing.size
    filled = {k: v.format(last=size - 1, size=size, more=size + 1) for k, v in headers.items()}
    served.faults = [Fault("/file", status, b"1234", filled)]
    with pytest.raises(PortalConfused), portal.download(id, sealing, 10):
        pass


def test_a_file_with_another_tag_isnt_downloaded(portal, served):
    """Of the right size, and seen before a byte of it is read."""
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing
    served.faults = [Fault("/file", 200, sealed, {"ETag": f'"{"0" * 64}"'})]
    with pytest.raises(PortalConfused, match="another file"), portal.download(id, sealing):
        pass


def test_a_download_that_drips(monkeypatch):
    monkeypatch.setattr(device_http, "DEADLINE", 0.3)
    sealing = Sealing("5a" * 32, 10_000, "00" * 32)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"
    with (
        dripping(answer) as url,
        pytest.raises(PortalUnreachable, match="it sends almost nothing"),
        Portal(url, DEVICE).download(7, sealing) as download,
    ):
        list(download)


def test_more_bytes_than_agreed(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealed, sealing = served.served[id].sealed, served.served[id].sealing
    served.faults = [
        Fault("/file", 206, sealed, {"Content-Range": f"bytes 9-{len(sealed) - 1}/{len(sealed)}"})
    ]
    with pytest.raises(PortalConfused, match="more than"), portal.download(id, sealing, 9) as download:
        list(download)


def test_no_file_and_a_file_that_ends_before(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    sealing = served.served[id].sealing
    with pytest.raises(PortalRefused) as refused, portal.download(id + 1, sealing):
        pass
    assert refused.value.status == 404
    with (
        pytest.raises(PortalRefused) as refused,
        portal.download(id, replace(sealing, size=1 << 40), 1 << 30),
    ):
        pass
    assert refused.value.status == 416


def test_errors_of_the_reader_stay_what_they_are(portal, served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    with pytest.raises(OSError, match="disk full"), portal.download(id, served.served[id].sealing):
        raise OSError("disk full")


# --- relay and outcomes ----------------------------------------------------------------------------------


def test_a_use_is_carried(portal, served):
    use = a_use()
    signed = sign_use(DEVICE, served.domain, use)
    digest = "0x" + typed_data_digest(served.domain, USE, use.values()).hex()
    assert portal.relayed_use(digest) is None
    relayed = portal.relay_use(signed)
    assert (relayed.digest, relayed.state) == (digest, RelayState.WAITING)
    served.relayed[digest] |= {"state": "done", "transaction": "0x" + "ab" * 32, "block": 12}
    assert portal.relay_use(signed) == portal.relayed_use(digest)
    found = portal.relayed_use(digest)
    assert (found.state, found.transaction, found.block) == (RelayState.DONE, "0x" + "ab" * 32, 12)
    assert len(served.waiting) == 1
    ((_, kept),) = served.waiting.values()
    assert kept == signed


def test_a_failure_is_carried(portal, served):
    signed = sign_failure(DEVICE, served.domain, Failure(7, 1, WORD, int(time.time()) + 3600))
    relayed = portal.relay_failure(signed)
    assert portal.relayed_failure(relayed.digest) == relayed
    assert portal.relayed_failure("0x" + "11" * 32) is None
    ((_, kept),) = served.waiting.values()
    assert kept == signed


def test_what_the_relay_refuses(portal, served):
    signed = sign_use(OWNER, served.domain, a_use())
    with pytest.raises(PortalRefused) as refused:
        portal.relay_use(signed)
    assert refused.value.code == "signature_invalid"
    with pytest.raises(PortalRefused) as refused:
        portal.relay_use(sign_use(DEVICE, served.domain, a_use(deadline=5)))
    assert refused.value.code == "deadline_out_of_range"


def test_another_messages_state(portal, served):
    relayed = portal.relay_use(sign_use(DEVICE, served.domain, a_use()))
    other = json.dumps(served.relayed[relayed.digest] | {"digest": "0x" + "22" * 32}).encode()
    served.faults = [Fault("GET .*/uses/", 200, other)]
    with pytest.raises(PortalConfused, match="another message"):
        portal.relayed_use(relayed.digest)


def test_a_relay_without_time_names_why(portal, served):
    problem = {
        "type": "urn:imprimatur:problem:too_many_waiting",
        "title": "",
        "status": 429,
        "detail": "Later.",
    }
    kind = {"Content-Type": "application/problem+json"}
    served.faults = [Fault("POST .*/uses", 429, json.dumps(problem).encode(), kind)]
    with pytest.raises(PortalBusy) as busy:
        portal.relay_use(sign_use(DEVICE, served.domain, a_use()))
    assert (busy.value.code, busy.value.retry_after) == ("too_many_waiting", None)


def test_outcomes(portal, served):
    outcome = Outcome(7, 1, Ending.FINISHED, 1_700_000_000, 540, WORD)
    portal.report(outcome)
    portal.report(outcome)
    assert list(served.outcomes.values()) == [outcome.to_document()]
    assert Outcome.from_document(outcome.to_document()) == outcome
    bare = Outcome(7, 1, Ending.ABANDONED, 5, reason="jam")
    assert Outcome.from_document(bare.to_document()) == bare
    with pytest.raises(PortalRefused) as refused:
        portal.report(replace(outcome, ending=Ending.FAILED, reason="r" * 999))
    assert refused.value.code == "outcome_known"
    served.faults = [Fault("/outcomes", keep=0)]
    with pytest.raises(PortalUnreachable):
        portal.report(replace(outcome, copy=2))
    portal.report(replace(outcome, copy=2))
    assert len(served.outcomes) == 2


# --- the desk --------------------------------------------------------------------------------------------


@pytest.fixture
def question(served):
    id = served.offer(OWNER, DEVICE.address, FILE)
    secret = new_key()
    return Question(CHAIN_ID, CONTRACT, id, 1, public_key(secret)), secret


def test_a_key(desk, served, question):
    asked, secret = question
    found = desk.ask(asked)
    assert unwrap_key(found.answer.wrapped_key, secret) == served.served[asked.id].file_key
    assert found.answer.refusal is None
    # Whoever doubts it can read the same from the bytes.
    assert key_answer.read_answer(found.signed, asked, served.desk.address) == found.answer


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal(desk, served, question, refusal):
    asked, _ = question
    served.change_answer = lambda answer: replace(answer, wrapped_key=None, refusal=refusal)
    found = desk.ask(asked)
    assert found.answer.refusal is refusal
    assert (found.retry_after is not None) == refusal.is_temporary


def test_a_refusal_by_somebody_else_is_none(served, question):
    asked, _ = question
    other = Desk(f"{served.url}/desk", OWNER.address, DEVICE)
    with pytest.raises(AnswerInvalid, match="isn't signed by the key desk"):
        other.ask(asked)


def test_an_answer_to_another_question(desk, served, question):
    asked, _ = question
    for change in ({"copy": 2}, {"key_recipient": WORD}, {"id": asked.id + 1}, {"chain_id": 1}):
        served.change_answer = lambda answer, change=change: replace(
            answer, question=replace(asked, **change)
        )
        with pytest.raises(AnswerInvalid, match="another question"):
            desk.ask(asked)


@pytest.mark.parametrize(
    ("status", "body", "kind", "error"),
    [
        (200, b"{}", "application/json", AnswerInvalid),
        (403, b"<html>", "text/html", AnswerInvalid),
        (425, b"", "application/problem+json", AnswerInvalid),
        (401, b"", "application/problem+json", PortalRefused),
        (413, b"", "text/plain", PortalRefused),
        (429, b"{}", "application/problem+json", PortalBusy),
        (503, b"{}", "application/problem+json", PortalBusy),
        (503, b"<html>", "text/html", PortalBusy),
        (502, b"<html>", "text/html", PortalUnreachable),
        (500, b"", "application/json", PortalUnreachable),
        (200, b" " * 20_000, "application/json", PortalUnreachable),
    ],
)
def test_what_isnt_signed_says_nothing_about_the_key(desk, served, question, status, body, kind, error):
    served.faults = [Fault("POST /desk", status, body, {"Content-Type": kind})]
    with pytest.raises(error):
        desk.ask(question[0])
    assert desk.ask(question[0]).answer.wrapped_key


def test_a_lost_key_can_be_asked_for_again(desk, served, question):
    asked, secret = question
    served.faults = [Fault("POST /desk", keep=0)]
    with pytest.raises(PortalUnreachable):
        desk.ask(asked)
    assert unwrap_key(desk.ask(asked).answer.wrapped_key, secret)
    assert len(served.answers) == 2


def test_errors_have_one_root():
    for error in (AddressRefused, PortalBusy, PortalConfused, PortalRefused, PortalUnreachable):
        assert issubclass(error, PortalError)


def test_manifests_survive_the_list(served):
    """A manifest is read from JSON that need not be canonical, and has the bytes that were signed."""
    id = served.offer(OWNER, DEVICE.address, FILE)
    entry = json.loads(json.dumps(served.served[id].entry, indent=3, sort_keys=False))
    data = canonical_json.dumps(entry["manifest"])
    assert SignedManifest.from_bytes(data).to_bytes() == data
    assert read_offer(entry).signed.to_bytes() == data
