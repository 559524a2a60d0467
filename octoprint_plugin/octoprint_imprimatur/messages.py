"""What operators are told. Each sentence says what happened, whether a copy was used, and what to do next.

The English texts are the message ids of the translations: browsers translate them with `gettext`, views with
flask-babel. Placeholders are Python's `%(name)s`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from imprimatur.errors import ImprimaturError

TEXTS = {
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
    "check_failed": "A line was held back because the license check itself failed. No copy was used for it. "
    "Look into octoprint.log and report the error.",
    # Before anything begins
    "not_set_up": "The connection to the license contract isn't set up. No copy was used. "
    "An administrator can enter it in the settings under Licensed jobs.",
    "key_not_ready": "The printer's key is being opened. No copy was used. Try again in a few seconds.",
    "key_unusable": "The printer's key can't be opened: %(reason)s No copy was used. "
    "Ask an administrator to restore the key file.",
    "node_down": "The chain node doesn't answer. No copy was used. Check the network and try again.",
    "node_refused": "The chain node refused to answer: %(reason)s No copy was used. Ask an administrator.",
    "wrong_chain": "The chain node belongs to chain %(found)s instead of %(expected)s. No copy was used. "
    "An administrator has to correct the settings.",
    "no_contract": "There is no license contract at %(address)s. No copy was used. "
    "An administrator has to correct the settings.",
    "unknown_license": "The chain knows no such license. No copy was used. Reload the list.",
    "other_printer": "This license belongs to another printer. No copy was used.",
    "expired": "The license has expired. No copy was used. Ask its owner for a new one.",
    "no_copies_left": "There are no copies left on this license. Nothing was printed and no copy was used. "
    "Ask its owner for another license.",
    "copy_changed": "Copy %(copy)s is no longer the next one of this license. No copy was used. "
    "Reload the list and confirm again.",
    "busy": "Another licensed job is being prepared. No copy was used for this one. Wait until it is done.",
    "printer_not_ready": "The printer isn't connected, or it is busy. No copy was used. "
    "Connect it or let it finish, then try again.",
    "unsettled": "Whether an earlier job has used its copy isn't known yet, it is being checked. "
    "No copy was used for this one. Try again when that is settled.",
    "copy_waiting": "Copy %(copy)s of this license is paid and hasn't been printed yet. "
    "No further copy was used. Print the waiting copy first.",
    "unknown_job": "There is no such job. Reload the list.",
    "not_waiting": "This job isn't waiting to be printed. No copy was used. Reload the list.",
    # The portal
    "portal_not_set_up": "No portal is set up, so files have no names and can't be downloaded. "
    "This used no copy. An administrator can enter its address in the settings.",
    "portal_down": "The portal doesn't answer (%(reason)s). This used no copy. "
    "Check the network and try again.",
    "portal_refused": "The portal refused: %(reason)s This used no copy. Ask the owner of the license.",
    "portal_confused": "The portal's answer can't be used: %(reason)s This used no copy. "
    "Ask whoever runs the portal.",
    "file_missing": "The portal doesn't have the file of this license. This used no copy. "
    "Ask the owner of the license.",
    "no_entry": "The portal doesn't list this license, so its name is unknown. The license itself is valid.",
    "other_file": "The portal describes another file than the license is for, so nothing of it is shown.",
    # Preparing
    "wrong_file": "The downloaded file isn't the one that the license is for (SHA-256 %(found)s…). "
    "This used no copy. Try again; if it stays so, tell the owner of the license.",
    "download_broken": "The download broke off after %(received)s of %(expected)s bytes. This used no copy. "
    "Try again.",
    "download_too_big": "The portal sends more than %(limit)s bytes. This used no copy. "
    "Tell the owner of the license.",
    "disk_trouble": "The file can't be kept on this machine (%(reason)s). This used no copy. "
    "Make room on the disk and try again.",
    "contract_refused": "The license contract refused (%(name)s). No copy was used. Reload the list.",
    "no_funds": "The printer's account can't pay the transaction. No copy was used. "
    "Send some coins of the chain to %(address)s.",
    "settling": "The consumption was sent, but the chain hasn't confirmed it yet. "
    "Whether the copy was used is being checked; nothing will be sent twice. Just wait.",
    "not_consumed": "The transaction took place but consumed nothing. No copy was used. Try again.",
    "overtaken": "Another transaction of this printer took the place of ours. No copy was used. Try again.",
    "start_failed": "Copy %(copy)s is paid, but the print couldn't be started (%(reason)s). "
    "The copy isn't lost: print it again, that costs nothing more.",
    "waiting_download": "Copy %(copy)s is paid and not lost, but its file can't be fetched: %(reason)s",
    "internal": "Something unexpected went wrong while preparing. Before the step Consume no copy is used; "
    "a used copy shows up as ready to print. Look into octoprint.log and report the error.",
    # How it ended
    "stopped_before_paying": "OctoPrint was stopped while the job was being prepared. No copy was used. "
    "Try again.",
    "stopped_before_printing": "OctoPrint was stopped before the part began. Copy %(copy)s is paid and "
    "not lost: print it when you are ready.",
    "interrupted": "OctoPrint or the printer was stopped during the print. Copy %(copy)s was used. "
    "Take the part off the bed and tell the owner of the license.",
    "cancelled_early": "The print was cancelled before the part began. Copy %(copy)s is paid and not lost: "
    "print it when you are ready.",
    "cancelled": "The print was cancelled while the part was being made. Copy %(copy)s was used.",
    "print_failed": "The print failed while the part was being made. Copy %(copy)s was used. "
    "Tell the owner of the license.",
    "failed_early": "The print failed before the part began. Copy %(copy)s is paid and not lost: "
    "print it when you are ready.",
    "finished": "Copy %(copy)s was printed.",
    "paid": "Copy %(copy)s is paid and waits to be printed.",
}

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
        return TEXTS[self.key]

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


def parse(stored: dict[str, Any]) -> Message | None:
    """The message behind `as_json`, in today's words; None when this version doesn't know it."""
    if stored.get("key") not in TEXTS:
        return None
    values = {
        name: (parse(value) or "") if isinstance(value, dict) else value
        for name, value in stored.get("values", {}).items()
    }
    return Message(stored["key"], values)


class Refused(ImprimaturError):
    """An operator's wish that can't be met; carries the sentence to show."""

    def __init__(self, key: str, **values: Any) -> None:
        self.message = Message(key, values)
        super().__init__(str(self.message))
