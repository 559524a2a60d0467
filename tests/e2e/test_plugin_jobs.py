"""OctoPrint's tab of licensed jobs as operators use it: from the first copy to a copy that waits."""

import hashlib
import re

import pytest
from babel.messages.pofile import read_po
from playwright.sync_api import expect
from print_shop import DESK, PHONE, card, close_settings, open_octoprint, settings, show_jobs, too_wide

from imprimatur.chain.orders import Terms
from imprimatur.license_id import format_id
from support.contrast import ENOUGH, contrasts
from support.delivery_portal import Fault
from support.node import ROOT
from support.octoprint import wait_for
from tools.launcher.processes import free_port

GERMAN = ROOT / "octoprint_plugin/octoprint_imprimatur/translations/de/LC_MESSAGES/messages.po"
# What themes of OctoPrint do: they repaint its parts, and say nowhere that they are dark.
DARK_THEME = """
body, .tab-content, .modal, .modal-header, .modal-body, .modal-footer, .accordion-inner {
    background: #22262b !important; color: #dcdcdc !important;
}
.btn:not(.btn-primary) { background: #3a4048; color: #eee; text-shadow: none; }
.tab-content h3, .modal h3, label, legend { color: #dcdcdc; }"""
OURS = "#tab_plugin_imprimatur, #settings_plugin_imprimatur, .imp-dialog, [id^=wizard_plugin_imprimatur_]"


@pytest.fixture(scope="module", autouse=True)
def connected(page, shop):
    """Whatever was set up before; where this file runs alone, its page has to see it."""
    if not shop.setup()["done"]:
        shop.connect()
        page.reload()
        open_octoprint(page, shop.octoprint)
    shop.connect()
    shop.issue("4711-A4", "cable-clip.gcode", copies=4)


def test_a_copy_is_printed_by_clicking(page, shop):
    shop.issue("AS-0001", "seat-bracket.gcode", copies=60)
    show_jobs(page)
    clip = card(page, "cable-clip")
    expect(clip).to_contain_text("4 of 4 copies left")
    expect(clip.locator(".imp-marks .imp-left")).to_have_count(4)
    expect(card(page, "seat-bracket").locator(".imp-meter")).to_be_visible()
    page.get_by_label("Search by name, number or owner").fill("aero 4711")
    expect(card(page, "")).to_have_count(1)
    page.get_by_label("Search by name, number or owner").fill("nobody has this")
    page.get_by_role("button", name="Clear the search").click()
    expect(card(page, "")).to_have_count(2)

    # News don't close what the operator has opened, and don't take the focus away.
    clip.get_by_text("Terms").click()
    clip.get_by_role("button", name="Print").click()
    dialog = page.locator("#imprimatur_confirm")
    expect(dialog).to_contain_text("This uses copy 1 of 4.")
    # The chain gets nothing for a while, so that there is something to see.
    shop.portal.carries = False
    dialog.get_by_role("button", name="Print").click()
    running = page.locator(".imp-running")
    expect(running.locator("[aria-current=step]")).to_have_text("Consume")
    expect(running.locator(".imp-done")).to_have_count(2)
    expect(running).to_be_focused()
    running.get_by_role("button", name="Withdraw").focus()
    expect(page.get_by_text("A licensed job is under way.")).to_be_visible()
    expect(clip.get_by_role("button", name="Print")).to_be_disabled()
    wait_for("It was sent", lambda: shop.portal.waiting)
    expect(running).to_contain_text("the chain hasn't confirmed it yet")
    page.get_by_role("button", name="Refresh").dispatch_event("click")
    expect(page.get_by_role("button", name="Refresh")).to_be_enabled()
    expect(running.get_by_role("button", name="Withdraw")).to_be_focused()
    shop.portal.carries = True
    shop.portal.carry()
    expect(page.locator(".imp-note-good", has_text="Copy 1 was printed.")).to_be_visible()
    expect(clip).to_contain_text("3 of 4 copies left")
    expect(clip.locator(".imp-marks .imp-used")).to_have_count(1)
    expect(clip.locator("details[open]")).to_be_visible()
    page.get_by_role("button", name="Understood").click()
    expect(page.locator(".imp-note-good")).to_have_count(0)


