"""The chain side of the demo, in one start of Brownie: deploy, hand out coins, let the portal issue.

Environment: as `deploy` and `authorize_portal`, and
    IMPRIMATUR_FUND    addresses, separated by commas, that get coins when they hold none
"""

import os

from brownie import accounts, web3

from scripts.authorize_portal import authorize, operator_address
from scripts.deploy import deploy
from scripts.keystores import load_account


def main() -> None:
    licenses = deploy()
    for address in os.environ["IMPRIMATUR_FUND"].split(","):
        if not web3.eth.get_balance(address):
            accounts[0].transfer(address, "10 ether")
            print(f"{address} received 10 ether of play money.")
    owner = load_account("OWNER")
    # Once only: an owner who has cut the portal off stays so at the next start of the demo.
    if owner.nonce == 0:
        authorize(licenses, owner, operator_address())
