"""Where the printer looks: chain node, license contract, portal, key desk. One value, opened when needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from imprimatur.chain import node
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.outbox import Finality, Rules, UnknownFinality, parse_finality
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import Signer
from imprimatur.device import (
    AddressRefused,
    Desk,
    Portal,
    PortalBusy,
    PortalError,
    PortalRefused,
    PortalUnreachable,
)
from imprimatur.key_answer import AnswerInvalid, Question
from imprimatur.sealing import new_key, public_key
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.settings import DEFAULTS

__all__ = ["DEFAULTS", "Address", "Connection", "check", "connect"]

MAX_REASON = 200
_PORTALS_CODES = ("not_enrolled", "device_disabled")
"""Refusals of a portal that have a sentence of their own."""
NO_LICENSE = 1
"""An id that no license has: its number would be the hash of a text that nobody knows, its owner nobody."""


def checksummed(address: str) -> str:
    """An account's address in its one spelling (EIP-55).

    Raises:
        ValueError: it isn't one.
    """
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(address))


def is_node_url(url: str) -> bool:
    """Whether a chain node could be asked there."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def node_trouble(error: NodeUnreachable | NodeRefused) -> Refused:
    """The operator's sentence for a node that doesn't help."""
    if isinstance(error, NodeUnreachable):
        return Refused("node_down")
    return Refused("node_trouble", reason=error.message[:MAX_REASON])


def portal_trouble(error: PortalError) -> Refused:
    """The operator's sentence for a portal that doesn't help."""
    if isinstance(error, PortalUnreachable):
        return Refused("portal_unreachable", trouble=error.trouble[:MAX_REASON])
    if isinstance(error, PortalBusy):
        return Refused("portal_busy")
    if isinstance(error, PortalRefused):
        if error.code in _PORTALS_CODES:
            return Refused(error.code)
        return Refused("portal_refused", reason=(error.detail or error.code)[:MAX_REASON])
    return Refused("portal_confused", trouble=str(error)[:MAX_REASON])


def desk_trouble(error: PortalError | AnswerInvalid) -> Refused:
    """The operator's sentence for a key desk that doesn't help."""
    if isinstance(error, PortalUnreachable):
        return Refused("desk_down", reason=error.trouble[:MAX_REASON])
    if isinstance(error, PortalBusy):
        return Refused("desk_busy")
    if isinstance(error, PortalRefused):
        return Refused("desk_refused", reason=(error.detail or error.code)[:MAX_REASON])
    return Refused("desk_confused", reason=str(error)[:MAX_REASON])


