"""What an operator says about a failed print: kept, hashed, told once."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_flow import Shop, code_of

from imprimatur import canonical_json
from imprimatur.chain.signers import KeySigner
from imprimatur.device.job import Job, State
from imprimatur.device.statement import LONGEST_NOTE, Cause, Statement, evidence_of, read_statement
from imprimatur.key_answer import Refusal
from imprimatur.license_id import format_id
from octoprint_imprimatur.device_key import KeyChoice, Keys
from octoprint_imprimatur.messages import Refused
from octoprint_imprimatur.setting_up import Setup
from octoprint_imprimatur.settings import DEFAULTS
from octoprint_imprimatur.turn import Turn
from support.delivery_portal import DeliveryPortal, Fault
from support.node import Chain
from support.octoprint import wait_for

SAID = Statement(Cause.ADHESION, "löste sich bei Schicht 12")


@pytest.fixture
def shop(chain: Chain, portal: DeliveryPortal, owner: KeySigner, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(chain, portal, owner, tmp_path)
    yield shop
    shop.runner.stop()
    shop.wait()
    shop.journal.close()


def failed(shop: Shop) -> Job:
    """A print that was cancelled while the part was being made; its outcome isn't told yet."""
    job = shop.run(shop.issue(failures_allowed=1))
    shop.runner.part_begins(job.id)
    shop.runner.print_ended(job.id, cancelled=True)
    return shop.job(job)


def settled(shop: Shop, job: Job) -> bytes:
    """The evidence on the chain, once the failure stands there."""

    def look() -> bool:
        shop.flow.continue_open()
        return code_of(shop.job(job)) == "given_back"

    wait_for("It is given back", look, 30, 0.1)
    (event,) = shop.chain.licenses.events("PrintFailed", id=job.license_id)
    evidence: bytes = event.values["evidence"]
    return evidence


def told(shop: Shop, job: Job) -> list[tuple[str, str | None]]:
    outcomes = shop.portal.outcomes.values()
    return [(o["outcome"], o["reason"]) for o in outcomes if o["id"] == format_id(job.license_id)]


def test_the_chain_gets_the_hash_and_the_portal_the_reason(shop: Shop) -> None:
    job = failed(shop)
    shop.flow.report_failure(job.id, SAID)
    kept = shop.journal.statement(job.id)
    assert kept is not None
    assert settled(shop, job) == hashlib.sha256(kept).digest() == evidence_of(kept)
    assert json.loads(kept) == {
        "reason": "adhesion",
        "note": "löste sich bei Schicht 12",
        "job": job.id,
        "copy": 1,
        "license": format_id(job.license_id),
    }
    assert canonical_json.dumps(json.loads(kept)) == kept
    assert read_statement(kept) == SAID
    assert told(shop, job) == [("failed", "adhesion")]


def test_what_the_portal_knows_already_isnt_contradicted(shop: Shop) -> None:
    job = failed(shop)
    shop.flow.continue_open()
    assert told(shop, job) == [("failed", "cancelled")]
    shop.flow.report_failure(job.id, SAID)
    kept = shop.journal.statement(job.id)
    assert kept is not None
    assert settled(shop, job) == evidence_of(kept)
    assert told(shop, job) == [("failed", "cancelled")]


def test_an_answer_that_got_lost_is_no_contradiction_either(shop: Shop) -> None:
    """The portal has it, the printer doesn't know: another text is refused there, and the first stands."""
    job = failed(shop)
    shop.portal.faults.append(Fault("POST .*/outcomes", keep=0))
    shop.flow.continue_open()
    assert told(shop, job) == [("failed", "cancelled")]
    shop.flow.report_failure(job.id, SAID)
    settled(shop, job)
    assert told(shop, job) == [("failed", "cancelled")]

    def ended() -> bool:
        with shop.journal.transaction() as database:
            database.execute("UPDATE outcome SET due = 0")
        shop.flow.continue_open()
        return bool(shop.journal.read("SELECT 1 FROM outcome WHERE job = ? AND ended IS NOT NULL", job.id))

    wait_for("It isn't told for ever", ended, 10, 0.1)


def test_a_withheld_key_has_a_reason_too(shop: Shop) -> None:
    shop.portal.refusal = Refusal.STOPPED
    license = shop.issue(failures_allowed=1)
    job = shop.begin(license)
    shop.wait_for(job, "withheld")
    shop.wait()
    shop.flow.report_failure(job.id, Statement(Cause.OTHER, "no key"))
    assert shop.job(job).state is State.FAILED
    kept = shop.journal.statement(job.id)
    assert kept is not None
    assert settled(shop, shop.job(job)) == evidence_of(kept)
    assert told(shop, shop.job(job)) == [("abandoned", "other")]
    assert shop.journal.evidence(job.id), "the desk's signed refusal"
    assert kept not in shop.journal.evidence(job.id)


def test_a_report_that_waits_keeps_its_key(shop: Shop, tmp_path: Path) -> None:
    """The contract takes it from the device of the copy only."""
    opened = Keys(tmp_path / "keys", lambda: DEFAULTS)
    opened.adopt(shop.signer)
    setup = Setup(
        lambda: DEFAULTS,
        lambda _changes: None,
        opened,
        shop.journal,
        Turn(),
        (),
        None,
        dict,
        list,
        lambda: None,
    )
    job = failed(shop)
    shop.portal.faults.append(Fault("POST .*/failures", status=503, times=-1))
    shop.flow.report_failure(job.id, SAID)
    with pytest.raises(Refused) as refused:
        setup.choose_key(KeyChoice())
    assert (refused.value.message.key, refused.value.message.values) == ("jobs_open", {"count": 1})
    assert opened.address == shop.signer.address
    shop.portal.faults.clear()
    settled(shop, job)
    setup.choose_key(KeyChoice())
    assert opened.address != shop.signer.address


def test_without_words_there_is_no_evidence(shop: Shop) -> None:
    job = failed(shop)
    shop.flow.report_failure(job.id)
    assert settled(shop, job) == bytes(32)
    assert shop.journal.statement(job.id) is None


def test_notes_are_short_and_whole() -> None:
    Statement(Cause.OTHER, "x" * LONGEST_NOTE)
    for note in ("x" * (LONGEST_NOTE + 1), "\ud800"):
        with pytest.raises(ValueError, match="note"):
            Statement(Cause.OTHER, note)
