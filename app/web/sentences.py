"""Refusals and states in the reader's language."""

from typing import Any

from app.language import file_size, number
from app.language import translated as _
from app.models import Intent
from app.services import designs, invitations, issuing, printers
from app.services.accounts import Standing
from app.services.addresses import InvalidAddress
from app.services.storage import StorageFailed
from imprimatur.errors import ImprimaturError
from imprimatur.license_id import MAX_TEXT_LENGTH, InvalidLicenseNumber
from imprimatur.sealing import InvalidKey


def refusal(error: ImprimaturError) -> str:
    """Why something was refused."""
    match error:
        case designs.WrongKind():
            return _("Only G-code is taken: .gcode, .gco or .g files.")
        case designs.NotGcode():
            return _("There is no G-code in this file. Export it from your slicer again.")
        case designs.NameRefused():
            return _("Not every system can have a file of this name. Rename it and upload it again.")
        case designs.NoDesk():
            return _(
                "Nothing can be uploaded yet: the key desk, for which files are sealed, isn't set up. "
                "Tell the portal's operator."
            )
        case StorageFailed():
            return _("The portal can't store files right now. Nothing was kept; try again later.")
        case designs.EmptyFile():
            return _("The file is empty.")
        case designs.Interrupted():
            return _("The connection was lost. Nothing was kept; try again.")
        case designs.TooLarge():
            return _("The file is larger than %(limit)s.", limit=file_size(error.limit))
        case InvalidAddress():
            if error.mistyped:
                return _("The address has a typing error: its checksum is wrong.")
            return _("An address is 0x followed by 40 hexadecimal digits.")
        case printers.PrinterKnown():
            return _("This wallet is already in your list as “%(name)s”.", name=error.name)
        case printers.NameMissing():
            return _(
                "Give the printer a name of at most %(most)s characters.", most=number(printers.MAX_NAME)
            )
        case invitations.TooManyInvitations():
            return _(
                "You have %(most)s open invitations. Withdraw some that nobody needs.",
                most=number(invitations.MOST_OPEN),
            )
        case InvalidLicenseNumber():
            return _("A license number has 1 to %(most)s printable characters.", most=number(MAX_TEXT_LENGTH))
        case issuing.NumberTaken():
            return _("You have another license with the number %(number)s.", number=error.number)
        case issuing.CopiesOutOfRange():
            return _("A license has 1 to %(most)s copies.", most=number(issuing.MAX_COPIES))
        case issuing.FailuresOutOfRange():
            return _("A license gives back 0 to %(most)s failed prints.", most=number(issuing.MAX_FAILURES))
        case issuing.DesignNotSealed():
            return _(
                "%(name)s was stored by an earlier version of the portal and isn't sealed yet. "
                "Upload the file again, then order.",
                name=error.file_name,
            )
        case InvalidKey():
            return _("This isn't a public key of age: it has to begin with age1 and be copied as a whole.")
        case issuing.DayOutOfRange():
            return _("The last day of validity is in the past or too far away.")
        case issuing.PortalNotAllowed():
            return standing(error.permission.standing)
    return str(error)


def standing(state: Standing) -> str:
    """Whether the portal may issue, and what to do when it may not."""
    return {
        Standing.ALLOWED: _("The portal may issue licenses for your account."),
        Standing.NOT_GIVEN: _(
            "The portal isn't allowed to issue licenses for your account. "
            "Give it the right on the page Account."
        ),
        Standing.ENDED: _("The portal's right to issue has ended. Give it again on the page Account."),
        Standing.NO_OPERATOR: _("The portal's worker has never run, so nothing can be issued yet."),
        Standing.UNKNOWN: _("The chain node doesn't answer right now. Orders wait until it does."),
    }[state]


def reason(intent: Intent) -> str | None:
    """Why an order waits or failed, and what to do about it."""
    if intent.reason is None:
        return None
    facts: dict[str, Any] = intent.facts or {}
    sentences = {
        "node_unreachable": _(
            "The chain node doesn't answer. The order is kept and goes out as soon as it does."
        ),
        "not_deployed": _("No contract is known on this chain. The order is kept until one is deployed."),
        "wrong_chain": _(
            "The portal is connected to another chain than before. "
            "The order is kept; its operator has to look."
        ),
        "node_refused": _(
            "The chain node refuses the transaction: %(message)s", message=facts.get("message", "")
        ),
        "no_funds": _(
            "The portal's account has too little ether to pay for the transaction. "
            "The order goes out as soon as its operator tops it up."
        ),
        "unexpected": _(
            "The portal's worker ran into an error that its operator has to look at. "
            "The order is kept; the worker keeps trying."
        ),
        "nonce_taken": _("Another transaction of the portal came first. The order is signed again."),
        "reorganised": _("The chain replaced a block. The order is sent again; nothing is lost."),
        "lost_by_chain": _("The chain node lost blocks. The order is sent again; nothing is lost."),
        "underpriced": _("The chain asks for a higher fee. The portal raises its offer by itself."),
        "refused_now": _(
            "The contract refuses the order (%(error)s). The portal looks again before it gives up.",
            error=facts.get("error", ""),
        ),
        "fees_too_high": _(
            "The chain's fees are higher than the portal may pay. The order goes out when they fall."
        ),
        "reverted": _("The contract reverted the transaction. Nothing was issued; you can order again."),
        "not_allowed": _(
            "The portal isn't allowed to issue for your account any more. "
            "Give it the right again on the page Account, then order again."
        ),
        "number_taken": _(
            "Your account already has a license with this number, on other terms. Choose another number."
        ),
        "day_passed": _("The last day of validity has passed. Issue a new license with a later day."),
        "contract_refused": _("The contract refused the order (%(error)s).", error=facts.get("error", "")),
    }
    return sentences.get(intent.reason, intent.reason)