@dataclass(frozen=True, slots=True)
class Address:
    """The settings that name chain, contract, portal and desk, brought to their types.

    Without the address of portal or desk they are empty.
    """

    portal_url: str
    portal_name: str
    node_url: str
    chain_id: int
    contract: str
    since: int
    desk_url: str = ""
    desk_address: str = ""
    finality: Finality | None = None
    """None: as the chain is usually run."""
    allow_http: bool = False
    """Whether portal and desk on other machines may be asked without TLS."""

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> "Address":
        """From OctoPrint's settings.

        Raises:
            Refused: not_set_up, when node, chain or contract are missing or can't be meant; desk_address;
                finality_unknown.
        """
        given = {key: str(settings.get(key) or "").strip() for key in DEFAULTS}
        try:
            chain_id, since = int(given["chain_id"]), int(given["contract_since"] or 0)
            contract = checksummed(given["contract"])
            if not is_node_url(given["node_url"]) or int(contract, 16) == 0:
                raise ValueError
        except ValueError as error:
            raise Refused("not_set_up") from error
        try:
            desk_address = checksummed(given["desk_address"]) if given["desk_url"] else ""
        except ValueError as error:
            raise Refused("desk_address", reason=given["desk_address"][:MAX_REASON]) from error
        try:
            finality = parse_finality(given["finality"]) if given["finality"] else None
        except UnknownFinality as error:
            raise Refused("finality_unknown") from error
        return cls(
            portal_url=given["portal_url"],
            portal_name=given["portal_name"],
            node_url=given["node_url"],
            chain_id=chain_id,
            contract=contract,
            since=since,
            desk_url=given["desk_url"],
            desk_address=desk_address,
            finality=finality,
            allow_http=settings.get("allow_http") is True,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """An open way to chain, portal and desk, in the name of the printer.

    `portal` and `desk` are None while none is set up.
    """

    address: Address
    rpc: Rpc
    licenses: PrintLicense
    portal: Portal | None
    desk: Desk | None
    signer: Signer

    @property
    def finality(self) -> Finality:
        """When a block can't be replaced any more."""
        return Rules.for_chain(self.address.chain_id, self.address.finality).finality

    def require_chain(self) -> None:
        """Make sure that the node belongs to the right chain: what is signed counts there.

        Raises:
            Refused: node_down, node_trouble or other_chain.
        """
        try:
            found = node.chain_id(self.rpc)
        except (NodeUnreachable, NodeRefused) as error:
            raise node_trouble(error) from error
        if found != self.address.chain_id:
            raise Refused("other_chain", found=found, expected=self.address.chain_id)

    def accounts(self) -> list[str]:
        """Whose licenses this printer may use: its own, and those of the wallet that has bound it.

        Raises:
            NodeUnreachable, NodeRefused
        """
        devices = DeviceRegistry(self.rpc, self.licenses.devices(), self.licenses.since)
        wallet = devices.wallet_of(self.signer.address)
        return [self.signer.address] if wallet is None else [self.signer.address, wallet]


def connect(address: Address, signer: Signer, rpc: Rpc | None = None) -> Connection:
    """Open a connection. Nobody is asked anything.

    Raises:
        Refused: portal_url or desk_url.
    """
    rpc = rpc or HttpRpc(address.node_url)
    return Connection(
        address,
        rpc,
        PrintLicense(rpc, address.contract, address.since),
        _portal(address, signer),
        _desk(address, signer),
        signer,
    )


def _portal(address: Address, signer: Signer) -> Portal | None:
    try:
        return Portal(address.portal_url, signer, address.allow_http) if address.portal_url else None
    except AddressRefused as error:
        raise Refused("portal_url", reason=str(error)[:MAX_REASON]) from error


def _desk(address: Address, signer: Signer) -> Desk | None:
    try:
        if not address.desk_url:
            return None
        return Desk(address.desk_url, address.desk_address, signer, address.allow_http)
    except AddressRefused as error:
        raise Refused("desk_url", reason=str(error)[:MAX_REASON]) from error


def check(settings: Mapping[str, Any], signer: Callable[[], Signer]) -> list[dict[str, Any]]:
    """The connection test: one line a part, `problem` None when it is well."""
    found: dict[str, Message | None] = {}
    try:
        connection = connect(Address.parse(settings), signer())
        connection.require_chain()
        found["node"] = None
        found["contract"] = _trouble_with(_check_contract, connection)
        found["portal"] = _trouble_with(_check_portal, connection)
        found["desk"] = _trouble_with(_check_desk, connection)
    except Refused as error:
        part = error.message.key.partition("_")[0]
        found[part if part in ("portal", "desk") else "node"] = error.message
    return [{"part": part, "problem": problem and problem.as_json()} for part, problem in found.items()]


def _trouble_with(look: Callable[[Connection], None], connection: Connection) -> Message | None:
    try:
        look(connection)
    except Refused as error:
        return error.message
    return None


def _check_contract(connection: Connection) -> None:
    try:
        if not node.has_code(connection.rpc, connection.licenses.address):
            raise Refused("no_contract", address=connection.licenses.address)
    except (NodeUnreachable, NodeRefused) as error:
        raise node_trouble(error) from error


def _check_portal(connection: Connection) -> None:
    """Whether the portal knows this printer and serves the same contract."""
    if connection.portal is None:
        raise Refused("portal_not_set_up")
    try:
        next(connection.portal.jobs(), None)
        told = connection.portal.describe()
    except PortalError as error:
        raise portal_trouble(error) from error
    ours = (connection.address.chain_id, connection.licenses.address.lower())
    if (told.chain_id, told.contract.lower()) != ours:
        raise Refused("portal_elsewhere", address=told.contract)
    desk = connection.desk
    if desk is not None and told.desk_address.lower() != desk.address.lower():
        raise Refused("portal_other_desk", address=told.desk_address)


def _check_desk(connection: Connection) -> None:
    """Whether the desk answers with its signature, to a question about a license that can't exist."""
    desk = connection.desk
    if desk is None:
        raise Refused("desk_not_set_up")
    question = Question(
        connection.address.chain_id, connection.licenses.address, NO_LICENSE, 1, public_key(new_key())
    )
    try:
        desk.ask(question)
    except (AnswerInvalid, PortalError) as error:
        raise desk_trouble(error) from error
