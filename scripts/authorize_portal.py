"""Let a portal issue licenses in the name of an owner until a date, or cut it off.

    python3 run.py brownie run authorize_portal --network imprimatur            allow for a year
    python3 run.py brownie run authorize_portal cut_off --network imprimatur    cut off at once

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                              the owner's account, which sends the transaction
    IMPRIMATUR_OPERATOR       address of the portal's operator key; the portal's account page shows it
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from datetime import UTC, datetime

from brownie import chain

from imprimatur.chain.orders import Right
from scripts import environment
from scripts.contracts import deployed, send
from scripts.keystores import load_account

YEAR = 365 * 24 * 3600
"""Seconds."""


def operator_address() -> str:
    return environment.address("IMPRIMATUR_OPERATOR", "the address that the portal's account page shows")


def authorize(licenses, owner, operator: str, seconds: int = YEAR) -> None:
    """Give the right ISSUE for some time from the chain's clock on."""
    until = chain[-1].timestamp + seconds
    send(owner, licenses.setOperator, owner.address, operator, Right.ISSUE.value, until)
    print(f"{operator} may issue licenses of {owner} until {datetime.fromtimestamp(until, UTC):%Y-%m-%d}.")


def main() -> None:
    authorize(deployed("PrintLicense"), load_account("OWNER"), operator_address())


def cut_off() -> None:
    owner = load_account("OWNER")
    operator = operator_address()
    send(owner, deployed("PrintLicense").setOperator, owner.address, operator, Right.NONE.value, 0)
    print(f"{operator} can do nothing for {owner} any more.")
