"""Accepting an owner's invitation: what the portal says is looked at first, and the node has to agree.

An invitation works once. So chain, contract and addresses are checked before it is sent; the same again
brings the same answer.
"""

import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from imprimatur.chain import node
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable
from imprimatur.chain.signers import Signer
from imprimatur.device import (
    AddressRefused,
    Desk,
    Enrolment,
    Portal,
    PortalBusy,
    PortalError,
    PortalInfo,
    PortalRefused,
    PortalUnreachable,
)
from imprimatur.device.invitation import Invitation, InvitationUnreadable, read_invitation
from octoprint_imprimatur.connection import (
    MAX_REASON,
    checksummed,
    is_node_url,
    node_trouble,
    portal_trouble,
)
from octoprint_imprimatur.messages import Refused

_CODES = ("invitation_unknown", "invitation_expired", "invitation_used", "not_bound")
"""A portal's refusals of an invitation; each has a sentence of its own."""


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation with its portal's address, and what that says about itself."""

    code: str = field(repr=False)
    portal: Portal
    told: PortalInfo

    def as_json(self) -> dict[str, Any]:
        return {
            "url": self.portal.url,
            "chain_id": self.told.chain_id,
            "contract": self.told.contract,
            "since": self.told.since,
            "desk_url": self.told.desk_url,
            "desk_address": self.told.desk_address,
        }


def preview(text: str, portal_url: str, signer: Signer, allow_http: bool) -> Invited:
    """Where an invitation leads to. Nobody is enrolled.

    Args:
        portal_url: for a code that came without one.

    Raises:
        Refused: with the reason.
    """
    invitation = _read(text)
    url = invitation.portal_url or portal_url
    if not url:
        raise Refused("invitation_without_portal")
    try:
        portal = Portal(url, signer, allow_http)
    except AddressRefused as error:
        raise Refused("portal_url", reason=str(error)[:MAX_REASON]) from error
    try:
        told = portal.describe()
    except PortalError as error:
        raise _refusal(error) from error
    try:
        Desk(told.desk_url, told.desk_address, signer, allow_http)
    except AddressRefused as error:
        raise Refused("desk_url", reason=str(error)[:MAX_REASON]) from error
    return Invited(invitation.code, portal, told)


def _read(text: str) -> Invitation:
    try:
        return read_invitation(text)
    except InvitationUnreadable as error:
        raise Refused("invitation_unreadable") from error


def _refusal(error: PortalError) -> Refused:
    """The sentence for somebody who has just asked, and isn't asked for again by itself."""
    if isinstance(error, PortalUnreachable):
        return Refused("portal_down", trouble=error.trouble[:MAX_REASON])
    if isinstance(error, PortalBusy):
        return Refused("portal_no_desk" if error.code == "no_desk" else "portal_no_time")
    if isinstance(error, PortalRefused) and error.code in _CODES:
        return Refused(error.code)
    return portal_trouble(error)


def require_node(node_url: str, told: PortalInfo) -> None:
    """The node knows the portal's contract, on the portal's chain.

    Raises:
        Refused: node_url, node_down, node_trouble, other_chain or no_contract.
    """
    if not is_node_url(node_url):
        raise Refused("node_url")
    rpc = HttpRpc(node_url)
    try:
        found = node.chain_id(rpc)
        if found != told.chain_id:
            raise Refused("other_chain", found=found, expected=told.chain_id)
        if not node.has_code(rpc, told.contract):
            raise Refused("no_contract", address=told.contract)
    except (NodeUnreachable, NodeRefused) as error:
        raise node_trouble(error) from error


def enrol(invited: Invited, signer: Signer, wallet: str, encryption_key: bytes) -> Enrolment:
    """Accept the invitation for this printer.

    Args:
        wallet: account that has bound this printer; empty when it is its own wallet.
        encryption_key: the printer's X25519 public key (32 bytes).

    Raises:
        Refused: with the reason.
    """
    try:
        account = checksummed(wallet) if wallet else signer.address
    except ValueError as error:
        raise Refused("wallet_unreadable") from error
    try:
        enrolment = invited.portal.enrol(invited.code, account, encryption_key)
    except PortalError as error:
        raise _refusal(error) from error
    if enrolment.portal != invited.told:
        raise Refused("portal_confused", trouble="it names another contract or key desk than a moment ago")
    return enrolment


def settings_of(invited: Invited, enrolment: Enrolment, node_url: str) -> dict[str, Any]:
    """What is remembered of an enrolment."""
    told = enrolment.portal
    return {
        "portal_url": invited.portal.url,
        "portal_name": urlsplit(invited.portal.url).hostname or "",
        "desk_url": told.desk_url,
        "desk_address": told.desk_address,
        "node_url": node_url,
        "chain_id": told.chain_id,
        "contract": told.contract,
        "contract_since": told.since,
        "enrolled_at": int(time.time()),
        "enrolled_device": enrolment.device,
        "enrolled_wallet": enrolment.wallet,
        "enrolled_printer": enrolment.printer,
        "enrolled_owner": enrolment.owner,
    }
