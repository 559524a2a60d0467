"""The READMEs' pictures, taken from a running demo: `run.py pictures`.

Plays a little of the story through HTTP and photographs each screen in headless Chromium.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tools import plugin_pictures
from tools.plugin_pictures import CHROMIUM_FLAGS
from tools.story import Owner, Printer

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SIZE = {"width": 1200, "height": 800}
NUMBER = "4711-A4-58572"


def sign_in_to_octoprint(page: Page, demo: dict[str, Any]) -> None:
    page.goto(demo["octoprint"])
    page.locator("#login-user").fill(demo["operator"]["name"])
    page.locator("#login-password").fill(demo["operator"]["password"])
    page.locator("#login-button").click()
    page.wait_for_selector("#tab_plugin_imprimatur_link", state="attached")
    page.wait_for_function("typeof OctoPrint !== 'undefined' && $('#page-container-loading').is(':hidden')")
    page.evaluate("$('#tab_plugin_imprimatur_link a').tab('show')")
    page.get_by_role("button", name="Refresh").click()
    page.locator(".imp-card").first.wait_for()
    page.wait_for_timeout(800)


def sign_in_to_portal(page: Page, demo: dict[str, Any]) -> None:
    page.goto(f"{demo['portal']}/login")
    page.get_by_label("E-mail address").fill(demo["owner"]["email"])
    page.get_by_label("Password").fill(demo["owner"]["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login" not in url)


def main() -> int:
    demo = json.loads(Path(sys.argv[1]).read_text())
    owner, printer = Owner(demo), Printer(demo)
    design, _sha256 = owner.upload(Path(demo["example"]))
    id = owner.issue(design, demo["printer"]["name"], NUMBER, 4)
    owner.issue(design, demo["printer"]["name"], "AS-2026-0001", 25)
    printer.card(id)
    printer.finished(printer.print(id).json()["job"]["id"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport=SIZE, locale="en-US")
        page = context.new_page()
        sign_in_to_portal(page, demo)
        for name, address in (("portal", f"/licenses/{id}"), ("explorer", "/explorer")):
            page.goto(demo["portal"] + address)
            page.wait_for_timeout(800)
            page.screenshot(path=FOLDER / f"{name}.png")
        sign_in_to_octoprint(page, demo)
        page.screenshot(path=FOLDER / "octoprint.png")
        plugin_pictures.take(browser)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