def test_a_copy_is_printed_by_the_keyboard_alone(page, shop):
    shop.octoprint.wait_until_operational()
    expect(card(page, "cable-clip").get_by_role("button", name="Print")).to_be_enabled()
    page.get_by_role("button", name="Refresh").focus()

    def tab_to(what: str) -> None:
        """Press Tab until the focus is on something that holds these words, and can be seen there."""
        for _ in range(40):
            page.keyboard.press("Tab")
            at = page.evaluate(
                """(() => {
                    const at = document.activeElement, card = at.closest('.imp-card');
                    const outline = getComputedStyle(at).outlineStyle;
                    return [card ? card.innerText : '', at.innerText || '', outline];
                })()"""
            )
            if what in at[0] and at[1].strip() == "Print":
                assert at[2] != "none"
                return
        raise AssertionError(f"Tab never came to {what}")

    tab_to("cable-clip")
    page.keyboard.press("Enter")
    dialog = page.locator("#imprimatur_confirm")
    expect(dialog.get_by_role("button", name="Print")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(card(page, "cable-clip").get_by_role("button", name="Print")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Print")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".imp-note-good", has_text="Copy 2 was printed.")).to_be_visible()


def test_a_used_copy_waits_for_the_blocks_behind_it(page, shop):
    shop.octoprint.wait_until_operational()
    shop.issue("AS-0004", "tray-hinge.gcode")
    shop.set(finality="4")
    show_jobs(page)
    card(page, "tray-hinge").get_by_role("button", name="Print").click()
    page.locator("#imprimatur_confirm").get_by_role("button", name="Print").click()
    running = page.locator(".imp-running")
    expect(running.locator("[aria-current=step]")).to_have_text("Final")
    expect(running.locator(".imp-done")).to_have_count(3)
    expect(running).to_contain_text("Copy 1 is used in a block that could still be replaced. Just wait.")
    used = int(shop.chain.rpc.call("eth_blockNumber", []), 16)
    bar = running.get_by_role("progressbar")
    for mined, percent in ((0, "0"), (1, "25"), (2, "75")):
        shop.chain.rpc.call("anvil_mine", [hex(mined)])
        final = int(shop.chain.rpc.call("eth_blockNumber", []), 16) - 4
        expect(running).to_contain_text(f"Used in block {used}; blocks up to {final} are final.")
        expect(bar).to_have_attribute("aria-valuenow", percent)
    expect(running.locator(".imp-stuck")).to_have_count(0)
    assert shop.octoprint.state() == "Operational", "nothing is sent before the copy is final"
    shop.chain.rpc.call("anvil_mine", ["0x1"])
    expect(page.locator(".imp-note-good", has_text="Copy 1 was printed.")).to_be_visible()
    shop.set(finality="")
    page.get_by_role("button", name="Understood").first.click()


def test_a_license_that_expires_before_ones_eyes(page, shop):
    shop.octoprint.wait_until_operational()
    until = int(shop.chain.rpc.call("eth_getBlockByNumber", ["latest", False])["timestamp"], 16) + 300
    id = shop.issue("AS-0005", "old-cover.gcode", valid_until=until)
    show_jobs(page)
    cover = card(page, "old-cover")
    expect(cover.locator(".imp-chips")).to_contain_text("until ")
    cover.get_by_role("button", name="Print").click()
    shop.chain.rpc.call("evm_setNextBlockTimestamp", [hex(until + 1)])
    shop.chain.rpc.call("evm_mine", [])
    page.locator("#imprimatur_confirm").get_by_role("button", name="Print").click()
    words = "The license has expired. No copy was used. Ask its owner for a new one."
    expect(page.locator(".ui-pnotify", has_text="Refused").last).to_contain_text(words)
    expect(cover).to_have_count(0)
    page.get_by_role("button", name="Show why").click()
    expect(cover.locator(".imp-state")).to_have_text("Expired")
    expect(cover).to_contain_text(words)
    expect(cover.get_by_role("button", name="Print")).to_have_count(0)
    page.get_by_role("button", name="Ready").click()
    assert shop.chain.licenses.license_of(id).used == 0


def test_an_own_file_is_chosen_where_several_are_the_licensed_one(page, shop):
    shop.octoprint.wait_until_operational()
    part = "; mine\nM104 S50\nG28\nM83\n" + "G1 X1 Y1 E0.01 F6000\n" * 50
    id = shop.issue_for("OWN-1", hashlib.sha256(part.encode()).hexdigest())
    # Without a portal every file is the operator's own.
    shop.set(portal_url="")
    page.get_by_role("button", name="Refresh").click()
    mine = page.locator(f".imp-card:has([title='{format_id(id)}'])")
    expect(mine.locator(".imp-missing")).to_contain_text(hashlib.sha256(part.encode()).hexdigest())
    expect(mine.get_by_role("button", name="Print")).to_be_disabled()
    for name in ("mine.gcode", "mine-again.gcode"):
        assert shop.octoprint.upload(name, part).status_code == 201

    def found() -> bool:
        listed = shop.octoprint.licenses()["licenses"]
        return any(len(license["files"]) == 2 for license in listed)

    wait_for("Both files are found", found, poll=0.2)
    # Somebody has to carry the use to the chain.
    shop.set(portal_url=shop.portal.url)
    page.get_by_role("button", name="Refresh").click()
    expect(mine.locator(".imp-missing")).to_have_count(0)
    mine.get_by_role("button", name="Print").click()
    dialog = page.locator("#imprimatur_confirm")
    dialog.get_by_label("mine-again.gcode").check()
    dialog.get_by_role("button", name="Print").click()
    expect(page.locator(".imp-note-good", has_text="Copy 1 was printed.")).to_be_visible()
    (job,) = (job for job in shop.octoprint.jobs() if job["license_id"] == format_id(id))
    assert (job["kind"], job["state"], job["name"]) == ("own_file", "FINISHED", "mine-again.gcode")
    page.get_by_role("button", name="Understood").first.click()


def test_what_cant_be_printed_says_why(page, shop):
    shop.issue("AS-0777", "seat-rail.gcode", flags=int(Terms.TRUSTED_DEVICE))
    gone = shop.issue("AS-0099", "armrest-cap.gcode", flags=int(Terms.REVOCABLE))
    shop.chain.send(shop.owner, shop.chain.licenses.revoke_call(gone))
    show_jobs(page)
    expect(page.locator(".imp-others")).to_contain_text("3")
    expect(card(page, "seat-rail")).to_have_count(0)
    page.get_by_role("button", name="Show why").click()
    expect(card(page, "seat-rail")).to_contain_text("Needs a trusted printer")
    expect(card(page, "armrest-cap")).to_contain_text("The owner has revoked the license.")
    expect(card(page, "armrest-cap").get_by_role("button", name="Print")).to_have_count(0)
    page.get_by_role("button", name="Ready").click()

    # The portal is down: the chain still says what there is.
    shop.portal.faults.append(Fault("/device/jobs", status=500, times=-1))
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator(".imp-note-warn", has_text="Names and files are missing")).to_be_visible()
    shop.portal.faults.clear()
    # The node is down: nothing can be started, and what is shown may be old.
    shop.set(node_url=f"http://127.0.0.1:{free_port()}")
    page.get_by_role("button", name="Refresh").click()
    offline = page.locator(".imp-note-bad", has_text="The licenses can't be read")
    expect(offline).to_contain_text("The chain node doesn't answer.")
    expect(offline).to_contain_text("may be out of date")
    shop.set(node_url=shop.chain.url)
    page.get_by_role("button", name="Refresh").click()
    expect(offline).to_be_hidden()
    # The key desk is down: the copy is paid and waits, and the step says so.
    shop.portal.faults.append(Fault("POST /desk", status=503, headers={"Retry-After": "1"}, times=-1))
    card(page, "cable-clip").get_by_role("button", name="Print").click()
    page.locator("#imprimatur_confirm").get_by_role("button", name="Print").click()
    running = page.locator(".imp-running")
    expect(running.locator("[aria-current=step]")).to_have_text("Key")
    expect(running.locator(".imp-stuck")).to_contain_text("Copy 3 is paid; the key desk")
    shop.portal.faults.clear()
    expect(page.locator(".imp-note-good", has_text="Copy 3 was printed.")).to_be_visible()


def test_after_a_power_cut_nothing_starts_and_the_failure_is_reported(page, shop):
    shop.octoprint.wait_until_operational()
    id = shop.issue("AS-0011", "hinge-cover.gcode", copies=2, lines=15_000, failures_allowed=1)
    answer = shop.octoprint.print_license(id)
    job = answer.json()["job"]["id"]
    wait_for("It prints", lambda: shop.octoprint.job(job)["state"] == "PRINTING", poll=0.02)
    # An open page loads itself anew when OctoPrint is back, just while the test wants to.
    page.goto("about:blank")
    shop.octoprint.kill()
    shop.octoprint.start()
    since = shop.octoprint.mark()
    open_octoprint(page, shop.octoprint)
    show_jobs(page)
    banner = page.locator(".imp-recovery")
    expect(banner).to_contain_text("A print didn't come to its end")
    expect(banner).to_contain_text("Take the part off the bed and report the failure.")
    assert [line for line in shop.octoprint.received(since) if line.startswith("G1")] == []
    assert shop.octoprint.state() == "Operational"

    banner.get_by_role("button", name="Report failure").click()
    dialog = page.locator("#imprimatur_failure")
    expect(dialog.get_by_label("The part came off the bed")).to_be_focused()
    dialog.get_by_role("button", name="Report failure").click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Power cut, or the printer stopped").check()
    dialog.get_by_label("Note for the owner").fill("At layer 12.")
    expect(dialog).to_contain_text("188 characters left")
    dialog.get_by_role("button", name="Report failure").click()
    expect(dialog).to_be_hidden()
    expect(banner).to_have_count(0)
    expect(page.locator(".imp-note", has_text="the license gave the copy back")).to_be_visible()
    assert shop.octoprint.job(job)["failure"] == {"reason": "power", "note": "At layer 12."}
    (failed,) = shop.chain.licenses.events("PrintFailed", id=id)
    assert failed.values["copy"] == 1
    expect(card(page, "hinge-cover")).to_contain_text("2 of 3 copies left")


def test_a_paid_copy_waits_in_the_banner(page, shop):
    shop.octoprint.wait_until_operational()
    id = shop.issue("AS-0012", "shade-clip.gcode", copies=2, travel=20_000)
    job = shop.octoprint.print_license(id).json()["job"]["id"]
    wait_for("It heats up", lambda: shop.octoprint.state() == "Printing", poll=0.02)
    expect(page.locator(".imp-running")).to_contain_text("cancelling keeps the copy")
    # OctoPrint's own panel tells the size of the licensed file, not that of its placeholder.
    size = shop.portal.served[id].manifest.file_size
    page.wait_for_function("size => ko.dataFor($('#state')[0]).filesize() === size", arg=size)
    assert shop.octoprint.post("/api/job", command="cancel").status_code == 204
    shop.octoprint.wait_for_state(job, "KEYED")
    banner = page.locator(".imp-recovery")
    expect(banner).to_contain_text("A paid copy waits to be printed")
    expect(banner).to_contain_text("costs no further copy")
    shop.octoprint.wait_until_operational()
    expect(card(page, "shade-clip").get_by_role("button", name="Print")).to_be_disabled()
    expect(card(page, "shade-clip")).to_contain_text("Print that one first.")
    banner.get_by_role("button", name="Print").click()
    dialog = page.locator("#imprimatur_confirm")
    expect(dialog).to_contain_text("copy 1 of 2, which is paid already")
    dialog.get_by_role("button", name="Cancel").first.click()
    expect(dialog).to_be_hidden()


def test_everything_can_be_read_and_fits_a_phone(page, shop):
    """Light and dark, wide and narrow, tab, dialogs and settings."""
    page.get_by_role("button", name="All").click()
    page.evaluate("$('#tab_plugin_imprimatur details').attr('open', true)")

    def look_at_all() -> None:
        def look() -> None:
            read = contrasts(page, OURS)
            assert len(read) > 10
            assert [text for text in read if text["contrast"] < ENOUGH] == []
            if page.viewport_size == PHONE:
                wide = too_wide(page)
                assert wide == [], wide[:5]

        look()
        for opener, dialog in ((".imp-waiting .btn-primary", "#imprimatur_confirm"),):
            page.locator(opener).first.click()
            expect(page.locator(f"{dialog} .btn-primary")).to_be_focused()
            look()
            page.keyboard.press("Escape")
            expect(page.locator(dialog)).to_be_hidden()
        ours = settings(page)
        ours.get_by_label("In a security chip or token").check()
        ours.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        look()
        ours.get_by_label("In a file of this machine").check()
        close_settings(page)

    look_at_all()
    page.set_viewport_size(PHONE)
    look_at_all()
    page.set_viewport_size(DESK)
    page.add_style_tag(content=DARK_THEME)
    page.evaluate("Imprimatur.followTheme()")
    assert page.evaluate("document.documentElement.classList.contains('imp-dark')")
    look_at_all()


def english_sentences() -> list[re.Pattern[str]]:
    """What we say in English and differently in German."""
    with GERMAN.open("rb") as file:
        said = [(str(message.id), str(message.string)) for message in read_po(file) if message.id]
    patterns = []
    for english, german in said:
        if english != german and re.sub(r"%\(\w+\)[sd]", "", english).strip(" :·."):
            escaped = re.escape(english).replace("%%", "%")
            patterns.append(re.compile(re.sub(r"%\\\(\w+\\\)[sd]", ".+", escaped)))
    return patterns


def test_a_german_page_has_no_english_sentence_of_ours(browser, shop):
    """As an operator without the right to set anything up sees it."""
    context = browser.new_context(locale="de-DE", viewport=DESK)
    context.set_default_timeout(20_000)
    page = context.new_page()
    open_octoprint(page, shop.octoprint, "operator")
    show_jobs(page)
    page.get_by_role("button", name="Alle").click()
    expect(card(page, "cable-clip")).to_be_visible()
    expect(page.locator("#tab_plugin_imprimatur").get_by_role("button", name="Einstellungen")).to_be_hidden()
    page.evaluate("$('#tab_plugin_imprimatur details').attr('open', true)")
    said = page.evaluate(
        """roots => [...document.querySelectorAll(roots)].flatMap(root => {
            const found = [], what = NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT;
            const names = ['title', 'aria-label', 'placeholder'];
            const walk = document.createTreeWalker(root, what);
            for (let at = walk.nextNode(); at; at = walk.nextNode()) {
                if (at.nodeType === Node.TEXT_NODE) found.push(at.data);
                else found.push(...names.map(name => at.getAttribute(name) || ''));
            }
            return found.map(text => text.replace(/\\s+/g, ' ').trim()).filter(Boolean)
        })""",
        OURS,
    )
    assert "Lizenzierte Aufträge" in said
    english = english_sentences()
    assert [text for text in said for pattern in english if pattern.fullmatch(text)] == []
    # A browser that finds no codes in pictures isn't offered to.
    assert page.evaluate("typeof BarcodeDetector") == "undefined"
    assert page.evaluate("$('.imp-photo').closest('p').css('display')") == "none"
    context.close()
