"""Deploy DeviceRegistry and PrintLicense and enter them into the address book.

    IMPRIMATUR_RPC_URL=http://… python3 run.py brownie run deploy --network imprimatur

Environment:
    IMPRIMATUR_DEPLOYMENTS       folder of the address book; `deployments/` by default
    IMPRIMATUR_DEPLOYER_KEYSTORE, IMPRIMATUR_DEPLOYER_PASSWORD_FILE
                                 account that pays; the node's first own account by default

Running it again changes nothing: a contract that the address book names and the chain holds is kept. What an
explorer needs to verify the sources is in `deployments/standard-json/`; the arguments are printed.
"""

import os

from brownie import accounts, chain, web3

from imprimatur.address_book import Deployment, NotDeployed, load, store
from imprimatur.artifacts import is_code_of
from imprimatur.chain.interface import interface_of
from scripts.contracts import CONTAINERS, deployed, deployments_folder
from scripts.keystores import load_account


def deployer():
    """The account that pays for the deployment."""
    if "IMPRIMATUR_DEPLOYER_KEYSTORE" in os.environ:
        return load_account("DEPLOYER")
    if not len(accounts):
        raise SystemExit("The node has no account of its own: set IMPRIMATUR_DEPLOYER_KEYSTORE.")
    return accounts[0]


def existing(name: str, *arguments: str):
    """The contract in the address book, if the chain holds our code there, made with these arguments."""
    try:
        known = load(deployments_folder(), chain.id, name)
    except NotDeployed:
        return None
    if not is_code_of(name, bytes(web3.eth.get_code(known.address))):
        print(f"{name}: the address book names {known.address}, but this chain has other code there.")
        return None
    contract = CONTAINERS[name].at(known.address)
    if name == "PrintLicense" and (contract.DEVICES(),) != arguments:
        print(f"{name}: the one at {known.address} believes another DeviceRegistry.")
        return None
    return contract


def deploy_one(name: str, *arguments: str):
    """The contract of this name on this chain, deployed if it wasn't yet."""
    contract = existing(name, *arguments)
    if contract is not None:
        print(f"{name}: already at {contract.address}")
        return contract
    contract = deployer().deploy(CONTAINERS[name], *arguments)
    entry = Deployment(chain.id, name, contract.address, contract.tx.block_number, contract.tx.txid)
    path = store(deployments_folder(), entry)
    print(f"{name}: deployed at {contract.address}, entered into {path}")
    encoded = interface_of(name).encode_constructor(*arguments) or "none"
    print(f"{name}: source in deployments/standard-json/{name}.json, constructor arguments: {encoded}")
    return contract


def deploy():
    """The PrintLicense of this chain, deployed with its DeviceRegistry if they weren't yet."""
    devices = deploy_one("DeviceRegistry")
    deploy_one("PrintLicense", devices.address)
    return deployed("PrintLicense")


def main() -> None:
    deploy()
