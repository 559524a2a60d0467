"""One demo, started as users start it, one print shop, and one real browser for all tests of this folder."""

import os
import shutil
import signal

import pytest
from playwright.sync_api import expect, sync_playwright
from print_shop import DESK, open_octoprint, open_shop

from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from support import camera
from support.demo import RunningDemo

QUIET_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def state(tmp_path_factory):
    """Folder of the demo's data. What was started in it before `demo` must have ended."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo(state):
    running = RunningDemo(state)
    running.start()
    yield running
    running.end(signal.SIGINT)


@pytest.fixture(scope="session")
def contract(demo):
    """The deployed contract, asked directly."""
    return PrintLicense(HttpRpc(demo.facts["chain"]), demo.facts["contract"], demo.facts["contract_since"])


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """File with what the browser's camera sees."""
    return tmp_path_factory.mktemp("camera") / "film.y4m"


@pytest.fixture(scope="session")
def browser(film):
    executable = os.environ.get("IMPRIMATUR_CHROMIUM") or shutil.which("chromium")
    assert executable, "Chromium is missing; `run.py test e2e` says how to install it"
    with sync_playwright() as playwright:
        camera_arguments = [*camera.ARGUMENTS, f"--use-file-for-fake-video-capture={film}"]
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*QUIET_CHROMIUM, *camera_arguments]
        )
        yield browser
        browser.close()


def _context(browser):
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    return context


@pytest.fixture(scope="session")
def owner(browser, demo):
    """The owner's browser page, signed in to the portal."""
    context = _context(browser)
    page = context.new_page()
    page.goto(f"{demo.facts['portal']}/login")
    page.get_by_label("E-mail address").fill(demo.facts["owner"]["email"])
    page.get_by_label("Password").fill(demo.facts["owner"]["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)
    yield page
    context.close()


@pytest.fixture(scope="session")
def operator(browser, demo):
    """The operator's browser page, signed in to OctoPrint, at the licensed jobs."""
    context = _context(browser)
    page = context.new_page()
    open_licensed_jobs(page, demo)
    yield page
    context.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    with open_shop(tmp_path_factory.mktemp("octoprint")) as shop:
        yield shop


@pytest.fixture(scope="session")
def page(browser, shop):
    """The administrator's page in the print shop; its browser can read codes in pictures."""
    context = browser.new_context(locale="en-US", viewport=DESK)
    context.set_default_timeout(20_000)
    camera.can_read(context)
    page = context.new_page()
    open_octoprint(page, shop.octoprint)
    yield page
    context.close()


def open_licensed_jobs(page, demo):
    """Load OctoPrint, sign in when it asks, and show the tab of licensed jobs."""
    page.goto(demo.facts["octoprint"])
    login = page.locator("#login-user")
    page.wait_for_selector("#login-user, #tab_plugin_imprimatur_link", state="attached")
    if login.count():
        login.fill(demo.facts["operator"]["name"])
        page.locator("#login-password").fill(demo.facts["operator"]["password"])
        page.locator("#login-button").click()
    page.wait_for_selector("#tab_plugin_imprimatur_link", state="attached")
    page.wait_for_function("typeof OctoPrint !== 'undefined' && $('#page-container-loading').is(':hidden')")
    page.evaluate("$('#tab_plugin_imprimatur_link a').tab('show')")
    page.get_by_role("button", name="Refresh").click()
