"""What a licensed print waits for, or why it ended: a code with facts, and a sentence for people.

Each sentence says what happened, whether a copy was used, and what to do next. Hosts with languages of their
own translate by the code; the facts are the values of the placeholders (`%(name)s`).
"""

import json
from dataclasses import dataclass, field
from typing import Any

from imprimatur.errors import ImprimaturError

TEXTS = {
    # Refused before anything is paid
    "not_offered": "The portal doesn't list this license. No copy was used. Reload the list.",
    "no_file": "This license comes without a sealed file, so a file of your own is needed. No copy was used. "
    "Choose the file that the license is for.",
    "unreadable_file": "The file can't be read (%(trouble)s). No copy was used. Choose it again.",
    "not_sealed": "A portal that delivers sealed files is needed for this license. No copy was used. "
    "Connect the printer to the portal of its owner.",
    "unknown_license": "The chain knows no such license. No copy was used. Reload the list.",
    "other_printer": "This license belongs to another printer. No copy was used.",
    "expired": "The license has expired. No copy was used. Ask its owner for a new one.",
    "revoked": "The owner has revoked the license. No copy was used. Ask her for a new one.",
    "no_copies_left": "There are no copies left on this license. No copy was used. "
    "Ask its owner for another license.",
    "other_file": "The license isn't for this file. No copy was used. Ask its owner for the right one.",
    "device_not_trusted": "The license is for devices that its owner trusts, and this isn't one. "
    "No copy was used. Ask her whose statements she accepts.",
    "contract_refused": "The license contract refused (%(name)s). No copy was used. Reload the list.",
    "copy_changed": "Copy %(copy)s is no longer the next one of this license. No copy was used. "
    "Reload the list and confirm again.",
    "open_job": "Another job of this license isn't over: it is %(state)s. No further copy was used. "
    "Finish that one first.",
    "wrong_sealed_file": "The delivered file isn't the one that its owner sealed. No copy was used. "
    "Try again; if it stays so, tell the owner of the license.",
    "wrong_manifest": "What comes with the file isn't what the chain says: %(reason)s No copy was used.",
    "delivery_refused": "The portal refuses: %(detail)s No copy was used. Ask the owner of the license.",
    "disk_trouble": "The file can't be kept on this machine (%(trouble)s). Make room on the disk and try "
    "again.",
    # What a job waits for
    "portal_unreachable": "The portal doesn't answer (%(trouble)s). It is asked again.",
    "portal_busy": "The portal has no time at the moment. It is asked again.",
    "portal_confused": "The portal's answer can't be used (%(trouble)s). It is asked again. "
    "Tell whoever runs the portal.",
    "desk_unreachable": "Copy %(copy)s is paid; the key desk doesn't answer (%(trouble)s). It is asked "
    "again.",
    "node_unreachable": "The chain node doesn't answer. Check the network; it is asked again.",
    "node_refused": "The chain node can't answer (%(trouble)s). It is asked again; if it stays so, ask an "
    "administrator.",
    "wrong_chain": "The chain node belongs to another chain. An administrator has to correct the settings.",
    "signer_unusable": "The device's key can't be used (%(trouble)s). It is tried again; if it stays so, ask "
    "an administrator.",
    "other_contract": "This job belongs to another license contract than the one in the settings. Nothing is "
    "lost; an administrator has to set up that contract again.",
    "settling": "The use of copy %(copy)s was sent, and the chain hasn't confirmed it yet. Nothing is sent "
    "twice. Just wait.",
    "not_final": "Copy %(copy)s is used in a block that could still be replaced. Just wait.",
    "not_carried": "Nobody carries the use of copy %(copy)s to the chain (%(detail)s). If it stays so, the "
    "signature expires and no copy is used.",
    "no_carrier": "There is neither a portal nor an account with coins to send the use of copy %(copy)s. "
    "If it stays so, the signature expires and no copy is used.",
    "key_pending": "Copy %(copy)s is paid; the key desk doesn't release its key yet (%(refusal)s). It is "
    "asked again.",
    # Signed, and nothing came of it
    "stopped_before_paying": "The printer was stopped while the job was being prepared. No copy was used. "
    "Try again.",
    "withdrawn": "The job was withdrawn. No copy was used.",
    "withdrawing": "The job is withdrawn, but the use of copy %(copy)s is signed already. It isn't printed "
    "by itself; the chain decides whether the copy is used.",
    "not_consumed": "Signed uses of this license came to nothing %(times)s times. No copy was used. Try "
    "again.",
    "raced": "Another device of this printer used copy %(copy)s first. The next copy is asked for.",
    "signature_expired": "The use of copy %(copy)s wasn't carried to the chain in time and can't be any "
    "more. It is signed anew.",
    "lost_by_chain": "The chain took back the block with the use of copy %(copy)s. The same use is sent "
    "again.",
    # Paid
    "ready": "Copy %(copy)s is paid and ready to be printed.",
    "file_pending": "Copy %(copy)s is paid and not lost, but its file can't be used (%(trouble)s). "
    "Print it again when that is put right.",
    "withheld": "Copy %(copy)s is paid, but the key desk withholds its key (%(refusal)s). It is asked "
    "again meanwhile. Report the failure, and the license gives the copy back.",
    "withheld_dispute": "Copy %(copy)s is paid, but the key desk withholds its key (%(refusal)s), and the "
    "license has no free failure left. Ask the owner to replace the copy; the desk's signed answers are "
    "kept.",
    "start_failed": "Copy %(copy)s is paid, but the print couldn't be started (%(trouble)s). The copy isn't "
    "lost: print it again, that costs nothing more.",
    "stopped_before_printing": "The printer was stopped before the part began. Copy %(copy)s is paid and not "
    "lost: print it when you are ready.",
    "cancelled_early": "The print was cancelled before the part began. Copy %(copy)s is paid and not lost: "
    "print it when you are ready.",
    "failed_early": "The print failed before the part began. Copy %(copy)s is paid and not lost: print it "
    "when you are ready.",
    # How it ended
    "finished": "Copy %(copy)s was printed.",
    "interrupted": "The printer was stopped during the print. Copy %(copy)s was used. Take the part off the "
    "bed and report the failure.",
    "cancelled": "The print was cancelled while the part was being made. Copy %(copy)s was used. Report "
    "the failure if the license should give it back.",
    "print_failed": "The print failed while the part was being made. Copy %(copy)s was used. Report the "
    "failure.",
    "wrong_content": "Copy %(copy)s is paid, but what was sealed isn't the licensed file. Nothing was "
    "printed, and the failure is reported.",
    "failure_pending": "The failure of copy %(copy)s is being reported.",
    "given_back": "The failure of copy %(copy)s stands on the chain: the license gave the copy back.",
    "dispute": "The failure of copy %(copy)s can't be given back any more (%(detail)s). Ask the owner to "
    "replace the copy.",
    "replaced": "The owner has settled the failure of copy %(copy)s.",
}

