"""The deployed contracts, and sending to them so that a refusal is a sentence instead of a trace."""

import os
from pathlib import Path

from brownie import DeviceRegistry, PrintLicense, chain, web3

from imprimatur.address_book import Deployment, NotDeployed, load
from imprimatur.chain import device_registry, print_license
from imprimatur.chain.adapters import ProviderRpc
from imprimatur.chain.contract import revert_of
from imprimatur.chain.rpc import NodeRefused

CONTAINERS = {"DeviceRegistry": DeviceRegistry, "PrintLicense": PrintLicense}
"""Brownie's, in the order in which the contracts need each other."""


def node() -> ProviderRpc:
    """The node that Brownie is connected to, for the library's clients."""
    return ProviderRpc(web3.provider)


def deployments_folder() -> Path:
    """Folder of the address book."""
    return Path(os.environ.get("IMPRIMATUR_DEPLOYMENTS", "deployments"))


def deployment_of(name: str) -> Deployment:
    """Where a contract is on this chain; exits with a sentence when it isn't deployed."""
    try:
        return load(deployments_folder(), chain.id, name)
    except NotDeployed as error:
        raise SystemExit(str(error)) from error


def deployed(name: str):
    """Brownie's contract of this name on this chain."""
    return CONTAINERS[name].at(deployment_of(name).address)


def licenses_client() -> print_license.PrintLicense:
    """The library's view of this chain's PrintLicense."""
    entry = deployment_of(print_license.CONTRACT)
    return print_license.PrintLicense(node(), entry.address, entry.block)


def devices_client() -> device_registry.DeviceRegistry:
    """The library's view of this chain's DeviceRegistry."""
    entry = deployment_of(device_registry.CONTRACT)
    return device_registry.DeviceRegistry(node(), entry.address, entry.block)


def check(account, method, *arguments) -> None:
    """Try a call without sending it; exits with the contract's reason when it would be refused."""
    call = {"from": str(account), "to": method._address, "data": method.encode_input(*arguments)}
    try:
        node().call("eth_call", [call, "latest"])
    except NodeRefused as error:
        raise SystemExit(str(revert_of(error) or error)) from error


def send(account, method, *arguments):
    """Try a call, then send it; the receipt. Nothing is sent that the contract would refuse."""
    check(account, method, *arguments)
    return method(*arguments, {"from": account})
