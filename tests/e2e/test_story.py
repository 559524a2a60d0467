"""From upload to the last copy, in a real browser, on a real chain node and a real OctoPrint."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from conftest import open_licensed_jobs
from imprimatur.chain.transactions import next_nonce
from imprimatur.hashing import sha256_file
from imprimatur.license_id import format_id, license_id, number_from_text
from support.octoprint import gcode_lines, wait_for

NUMBER = "4711-A4-58572"
TAMPERED_NUMBER = "4711-A4-58573"
PRINT_TIMEOUT = 180
"""Seconds."""
# What OctoPrint sends by itself, whatever it prints: queries, and after the last line "wait for all moves".
AT_THE_END = "M400"
OWN_QUERIES = re.compile(r"(M105|M110|M115|M155|M21|M20|M27)\b")


def upload_and_issue(page, demo, number, copies):
    """Issue a license for the example part through the portal's pages; its page is open afterwards."""
    part = Path(demo.facts["example"])
    page.goto(f"{demo.facts['portal']}/designs/new")
    page.locator("#file").set_input_files(part)
    page.wait_for_url(re.compile(r"/designs/\d+"))
    expect(page.get_by_text(sha256_file(part))).to_be_visible()
    page.get_by_role("link", name="Issue a license").first.click()
    page.get_by_label("Printer", exact=True).select_option(label=demo.facts["printer"]["name"])
    page.get_by_label("License number").fill(number)
    page.get_by_label("Copies").fill(str(copies))
    page.get_by_role("button", name="Issue license").click()
    page.wait_for_url(re.compile(r"/licenses/0x"))
    expect(page.locator('#license-state[data-state="done"]')).to_be_visible(timeout=60_000)


def card(page, number):
    return page.locator(".imp-card", has_text=number)


def print_once(page, demo, number, copy, of):
    """Print one copy from the tab; returns when OctoPrint is idle again."""
    card(page, number).get_by_role("button", name="Print").click()
    dialog = page.locator("#imprimatur_confirm")
    expect(dialog).to_contain_text(f"copy {copy} of {of}")
    dialog.get_by_role("button", name="Print").click()

    def finished():
        jobs = demo.octoprint("/plugin/imprimatur/jobs")["jobs"]
        done = any((job["number"], job["copy"], job["state"]) == (number, copy, "FINISHED") for job in jobs)
        return done and demo.octoprint("/api/job")["state"] == "Operational"

    wait_for(f"copy {copy} of {number} is printed", finished, PRINT_TIMEOUT)
    expect(page.locator(".imp-note", has_text=f"Copy {copy}").first).to_be_visible()


def used_copies(contract):
    """Every copy that was ever used, by anybody."""
    return [(event.values["id"], event.values["copy"]) for event in contract.events("LicenseUsed")]


def id_of(demo, number):
    return license_id(demo.facts["owner"]["account"], number_from_text(number))


@pytest.fixture(scope="module")
def issued(owner, demo):
    upload_and_issue(owner, demo, NUMBER, 2)
    return id_of(demo, NUMBER)


def test_owner_issues_two_copies(owner, demo, contract, issued):
    license = contract.license_of(issued)
    assert (license.remaining, license.used) == (2, 0)
    assert license.printer == demo.facts["printer"]["wallet"]
    assert license.file_hash == sha256_file(Path(demo.facts["example"]))
    expect(owner.locator(".gauge-text")).to_contain_text("2")
    expect(owner.get_by_text(format_id(issued))).to_be_visible()
    # What the portal read from the G-code.
    owner.goto(f"{demo.facts['portal']}/designs")
    design = owner.locator(".design-card").first
    expect(design).to_contain_text("PLA")
    assert design.locator("img").evaluate("image => image.naturalWidth") > 0


