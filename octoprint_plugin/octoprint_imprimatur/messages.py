"""What operators are told. Each sentence says what happened, whether a copy was used, and what to do next.

The English texts are the message ids of the translations: browsers translate them with `gettext`, views with
flask-babel. Placeholders are Python's `%(name)s`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from imprimatur.device import reasons
from imprimatur.errors import ImprimaturError

OWN = {
    # Refused starts
    "start_refused": "This printer only prints licensed jobs. Nothing was started and no copy was used. "
    "Open the tab Licensed jobs and print from there.",
    "restart_refused": "A licensed print can't be restarted, its copy is already in use. "
    "Resume it, or cancel it. No further copy was used.",
    "sd_refused": "Printing from the printer's SD card, and copying files to it, is not possible on this "
    "printer: it only prints licensed jobs. Nothing was started. Use the tab Licensed jobs.",
    "command_refused": "The command “%(command)s” was not sent, because it starts or stores a print without "
    "a license. No copy was used. Use the tab Licensed jobs.",
    "move_refused": "The move “%(command)s” was not sent, because it prints outside a licensed job. "
    "Jogging, homing and extruding by hand stay possible.",
    "connector_refused": "The connection “%(connector)s” wasn't opened, because what prints through it "
    "can't be checked for a license. No copy was used. Connect the printer as a serial one, or ask an "
    "administrator to allow own files.",
    "connector_in_use": "The printer is connected in a way that can't be checked for licenses, so nothing "
    "was changed. No copy was used. Let a running print end, disconnect the printer, and try again.",
    "connector_unusable": "The printer is connected in a way that can't print licensed jobs. No copy was "
    "used. Disconnect it, connect it as a serial one, and try again.",
    "foreign_hooks": "Other plugins of this OctoPrint see each line that is printed, so the licensed file "
    "wouldn't stay secret: %(plugins)s. Nothing was printed and no further copy was used. An administrator "
    "can switch them off and connect the printer anew, or trust them in the settings under Licensed jobs.",
    "check_failed": "A line was held back because the license check itself failed. No copy was used for it. "
    "Look into octoprint.log and report the error.",
    "card_stopped": "A print from the printer's own card was started at the printer itself and was stopped: "
    "this printer only prints licensed jobs. No copy was used. Check the bed, and use the tab Licensed jobs.",
    "card_written": "The printer was told to write what it is sent to its own card (M28), so a licensed job "
    "would be copied instead of printed. None starts and no further copy was used. Send M29 in the terminal, "
    "then print again.",
    "card_not_kept": "The command to write to the printer's own card was not sent, because this machine "
    "can't keep that in mind (%(trouble)s). No copy was used. Make room on the disk and try again.",
    # What has got between the gate and the printer
    "gate_http": "Another plugin has taken the license check out of OctoPrint's API (%(who)s). No licensed "
    "job starts and no copy was used. An administrator has to remove that plugin and restart OctoPrint.",
    "gate_printer": "Another plugin has replaced what starts prints in OctoPrint (%(who)s), so the license "
    "check can't vouch for them. No licensed job starts and no copy was used. An administrator has to remove "
    "that plugin and restart OctoPrint.",
    "gate_lines": "Another plugin changes lines after the license check, or how they are sent (%(who)s). No "
    "licensed job starts and no copy was used. An administrator has to remove that plugin and restart "
    "OctoPrint.",
    "not_started": "The plugin can't keep its records: %(reason)s Nothing licensed prints and no copy was "
    "used; what needs a license is refused as ever. An administrator has to look into octoprint.log, put "
    "disk or file right, and restart OctoPrint.",
    # Before anything begins
    "not_set_up": "The connection to the license contract isn't set up. No copy was used. "
    "An administrator can enter it in the settings under Licensed jobs.",
    "finality_unknown": "The setting that says when a block is final has to be “finalized”, a number of "
    "blocks, or nothing. No copy was used. An administrator has to correct it.",
    "key_not_ready": "The printer's key is being opened. No copy was used. Try again in a few seconds.",
    "key_unusable": "The printer's key can't be opened: %(reason)s No copy was used. "
    "Ask an administrator to restore the key file.",
    "node_down": "The chain node doesn't answer. No copy was used. Check the network and try again.",
    "node_trouble": "The chain node refused to answer: %(reason)s No copy was used. Ask an administrator.",
    "other_chain": "The chain node belongs to chain %(found)s instead of %(expected)s. No copy was used. "
    "An administrator has to correct the settings.",
    "no_contract": "There is no license contract at %(address)s. No copy was used. "
    "An administrator has to correct the settings.",
    "restart_first": "OctoPrint has to be restarted first: it is ending, or a backup was restored. No copy "
    "was used. Restart it, then try again.",
    "busy": "Another licensed job is being prepared. No copy was used for this one. Wait until it is done.",
    "printer_not_ready": "The printer isn't connected, or it is busy. No copy was used. "
    "Connect it or let it finish, then try again.",
    "copy_waiting": "Copy %(copy)s of this license is paid and hasn't been printed yet. "
    "No further copy was used. Print the waiting copy first.",
    "unknown_job": "There is no such job. Reload the list.",
    "not_waiting": "This job isn't waiting to be printed. No copy was used. Reload the list.",
    "not_reportable": "The failure of this job can't be reported: it printed, it isn't paid, or the report "
    "is under way. No copy was used. Reload the list.",
    "not_withdrawable": "This job can't be withdrawn any more. No copy was used by that. Reload the list.",
    # The portal
    "portal_not_set_up": "No portal is set up, so files have no names and can't be downloaded. "
    "This used no copy. An administrator can enter its address in the settings.",
    "portal_url": "The portal's address can't be used: %(reason)s This used no copy. "
    "An administrator has to correct the settings.",
    "portal_refused": "The portal refused: %(reason)s This used no copy. Ask the owner of the license.",
    "not_enrolled": "The portal doesn't know this printer. This used no copy. "
    "Give the printer's address to the owner of the licenses.",
    "device_disabled": "The owner has disabled this printer in the portal. This used no copy. Ask her.",
    "portal_elsewhere": "The portal works with another license contract (%(address)s). No copy was used. "
    "An administrator has to correct the settings.",
    "portal_other_desk": "The portal names another key desk (%(address)s) than the settings do, so keys "
    "would not be believed. No copy was used. An administrator has to ask the portal which one is right.",
    "no_entry": "The portal doesn't list this license, so its name is unknown. The license itself is valid.",
    "other_description": "The portal describes another file than the license is for, so nothing of it is "
    "shown.",
    "portal_lies": "The portal says something else than the chain about %(count)s licenses (%(licenses)s). "
    "The list shows what the chain says, and no copy was used by that. Tell the owner of the licenses.",
    "not_yet_on_chain": "The portal lists this license, but the chain doesn't know it yet. No copy was used. "
    "Wait until its owner's portal has issued it.",
    "untold": "The license is valid, but the portal doesn't deliver its file. No copy was used. "
    "Upload the file yourself if you have it, or ask the owner of the license.",
    "no_local_file": "OctoPrint has no such file. No copy was used. Upload it again and reload the list.",
    # Setting up
    "invitation_unreadable": "That isn't an invitation. No copy was used by that. Copy link or code again "
    "from the portal.",
    "invitation_without_portal": "A code alone doesn't say which portal it is from. No copy was used by "
    "that. Enter the portal's address too, or paste the link.",
    "invitation_unknown": "The portal doesn't know this invitation: it was withdrawn, or mistyped. No copy "
    "was used by that. Copy it again, or ask the owner for another one.",
    "invitation_expired": "The invitation has expired. No copy was used by that. Ask the owner for another "
    "one.",
    "invitation_used": "Another device has used this invitation. No copy was used by that. Ask the owner for "
    "one of this printer's own, and whose device that is.",
    "not_bound": "The wallet hasn't bound this printer on the chain. No copy was used by that. Bind it with "
    "the wallet first, or leave the wallet empty.",
    "wallet_unreadable": "The wallet's address isn't one. No copy was used by that. Correct it, or leave it "
    "empty when the printer is its own wallet.",
    "portal_down": "The portal doesn't answer (%(trouble)s). Nothing was changed and no copy was used. Check "
    "its address and the network, and try again with the same invitation.",
    "portal_no_time": "The portal has no time at the moment. Nothing was changed and no copy was used. Try "
    "again in a minute with the same invitation.",
    "portal_no_desk": "The portal has no key desk yet, so it can't let a printer in. No copy was used by "
    "that. Ask whoever runs the portal, and try again with the same invitation.",
    "node_url": "The chain node's address has to begin with http:// or https://. No copy was used by that. "
    "Correct it.",
    "jobs_open": "Licensed jobs or failure reports aren't over (%(count)s), and they belong to the key and "
    "contract of now. Nothing was changed and no copy was used. Print, report or withdraw the jobs first, "
    "and wait until reports are settled.",
    "key_refused": "The key can't be used: %(reason)s Nothing was changed and no copy was used.",
    "token_open": "The token is in use with another PIN. Nothing was changed and no copy was used. If its "
    "PIN was changed, restart OctoPrint first.",
    "module_refused": "The module has to be given with its full path, and may not lie among OctoPrint's own "
    "files. Nothing was changed and no copy was used. Install its package.",
    # The key desk
    "desk_not_set_up": "No key desk is set up, so sealed files can't be opened. No copy was used. "
    "An administrator can enter its address in the settings.",
    "desk_url": "The key desk's address can't be used: %(reason)s This used no copy. "
    "An administrator has to correct the settings.",
    "desk_address": "The key desk's signing address “%(reason)s” isn't one. This used no copy. "
    "An administrator has to correct the settings.",
    "desk_down": "The key desk doesn't answer (%(reason)s). This used no copy. Check the network and try "
    "again.",
    "desk_busy": "The key desk has no time at the moment. This used no copy. Try again later.",
    "desk_refused": "The key desk refused: %(reason)s This used no copy. Ask whoever runs the portal.",
    "desk_confused": "The key desk's answer can't be used: %(reason)s This used no copy. "
    "Ask whoever runs the portal.",
    # Preparing
    "not_begun": "%(reason)s The job wasn't begun and no copy was used. Try again.",
    "gave_up": "File and license couldn't be fetched and checked for a while. No copy was used. "
    "Check the network and try again.",
    "internal": "Something unexpected went wrong while preparing. Before the step Consume no copy is used; "
    "a used copy shows up as ready to print. Look into octoprint.log and report the error.",
    # Jobs of the version before sealed files
    "updated_paid": "Copy %(copy)s was paid before this plugin was updated, and not printed. Files come "
    "sealed now, and a copy that was paid the old way gets no key. Ask the owner of the license to grant "
    "it again.",
    "updated_unsettled": "This plugin was updated while the chain was confirming a copy, so whether it was "
    "used isn't known here. If the license has a copy less than before, ask its owner to grant it again.",
    "updated_printing": "This plugin was updated during the print. Copy %(copy)s was used. "
    "Take the part off the bed and tell the owner of the license.",
    "updated_unpaid": "This plugin was updated while the job was being prepared. No copy was used. Try "
    "again.",
}
REFUSALS = {
    "refusal_unknown_license": "it doesn't know the license",
    "refusal_not_consumed": "it doesn't see that the copy is used yet",
    "refusal_not_final": "the use isn't final yet",
    "refusal_other_device": "another device used the copy",
    "refusal_other_recipient": "the copy was used for another key",
    "refusal_failed": "the copy was reported as failed",
    "refusal_stopped": "the owner has stopped the delivery",
    "refusal_too_many_requests": "it was asked too often",
    "refusal_chain_unavailable": "its chain node doesn't answer",
    "refusal_no_key": "it can't open the key of the file",
    "refusal_unavailable": "it can't write its records",
    "refusal_wrong_key": "it gave a wrong key",
    "refusal_no_answer": "it doesn't answer",
}
"""What a key desk refuses with, as a part of a sentence."""
TEXTS = reasons.TEXTS | OWN | REFUSALS
"""Those of the printer side in the library too: what becomes of a job is told there."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence for the operator: a key of `TEXTS` and the values of its placeholders.

    A value may be a message itself.
    """

    key: str
    values: Values = field(default_factory=dict)

    @property
    def template(self) -> str:
        """The English text with placeholders: the id to translate."""
        # A journal may have been written by a later version with codes of its own.
        return TEXTS.get(self.key, self.key)

    def render(self, translate: Callable[[str], str] = str) -> str:
        """The sentence in the language of `translate`."""
        values = {
            name: value.render(translate) if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        return translate(self.template) % values

    def __str__(self) -> str:
        return self.render()

    def as_json(self) -> dict[str, Any]:
        """`text` to translate, `values` to put in afterwards."""
        values = {
            name: value.as_json() if isinstance(value, Message) else value
            for name, value in self.values.items()
        }
        return {"key": self.key, "text": self.template, "values": values}


def message_of(reason: reasons.Reason | None) -> Message | None:
    """What the library says about a job, as a message."""
    if reason is None:
        return None
    key = f"refusal_{reason.facts.get('refusal')}"
    refusal = {"refusal": Message(key)} if key in REFUSALS else {}
    return Message(reason.code, reason.facts | refusal)


class Refused(ImprimaturError):
    """An operator's wish that can't be met; carries the sentence to show."""

    def __init__(self, key: str, **values: Any) -> None:
        self.message = Message(key, values)
        super().__init__(str(self.message))
