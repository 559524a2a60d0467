"""A print shop for the tests of the plugin's pages, and how its people get about in OctoPrint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from imprimatur.chain.signers import KeySigner
from support import softhsm
from support.delivery_portal import DeliveryPortal, running_portal
from support.node import Chain, running_chain
from support.octoprint import OctoPrint, running_octoprint, wait_for

LISTENER = Path(__file__).parent / "line_listener.py"
INVITATIONS = ("7K2PM-QX4RT-9BCDE-0FGHJ-KMNPQ", "3RT9W-0FGHJ-QX4RT-KMNPQ-9BCDE")
TOKEN = "print-shop"
"""Label of a token with nothing in it, beside the printer."""
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@dataclass
class Shop:
    """The print shop: its OctoPrint, the portal and the chain, and the owner who issues licenses to it."""

    octoprint: OctoPrint
    portal: DeliveryPortal
    chain: Chain
    owner: KeySigner

    @property
    def address(self) -> str:
        """Once the key is opened, which takes a moment after a start."""
        return wait_for("The key is open", lambda: self.setup()["key"]["address"])

    def issue(
        self, number: str, name: str, copies: int = 4, lines: int = 200, travel: int = 0, **terms
    ) -> int:
        """A license for a part that first travels, then feeds material."""
        moves = "".join(f"G1 X{i % 90} Y{i % 7} F6000\n" for i in range(travel))
        part = "".join(f"G1 X{i % 90} Y{i % 7} E0.0{i % 9 + 1} F6000\n" for i in range(lines))
        data = f"; {number}\nM104 S50\nG28\nM83\n{moves}{part}M104 S0\n".encode()
        return self.portal.offer(self.owner, self.address, data, copies, number, name=name, **terms)

    def trusted(self) -> list[str]:
        return self.setup()["trusted_hooks"]

    def issue_for(self, number: str, file_hash: str) -> int:
        """A license for a file that no portal delivers."""
        return self.chain.issue(self.owner, self.address, file_hash, 2, number)

    def setup(self) -> dict:
        return self.octoprint.get("/plugin/imprimatur/setup")

    def connect(self) -> None:
        """What an operator does in the wizard and the settings, if nobody has done it yet."""
        if not self.setup()["done"]:
            code, node = INVITATIONS[0], self.chain.url
            body = {"invitation": code, "portal_url": self.portal.url, "node_url": node}
            assert self.octoprint.post("/plugin/imprimatur/setup/enrol", **body).status_code == 200
        trusted = {"trusted_hooks": ["line_listener"]}
        assert self.octoprint.post("/plugin/imprimatur/setup/trusted_hooks", **trusted).status_code == 200

    def set(self, **settings) -> None:
        body = {"plugins": {"imprimatur": settings}}
        assert self.octoprint.post("/api/settings", **body).status_code == 200


@contextmanager
def open_shop(basedir: Path) -> Iterator[Shop]:
    """An empty printer, to which the portal has given invitations."""
    softhsm.new_token(TOKEN)
    with (
        running_chain() as chain,
        running_portal(chain) as portal,
        running_octoprint(basedir, {}, [LISTENER]) as octoprint,
    ):
        portal.invitations.update(dict.fromkeys(INVITATIONS))
        yield Shop(octoprint, portal, chain, chain.account())


def open_octoprint(page: Page, octoprint: OctoPrint, user: str = "admin") -> None:
    """Load the page, and sign in when it asks."""
    page.goto(octoprint.url)
    page.wait_for_selector("#login-user, #tab_plugin_imprimatur_link", state="attached")
    if page.locator("#login-user").count():
        page.locator("#login-user").fill(user)
        page.locator("#login-password").fill(octoprint.password)
        page.locator("#login-button").click()
    page.wait_for_selector("#tab_plugin_imprimatur_link", state="attached")
    page.wait_for_function(
        "typeof Imprimatur !== 'undefined' && $('#page-container-loading').is(':hidden') "
        "&& typeof ko.dataFor($('#tab_plugin_imprimatur > div')[0]) === 'object'"
    )


def show_jobs(page: Page) -> None:
    page.evaluate("$('#tab_plugin_imprimatur_link a').tab('show')")
    page.get_by_role("button", name=re.compile("Refresh|Neu laden")).click()


def card(page: Page, text: str):
    return page.locator(".imp-card:not(.imp-running)", has_text=text)


def settings(page: Page):
    """Our page in OctoPrint's settings, opened."""
    page.locator("#tab_plugin_imprimatur").get_by_role("button", name="Settings").click()
    ours = page.locator("#settings_plugin_imprimatur")
    expect(ours).to_be_visible()
    return ours


def close_settings(page: Page) -> None:
    page.locator('[data-test-id="settings-close-x"]').click()
    expect(page.locator("#settings_dialog")).to_be_hidden()


def too_wide(page: Page) -> list[str]:
    """What of ours is wider than the screen, sticks out of its place, or has to be scrolled sideways."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.imprimatur')].filter(root => root.checkVisibility())
            .flatMap(root => {
                const limit = Math.min(root.getBoundingClientRect().right,
                    root.getBoundingClientRect().left + innerWidth) + 1;
                return [root, ...root.querySelectorAll('*:not(.imp-sr)')]
                    .filter(element => element.checkVisibility())
                    .filter(element => element.getBoundingClientRect().right > limit
                        || (['auto', 'scroll'].includes(getComputedStyle(element).overflowX)
                            && element.scrollWidth > element.clientWidth))
                    .map(element => `${element.tagName}.${element.className}`);
            })"""
    )
