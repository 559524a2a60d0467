"""The pictures of the plugin's README: a fresh OctoPrint, from its wizard to a print, in headless Chromium.

Part of `run.py pictures`; alone: `python -m tools.plugin_pictures`. Portal and key desk are the tests'.
"""

import base64
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.delivery_portal import DeliveryPortal, running_portal  # noqa: E402
from support.node import Chain, running_chain  # noqa: E402
from support.octoprint import OctoPrint, running_octoprint, wait_for  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
PART = ROOT / "examples" / "cable-clip" / "cable-clip.gcode"
DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
INVITATION = "7K2PM-QX4RT-9BCDE-0FGHJ-KMNPQ"
MONTH = 30 * 86400


def thumbnail() -> bytes:
    """The larger picture that the slicer put into the part's file."""
    found = re.findall(r"; thumbnail begin .*?\n(.*?); thumbnail end", PART.read_text(), re.DOTALL)
    return base64.b64decode(re.sub(r"[;\s]", "", max(found, key=len)))


def issue(chain: Chain, portal: DeliveryPortal, address: str) -> None:
    """The licenses that the pictures show."""
    owner, part, month = chain.account(), PART.read_bytes(), int(time.time()) + MONTH
    bracket, lever = part + b"; bracket\n", part + b"; lever\n"
    portal.offer(owner, address, lever, 2, "AS-2026-0031", name="tray-table-lever.gcode", thumbnail=None)
    portal.offer(
        owner,
        address,
        bracket,
        25,
        "AS-2026-0001",
        name="seat-bracket.gcode",
        thumbnail=None,
        valid_until=month,
    )
    terms = {"failures_allowed": 2, "thumbnail": thumbnail()}
    portal.offer(owner, address, part, 4, "4711-A4-58572", name="cable-clip.gcode", **terms)


class Album:
    """One browser page, and what is photographed of it."""

    def __init__(self, page: Page, octoprint: OctoPrint) -> None:
        self.page = page
        self.octoprint = octoprint

    def photograph(self, name: str, selector: str | None = None) -> None:
        """The screen, or only what a CSS selector finds."""
        self.page.wait_for_timeout(800)
        path = FOLDER / f"plugin-{name}.png"
        if selector is None:
            self.page.screenshot(path=path)
        else:
            self.page.locator(selector).first.screenshot(path=path)

    def sign_in(self) -> None:
        page = self.page
        page.goto(self.octoprint.url)
        page.locator("#login-user").fill("admin")
        page.locator("#login-password").fill(self.octoprint.password)
        page.locator("#login-button").click()

    def set_up(self, chain: Chain, portal: DeliveryPortal) -> None:
        """Through the wizard, by an invitation."""
        portal.invitations[INVITATION] = None
        wizard = self.page.locator("#wizard_dialog")
        following = wizard.get_by_role("button", name="Next")
        following.click()
        wizard.locator(".imp-key").wait_for()
        following.click()
        wizard.get_by_label("Invitation", exact=True).fill(INVITATION)
        wizard.get_by_label("Address of the portal").fill(portal.url)
        wizard.get_by_role("button", name="Look at it").click()
        wizard.get_by_label("Address of a chain node").fill(chain.url)
        self.photograph("wizard")
        wizard.get_by_role("button", name="Connect this printer").click()
        wizard.locator(".imp-connected").get_by_text("Aero Spares").wait_for()
        following.click()
        following.click()
        wizard.get_by_text("ready for licensed jobs").wait_for()
        wizard.get_by_role("button", name="Finish").click()
        wizard.wait_for(state="hidden")

    def read_the_list(self) -> None:
        self.page.evaluate("$('#tab_plugin_imprimatur_link a').tab('show')")
        self.page.get_by_role("button", name="Refresh").click()
        self.page.locator(".imp-card", has_text="cable-clip").wait_for()

    def ask(self) -> None:
        card = self.page.locator(".imp-card", has_text="cable-clip")
        card.get_by_role("button", name="Print").click()
        self.page.locator("#imprimatur_confirm .btn-primary").wait_for()

    def agree(self) -> None:
        self.page.locator("#imprimatur_confirm .btn-primary").click()


def take(browser: Browser) -> None:
    """Make all of them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_chain() as chain,
        running_portal(chain) as portal,
        running_octoprint(Path(folder), {}) as octoprint,
    ):
        context = browser.new_context(viewport=DESK, locale="en-US")
        album = Album(context.new_page(), octoprint)
        album.sign_in()
        album.set_up(chain, portal)
        issue(chain, portal, octoprint.get("/plugin/imprimatur/setup")["key"]["address"])
        album.read_the_list()
        album.ask()
        album.agree()
        album.page.locator(".imp-note-good", has_text="Copy 1 was printed.").wait_for(timeout=120_000)
        octoprint.wait_until_operational()
        album.photograph("tab")
        album.page.set_viewport_size(PHONE)
        album.page.locator("#tab_plugin_imprimatur .imp-head").evaluate(
            "element => { const at = element.getBoundingClientRect();"
            " scrollTo(at.left + scrollX - 12, at.top + scrollY - 12) }"
        )
        album.photograph("phone")
        album.page.set_viewport_size(DESK)
        album.page.evaluate("scrollTo(0, 0)")
        album.ask()
        album.photograph("confirm", "#imprimatur_confirm")
        # What is sent stays with the portal until the picture is taken.
        portal.carries = False
        album.agree()
        wait_for("It was sent", lambda: portal.waiting)
        album.page.locator(".imp-running", has_text="hasn't confirmed it yet").wait_for()
        album.photograph("steps", ".imp-running")
        portal.carries = True
        portal.carry()
        album.page.locator(".imp-note-good", has_text="Copy 2 was printed.").wait_for(timeout=120_000)
        album.page.locator("#tab_plugin_imprimatur").get_by_role("button", name="Settings").click()
        album.photograph("settings")
        context.close()


def main() -> int:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        take(browser)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
