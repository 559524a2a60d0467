"""Where the printer looks: chain node, license contract, portal. One value, opened when needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from imprimatur.chain import node
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc, NodeRefused, NodeUnreachable, Rpc
from imprimatur.chain.signers import Signer
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.portal import Portal

DEFAULTS: dict[str, Any] = {
    "portal_url": "",
    "portal_name": "",
    "node_url": "",
    "chain_id": None,
    "contract": "",
    "contract_since": 0,
}
MAX_REASON = 200


def node_trouble(error: NodeUnreachable | NodeRefused) -> Refused:
    """The operator's sentence for a node that doesn't help."""
    if isinstance(error, NodeUnreachable):
        return Refused("node_down")
    return Refused("node_refused", reason=error.message[:MAX_REASON])


@dataclass(frozen=True, slots=True)
class Address:
    """The settings that name chain, contract and portal, brought to their types."""

    portal_url: str
    portal_name: str
    node_url: str
    chain_id: int
    contract: str
    since: int

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> "Address":
        """From OctoPrint's settings.

        Raises:
            Refused: not_set_up, when node, chain or contract are missing or can't be meant.
        """
        try:
            chain_id, since = int(settings["chain_id"]), int(settings["contract_since"] or 0)
            contract = str(settings["contract"] or "").strip()
            node_url = str(settings["node_url"] or "").strip()
            if (
                not node_url.startswith(("http://", "https://"))
                or len(contract) != 42
                or int(contract, 16) == 0
            ):
                raise ValueError
        except (TypeError, ValueError, KeyError) as error:
            raise Refused("not_set_up") from error
        return cls(
            portal_url=str(settings["portal_url"] or "").strip(),
            portal_name=str(settings["portal_name"] or "").strip(),
            node_url=node_url,
            chain_id=chain_id,
            contract=contract,
            since=since,
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """An open way to chain and portal, in the name of the printer."""

    address: Address
    rpc: Rpc
    licenses: PrintLicense
    portal: Portal
    signer: Signer


def connect(address: Address, signer: Signer, rpc: Rpc | None = None) -> Connection:
    """Open a connection and make sure that it leads to the right chain: what is signed counts there.

    Raises:
        Refused: node_down, node_refused or wrong_chain.
    """
    rpc = rpc or HttpRpc(address.node_url)
    try:
        found = node.chain_id(rpc)
    except (NodeUnreachable, NodeRefused) as error:
        raise node_trouble(error) from error
    if found != address.chain_id:
        raise Refused("wrong_chain", found=found, expected=address.chain_id)
    licenses = PrintLicense(rpc, address.contract, address.since)
    return Connection(address, rpc, licenses, Portal(address.portal_url, signer), signer)


def check(settings: Mapping[str, Any], signer: Callable[[], Signer]) -> list[dict[str, Any]]:
    """The connection test: one line a part, `problem` None when it is well."""
    found: dict[str, Message | None] = {}
    try:
        connection = connect(Address.parse(settings), signer())
        found["node"] = None
        try:
            has_code = node.has_code(connection.rpc, connection.licenses.address)
            found["contract"] = (
                None if has_code else Message("no_contract", {"address": connection.licenses.address})
            )
        except (NodeUnreachable, NodeRefused) as error:
            found["contract"] = node_trouble(error).message
        try:
            connection.portal.listing()
            found["portal"] = None
        except Refused as error:
            found["portal"] = error.message
    except Refused as error:
        found["node"] = error.message
    return [{"part": part, "problem": problem and problem.as_json()} for part, problem in found.items()]
