"""Issue one license.

    python3 run.py brownie run issue --network imprimatur

Environment:
    IMPRIMATUR_RPC_URL            the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                                  the account that sends: the owner's, or one that she lets act for her
    IMPRIMATUR_OWNER              the owner's address, when the account isn't hers
    IMPRIMATUR_NUMBER             the license's number, a text such as 4711-A4-58572
    IMPRIMATUR_PRINTER            address of the printer wallet
    IMPRIMATUR_FILE or IMPRIMATUR_FILE_HASH
                                  the print file, or its SHA-256
    IMPRIMATUR_COPIES             how often it may be printed
    IMPRIMATUR_VALID_UNTIL        optional: last day, YYYY-MM-DD (UTC)
    IMPRIMATUR_TERMS              optional: transferable, revocable, trusted_device
    IMPRIMATUR_FAILURES_ALLOWED   optional: failed prints that are given back
    IMPRIMATUR_MANIFEST_HASH      optional: hash of the signed manifest
    IMPRIMATUR_DEPLOYMENTS        folder of the address book; `deployments/` by default
"""

import os
from pathlib import Path

from brownie import chain

from scripts import environment, orders
from scripts.contracts import deployed, send
from scripts.keystores import load_account

TIME_TO_EXECUTE = 3600
"""Seconds in which an order counts."""


def owner_address(account) -> str:
    """The owner in whose name an account acts: IMPRIMATUR_OWNER, or the account itself."""
    if os.environ.get("IMPRIMATUR_OWNER"):
        return environment.address("IMPRIMATUR_OWNER", "the owner's address")
    return account.address


def deadline() -> int:
    """Last second, by the chain's clock, at which an order of now counts."""
    return chain[-1].timestamp + TIME_TO_EXECUTE


def issue(account, order):
    """Send the order as the owner, or as her operator; the receipt."""
    licenses = deployed("PrintLicense")
    is_owner = licenses.controllerOf(order.owner) == account
    method = licenses.issue if is_owner else licenses.issueFor
    return send(account, method, tuple(order.values().values()))


def main() -> None:
    account = load_account("OWNER")
    fields = {name: os.environ.get(f"IMPRIMATUR_{name.upper()}", "") for name in orders.FIELDS}
    try:
        order = orders.parse(fields, owner_address(account), deadline(), Path())
    except orders.InvalidOrder as error:
        raise SystemExit(f"The order is incomplete or wrong. {error}.") from error
    issue(account, order)
    print(f"Issued: {environment.name_of(order.id)}, {order.copies} copies for {order.printer}.")
