"""Deploy PrintLicense and enter it into the address book.

    IMPRIMATUR_RPC_URL=http://… python3 run.py brownie run deploy --network imprimatur

Environment:
    IMPRIMATUR_DEPLOYMENTS       folder of the address book; `deployments/` by default
    IMPRIMATUR_DEPLOYER_KEYSTORE, IMPRIMATUR_DEPLOYER_PASSWORD_FILE
                                 account that pays; the node's first own account by default

Running it again changes nothing: a contract that the address book names and the chain holds is kept.
"""

import os
from pathlib import Path

from brownie import PrintLicense, accounts, chain, web3

from imprimatur import artifacts
from imprimatur.address_book import Deployment, NotDeployed, load, store
from scripts.keystores import load_account

CONTRACT = "PrintLicense"


def deployments_folder() -> Path:
    return Path(os.environ.get("IMPRIMATUR_DEPLOYMENTS", "deployments"))


def deployer():
    """The account that pays for the deployment."""
    if "IMPRIMATUR_DEPLOYER_KEYSTORE" in os.environ:
        return load_account("DEPLOYER")
    if not len(accounts):
        raise SystemExit("The node has no account of its own: set IMPRIMATUR_DEPLOYER_KEYSTORE.")
    return accounts[0]


def existing() -> Deployment | None:
    """The deployment in the address book, if the chain really holds our code there."""
    try:
        known = load(deployments_folder(), chain.id, CONTRACT)
    except NotDeployed:
        return None
    if bytes(web3.eth.get_code(known.address)).hex() == artifacts.load(CONTRACT)["deployedBytecode"][2:]:
        return known
    print(f"{CONTRACT}: the address book names {known.address}, but this chain has other code there.")
    return None


def deploy():
    """The PrintLicense of this chain, deployed if it wasn't yet."""
    known = existing()
    if known is None:
        contract = deployer().deploy(PrintLicense)
        known = Deployment(chain.id, CONTRACT, contract.address, contract.tx.block_number, contract.tx.txid)
        path = store(deployments_folder(), known)
        print(f"{CONTRACT}: deployed at {known.address}, entered into {path}")
    else:
        print(f"{CONTRACT}: already at {known.address}")
    return PrintLicense.at(known.address)


def main() -> None:
    deploy()
