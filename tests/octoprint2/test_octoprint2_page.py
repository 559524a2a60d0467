"""The tab of licensed jobs in OctoPrint 2.0's page: one copy is printed by clicking."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support.licensed_printer import START_SCRIPT, Issue, Printer

QUIET_CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PATIENCE = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("IMPRIMATUR_CHROMIUM") or shutil.which("chromium")
    assert executable, "Chromium is missing; `run.py test octoprint2` says how to install it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, printer: Printer) -> Iterator[Page]:
    """Signed in as an operator, at the licensed jobs."""
    expect.set_options(timeout=PATIENCE)
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(printer.octoprint.url)
    page.locator("#login-user").fill("operator")
    page.locator("#login-password").fill(printer.octoprint.password)
    page.locator("#login-button").click()
    page.wait_for_selector("#tab_plugin_imprimatur_link", state="attached")
    page.wait_for_function(
        "typeof Imprimatur !== 'undefined' && $('#page-container-loading').is(':hidden') "
        "&& typeof ko.dataFor($('#tab_plugin_imprimatur > div')[0]) === 'object'"
    )
    page.evaluate("$('#tab_plugin_imprimatur_link a').tab('show')")
    yield page
    context.close()


def test_a_copy_is_printed_by_clicking(page: Page, printer: Printer, issue: Issue) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    license = issue(copies=2, name="bracket.gcode")
    mark = printer.octoprint.mark()
    page.get_by_role("button", name="Refresh").click()
    card = page.locator(".imp-card", has_text="bracket.gcode")
    expect(card).to_be_visible()
    card.get_by_role("button", name="Print").click()
    dialog = page.locator("#imprimatur_confirm")
    expect(dialog).to_contain_text("copy 1 of 2")
    dialog.get_by_role("button", name="Print").click()
    ended = page.locator(".imp-note-good", has_text="bracket.gcode")
    expect(ended).to_contain_text("Copy 1 was printed.")
    assert printer.octoprint.received(mark) == [START_SCRIPT, *license.lines, "M400"]
    assert printer.used(license.id) == 1

    page.evaluate("$('#term_link a').tab('show')")
    terminal = page.locator("#terminal-output")
    expect(terminal).to_contain_text("Lines of a licensed job aren't shown here.")
    expect(terminal).not_to_contain_text("G1 X")
    assert troubles == []