_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Reason:
    """A code of `TEXTS` and the values of its placeholders (JSON values)."""

    code: str
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        # A journal may have been written by a later version with codes of its own.
        text = TEXTS.get(self.code)
        return self.code if text is None else text % self.facts

    def to_json(self) -> str:
        return json.dumps({"code": self.code, "facts": self.facts})

    @classmethod
    def from_json(cls, text: str) -> "Reason":
        """The reason behind `to_json`."""
        document = json.loads(text)
        return cls(document["code"], document["facts"])


def why(code: str, **facts: Any) -> Reason:
    """A reason; texts of strangers among its facts are cut."""
    short = {name: value[:_MOST_TEXT] if isinstance(value, str) else value for name, value in facts.items()}
    return Reason(code, short)


class Refused(ImprimaturError):
    """The job can't begin, or ended without a print; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Waiting(ImprimaturError):
    """The next step can't be taken yet: come back after `retry_after` seconds. Nothing is lost meanwhile."""

    def __init__(self, reason: Reason, retry_after: float) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.retry_after = retry_after


class Withheld(ImprimaturError):
    """The copy is paid and its key isn't given out. The operator decides: report the failure, or ask again.

    `is_final` is False when the desk may still answer otherwise.
    """

    def __init__(self, reason: Reason, is_final: bool) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.is_final = is_final
