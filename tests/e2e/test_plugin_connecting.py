"""An empty printer is set up in OctoPrint's wizard and settings: invitation, camera, key, trust, policy."""

import json

from playwright.sync_api import expect
from print_shop import (
    DESK,
    INVITATIONS,
    PHONE,
    TOKEN,
    close_settings,
    settings,
    show_jobs,
    too_wide,
)

from support import camera, softhsm
from support.octoprint import wait_for


def test_the_wizard_connects_an_empty_printer(page, shop):
    wizard = page.locator("#wizard_dialog")
    expect(page.locator(".imp-empty", has_text="This printer isn't connected yet")).to_be_visible()
    following = wizard.get_by_role("button", name="Next")
    expect(wizard.get_by_text("Print parts of others")).to_be_visible()
    following.click()
    key = shop.octoprint.get("/plugin/imprimatur/setup")["key"]
    expect(wizard.locator(".imp-key")).to_contain_text(key["fingerprint"])
    expect(wizard.locator(".imp-key")).to_contain_text(key["address"])
    wizard.get_by_label("In a security chip or token").check()
    expect(wizard.get_by_label("PKCS #11 module", exact=True)).to_be_visible()
    wizard.get_by_label("In a file of this machine").check()
    following.click()

    # A slip of the pen is told beside the field, and nothing has changed.
    wizard.get_by_label("Invitation", exact=True).fill("too short")
    wizard.get_by_role("button", name="Look at it").click()
    expect(wizard.locator(".imp-problem", has_text="isn't an invitation")).to_be_visible()

    # The photo of the portal's QR code holds both, the code and the portal.
    ticket = {"imprimatur": 1, "portal": shop.portal.url, "invitation": INVITATIONS[0]}
    photo = {"name": "code.png", "mimeType": "image/png", "buffer": camera.photo(json.dumps(ticket))}
    wizard.locator("input[type=file]").set_input_files(photo)
    preview = wizard.locator(".imp-preview")
    for told in (shop.portal.url, shop.portal.contract, shop.portal.desk_address, str(shop.chain.chain_id)):
        expect(preview).to_contain_text(told)
    page.set_viewport_size(PHONE)
    assert too_wide(page) == []
    page.set_viewport_size(DESK)
    assert shop.portal.invitations[INVITATIONS[0]] is None
    assert not shop.octoprint.get("/plugin/imprimatur/setup")["done"]
    preview.get_by_label("Address of a chain node").fill(shop.chain.url)
    preview.get_by_role("button", name="Connect this printer").click()
    expect(wizard.locator(".imp-connected", has_text="Left bay")).to_contain_text("Aero Spares")
    assert shop.portal.invitations[INVITATIONS[0]] == key["address"]

    following.click()
    expect(wizard.get_by_label("Only licensed jobs")).to_be_checked()
    following.click()
    expect(wizard.locator(".imp-checks .imp-good")).to_have_count(4)
    expect(wizard.get_by_text("ready for licensed jobs")).to_be_visible()
    wizard.get_by_role("button", name="Finish").click()
    expect(wizard).to_be_hidden()
    assert shop.octoprint.get("/plugin/imprimatur/setup")["done"]
    show_jobs(page)
    expect(page.locator(".imp-empty", has_text="Nothing to print")).to_contain_text(key["address"])


def test_the_camera_reads_a_code(page, shop, film):
    """The pages see what Chromium shows as its camera; what reads the code is this test's."""
    ours = settings(page)
    ours.get_by_role("button", name="Connect with another invitation").click()
    scan = ours.get_by_role("button", name="Scan the QR code")
    camera.film(film, None)
    page.context.clear_permissions()
    scan.click()
    expect(ours.locator(".imp-scan .imp-problem")).to_contain_text("The camera can't be used.")
    page.context.grant_permissions(["camera"])
    scan.click()
    seen = ours.get_by_label("What the camera sees")
    expect(seen).to_be_visible()
    expect(ours.locator(".imp-scan .imp-problem")).to_be_hidden()
    page.wait_for_function("$('.imp-scan video:visible')[0].videoWidth > 0")
    page.set_viewport_size(PHONE)
    assert too_wide(page) == []
    page.set_viewport_size(DESK)
    ours.get_by_role("button", name="Stop the camera").click()
    expect(seen).to_be_hidden()
    assert ours.get_by_label("Invitation", exact=True).input_value() == ""

    ticket = {"imprimatur": 1, "portal": shop.portal.url, "invitation": INVITATIONS[1]}
    camera.film(film, json.dumps(ticket))
    scan.click()
    expect(ours.locator(".imp-preview")).to_contain_text(shop.portal.contract)
    expect(ours.get_by_label("Invitation", exact=True)).to_have_value(INVITATIONS[1])
    expect(seen).to_be_hidden()
    lights = "[...document.querySelectorAll('video')].flatMap(one => one.srcObject?.getTracks() || [])"
    assert set(page.evaluate(f"{lights}.map(track => track.readyState)")) == {"ended"}
    assert shop.portal.invitations[INVITATIONS[1]] is None
    close_settings(page)


