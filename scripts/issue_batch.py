"""Issue the licenses of a CSV file.

    python3 run.py brownie run issue_batch dry_run --network imprimatur    check everything, send nothing
    python3 run.py brownie run issue_batch --network imprimatur            check everything, then issue

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE, IMPRIMATUR_OWNER
                              as for `issue`
    IMPRIMATUR_CSV            the file; its first line names the columns, which `scripts/orders.py` describes
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default

A line that is wrong stops everything, and all wrong lines are listed with their numbers. Up to 250 licenses
go into one transaction, which issues all of them or none. Running it again issues only what is missing.
"""

from pathlib import Path

from imprimatur.chain.orders import Order
from scripts import environment
from scripts.contracts import check, deployed, licenses_client, send
from scripts.issue import deadline, owner_address
from scripts.keystores import load_account
from scripts.orders import InvalidFile, read_csv

MOST_IN_ONE_TRANSACTION = 250
"""A transaction may use 16,777,216 gas (EIP-7825), a license takes about 55,000 of it."""
TERMS = ("printer", "fileHash", "copies", "validUntil", "flags", "failuresAllowed", "manifestHash")


def missing(numbered: list[tuple[int, Order]]) -> list[Order]:
    """The orders that aren't on the chain yet; exits when one is there with other terms."""
    licenses = licenses_client()
    orders, problems = [], []
    for line, order in numbered:
        issued = next(licenses.events("LicenseIssued", id=order.id), None)
        if issued is None:
            orders.append(order)
        elif any(issued.values[name] != order.values()[name] for name in TERMS):
            problems.append(f"line {line}: {environment.name_of(order.id)} exists with other terms")
    if problems:
        raise SystemExit("\n".join(problems))
    return orders


def batches() -> tuple:
    """Who sends, and what: the missing orders in lists of one transaction each."""
    account = load_account("OWNER")
    path = Path(environment.required("IMPRIMATUR_CSV", "the file with the orders"))
    try:
        numbered = read_csv(path, owner_address(account), deadline())
    except InvalidFile as error:
        raise SystemExit(str(error)) from error
    orders = missing(numbered)
    print(f"{len(numbered)} orders, {len(numbered) - len(orders)} of them issued already.")
    size = MOST_IN_ONE_TRANSACTION
    return account, [orders[start : start + size] for start in range(0, len(orders), size)]


def _structs(orders: list[Order]) -> list[tuple]:
    return [tuple(order.values().values()) for order in orders]


def dry_run() -> None:
    account, lists = batches()
    for orders in lists:
        check(account, deployed("PrintLicense").issueBatch, _structs(orders))
    print(f"{sum(map(len, lists))} licenses would be issued, in {len(lists)} transactions.")


def main() -> None:
    account, lists = batches()
    for orders in lists:
        receipt = send(account, deployed("PrintLicense").issueBatch, _structs(orders))
        print(f"Issued {len(orders)} licenses in {receipt.txid}.")
