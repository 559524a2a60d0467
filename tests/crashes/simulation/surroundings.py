"""What the printer's process is given in place of threads, time and network."""

import threading
from collections.abc import Callable
from typing import Any

from crashes.simulation.contract import ADDRESS, SignedMessage, messages_in
from crashes.simulation.judge import Judge
from crashes.simulation.node import LicenseNode
from crashes.simulation.portal import DESK, URL, SimulatedPortal, clients
from crashes.simulation.switch import Switch
from library.adversary.signed import read
from library.adversary.simulated_node import CHAIN_ID

from imprimatur.chain.outbox import Confirmations
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import Rpc
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Use
from octoprint_imprimatur.connection import Address, Connection


class Nap(threading.Event):
    """What a waiting job waits for: the world goes on meanwhile, and the background looks now and then."""

    def __init__(self, pass_time: Callable[[float], None]) -> None:
        super().__init__()
        self._pass_time = pass_time

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._pass_time(timeout)
        return self.is_set()


class SendingRpc(Rpc):
    """The printer's way to its node: sending is a boundary on both sides, asking changes nothing."""

    def __init__(self, node: LicenseNode, switch: Switch, judge: Judge) -> None:
        self._node = node
        self._switch = switch
        self._judge = judge

    def call(self, method: str, params: list[Any]) -> Any:
        if method != "eth_sendRawTransaction":
            return self._node.call(method, params)
        self._switch(f"before {method}")
        for one in messages_in(read(bytes.fromhex(params[0][2:])).data):
            if isinstance(one, SignedMessage) and isinstance(one.message, Use):
                self._judge.on_use(one.message)
        try:
            return self._node.call(method, params)
        finally:
            self._switch.changed()
            self._switch(f"after {method}")


def connected(
    node: LicenseNode, server: SimulatedPortal, switch: Switch, judge: Judge, signer: KeySigner
) -> Connection:
    """The way to chain, portal and desk, as settings would give it."""
    portal, desk = clients(signer, server, switch)
    finality = Confirmations(node.depth)
    address = Address(URL, "", URL, CHAIN_ID, ADDRESS, 0, f"{URL}/desk", DESK.address, finality)
    rpc = SendingRpc(node, switch, judge)
    return Connection(address, rpc, PrintLicense(rpc, ADDRESS, 0), portal, desk, signer)