def test_operator_prints_both_copies_and_no_third(operator, owner, demo, contract, issued):
    part_lines = gcode_lines(Path(demo.facts["example"]).read_text())

    for copy, left in ((1, 1), (2, 0)):
        since = demo.mark()
        open_licensed_jobs(operator, demo)
        expect(card(operator, NUMBER)).to_contain_text(f"{left + 1} of 2")
        print_once(operator, demo, NUMBER, copy, 2)
        license = contract.license_of(issued)
        assert (license.remaining, license.used) == (left, copy)
        received = [line for line in demo.received(since) if not OWN_QUERIES.match(line)]
        assert received == [*(line for line in part_lines if not OWN_QUERIES.match(line)), AT_THE_END]
        owner.goto(f"{demo.facts['portal']}/licenses/{format_id(issued)}")
        expect(owner.locator(".gauge-text strong")).to_have_text(str(left))

    open_licensed_jobs(operator, demo)
    expect(operator.locator(".imp-empty", has_text="Nothing to print")).to_be_visible()
    expect(card(operator, NUMBER)).to_have_count(0)

    uses, since = used_copies(contract), demo.mark()
    answer = operator.evaluate(
        """async id => {
            try { return await OctoPrint.postJson(`plugin/imprimatur/licenses/${id}/print`, {}) }
            catch (error) { return [error.status, error.responseJSON.reason.key, error.responseJSON.error] }
        }""",
        format_id(issued),
    )
    assert answer[:2] == [409, "no_copies_left"]
    assert "copies left" in answer[2] or "copy left" in answer[2]
    assert used_copies(contract) == uses
    assert [line for line in demo.received(since) if line.startswith("G")] == []
    assert contract.license_of(issued).used == 2


def test_explorer_shows_the_same_to_anybody(browser, demo, issued):
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    page.goto(f"{demo.facts['portal']}/explorer")
    page.get_by_label("License number or id").fill(NUMBER)
    page.get_by_role("button", name="Search").click()
    # A page asked for while another is on its way has no certain end: each look waits for the one before.
    page.wait_for_url(re.compile(r"q="))
    searched, rows = page.url, page.locator("#events tbody tr")

    def is_read():
        page.goto(searched)
        return rows.count() == 3

    wait_for("the portal has read the last use", is_read, 30, poll=0.5)
    assert [row.get_attribute("data-event") for row in rows.all()] == ["used", "used", "issued"]
    assert {row.get_attribute("data-license") for row in rows.all()} == {format_id(issued)}
    assert context.cookies() == []
    context.close()


def test_tampered_file_is_refused_before_any_transaction(owner, operator, demo, contract):
    upload_and_issue(owner, demo, TAMPERED_NUMBER, 1)
    id = id_of(demo, TAMPERED_NUMBER)
    # One design, one sealed file; nothing of it lies in the clear.
    (stored,) = [path for path in (demo.state / "portal" / "files").rglob("*") if path.is_file()]
    original = stored.read_bytes()
    assert original.startswith(b"age-encryption.org/v1")
    middle = len(original) // 2
    stored.write_bytes(original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :])
    uses, since = used_copies(contract), demo.mark()
    try:
        open_licensed_jobs(operator, demo)
        card(operator, TAMPERED_NUMBER).get_by_role("button", name="Print").click()
        operator.locator("#imprimatur_confirm").get_by_role("button", name="Print").click()
        expect(operator.locator(".imp-note", has_text="isn't the one that its owner sealed")).to_be_visible(
            timeout=60_000
        )
    finally:
        stored.write_bytes(original)
    assert used_copies(contract) == uses
    assert contract.license_of(id).used == 0
    assert [line for line in demo.received(since) if line.startswith("G")] == []

    # The portal delivers the right bytes again: the copy is still there and prints.
    open_licensed_jobs(operator, demo)
    print_once(operator, demo, TAMPERED_NUMBER, 1, 1)
    assert contract.license_of(id).used == 1


def test_the_printer_never_had_coins(demo, contract):
    wallet = demo.facts["printer"]["wallet"]
    assert int(contract.rpc.call("eth_getBalance", [wallet, "latest"]), 16) == 0
    assert next_nonce(contract.rpc, wallet) == 0