def test_the_key_moves_into_a_token_and_back(page, shop):
    before = shop.setup()["key"]
    ours = settings(page)
    key = ours.locator(".imp-key")
    ours.get_by_label("In a security chip or token").check()
    ours.get_by_label("PKCS #11 module", exact=True).fill(str(softhsm.module()))
    ours.get_by_label("Token", exact=True).fill(TOKEN)
    ours.get_by_label("Label of the key").fill("printer")
    ours.get_by_label("Make the key, if the token has none of this label").check()
    pin, use = ours.get_by_label("PIN", exact=True), ours.get_by_role("button", name="Use this key")
    pin.fill("00000")
    use.click()
    problem = ours.locator(".imp-problem", has_text="The key can't be used")
    expect(problem).to_contain_text("PIN")
    expect(problem).to_contain_text("Nothing was changed and no copy was used.")
    expect(key).to_contain_text(before["address"])
    pin.fill(softhsm.PIN)
    use.click()
    expect(key).not_to_contain_text(before["address"])
    expect(problem).to_be_hidden()
    expect(pin).to_have_value("")
    found = shop.setup()
    assert (found["key"]["store"], found["done"]) == ("pkcs11", False), "the portal has invited another key"
    expect(key).to_contain_text(found["key"]["fingerprint"])
    expect(page.locator(".imp-head .imp-fingerprint")).to_have_text(found["key"]["fingerprint"])

    ours.get_by_label("In a file of this machine").check()
    use.click()
    expect(key).to_contain_text(before["address"])
    assert shop.setup()["done"]
    close_settings(page)


def test_a_plugin_that_sees_the_lines_has_to_be_trusted(page, shop):
    answer = shop.octoprint.print_license(1)
    assert answer.status_code == 409
    assert "Line listener" in answer.json()["error"]
    ours = settings(page)
    ours.get_by_label("Line listener").check()
    ours.get_by_role("button", name="Trust the chosen ones").click()
    expect(ours.get_by_role("button", name="Trust the chosen ones")).to_be_disabled()
    wait_for("It is trusted", lambda: "line_listener" in shop.trusted())
    close_settings(page)


def test_policy_asks_for_the_password_again(page, shop):
    ours = settings(page)
    page.evaluate("ko.dataFor($('#reauthenticate_dialog')[0]).credentialsSeen(null)")
    ours.get_by_label("Licensed jobs and own files").check()
    ours.get_by_role("button", name="Change what may be printed").click()
    again = page.locator("#reauthenticate_dialog")
    again.locator("input[type=password]").fill("wrong")
    again.get_by_role("button", name="Confirm").click()
    expect(again.get_by_text("Wrong password?")).to_be_visible()
    assert shop.setup()["gate"]["policy"] == "licensed_only"
    again.locator("input[type=password]").fill(shop.octoprint.password)
    again.get_by_role("button", name="Confirm").click()
    expect(again).to_be_hidden()
    expect(page.locator(".imp-head .imp-chip")).to_contain_text("Licensed jobs and own files")
    assert shop.setup()["gate"]["policy"] == "licensed_and_free"
    # It was typed a moment ago: no question this time.
    ours.get_by_label("Only licensed jobs").check()
    ours.get_by_role("button", name="Change what may be printed").click()
    expect(page.locator(".imp-head .imp-chip")).to_contain_text("Only licensed jobs")
    close_settings(page)
