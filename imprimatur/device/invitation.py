"""How an owner's invitation reaches a printer: as a code, as a link, or as what a portal's QR code says."""

import re
from dataclasses import dataclass, field

from imprimatur.chain import json_depth
from imprimatur.errors import ImprimaturError

LONGEST = 2000
"""Characters read of what somebody pasted."""
_CODE = re.compile(r"[0-9A-Za-z-]{16,64}")
_MARK = "#invitation="


class InvitationUnreadable(ImprimaturError):
    """That isn't an invitation. The message never repeats it: it may be one with a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time code, and the address of its portal where that came with it."""

    code: str = field(repr=False)
    portal_url: str | None = None


def read_invitation(text: str) -> Invitation:
    """The invitation in what somebody pasted or scanned.

    Raises:
        InvitationUnreadable
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise InvitationUnreadable("That is too long for an invitation. Copy it again from the portal.")
    if text.startswith("{"):
        return _from_ticket(text)
    url, mark, code = text.partition(_MARK)
    return _checked(code, url) if mark else _checked(text, None)


def invitation_link(portal_url: str, code: str) -> str:
    """The link to paste. The code is behind the #, which browsers keep to themselves."""
    return f"{portal_url.rstrip('/')}/{_MARK}{code}"


def _from_ticket(text: str) -> Invitation:
    try:
        ticket = json_depth.parse(text.encode())
    except ValueError:
        ticket = None
    if not isinstance(ticket, dict) or ticket.get("imprimatur") != 1:
        raise InvitationUnreadable("That isn't an invitation of this kind. Copy it again from the portal.")
    return _checked(ticket.get("invitation"), ticket.get("portal"))


def _checked(code: object, url: object) -> Invitation:
    if not isinstance(code, str) or not _CODE.fullmatch(code) or not isinstance(url, str | None):
        raise InvitationUnreadable(
            "That isn't an invitation: its code has 16 to 64 letters, digits and dashes. Copy it again from "
            "the portal."
        )
    return Invitation(code, None if url is None else url.rstrip("/"))
