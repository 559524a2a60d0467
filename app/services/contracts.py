"""What use cases need of the chain."""

from typing import Protocol

from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.print_license import PrintLicense


class Contracts(Protocol):
    """Gives the contracts once the node answers."""

    def licenses(self) -> PrintLicense:
        """The contract.

        Raises:
            NodeUnreachable: the node doesn't answer.
            NotDeployed: the address book has no contract on the node's chain.
        """

    def devices(self) -> DeviceRegistry:
        """The registry that the contract believes. Raises as `licenses`."""
