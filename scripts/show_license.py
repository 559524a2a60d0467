"""Show a license as it stands on the chain.

    python3 run.py brownie run show_license --network imprimatur

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_LICENSE        the license's id, or its number together with IMPRIMATUR_OWNER
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from datetime import UTC, datetime

from imprimatur.chain.orders import FOR_EVER, Terms
from imprimatur.chain.print_license import License, PrintLicense
from imprimatur.license_id import format_id, owner_of
from scripts import environment
from scripts.contracts import licenses_client


def _terms(license: License) -> str:
    names = [term.name.lower().replace("_", " ") for term in Terms if term.name and license.has(term)]
    return ", ".join(names) or "not transferable, not revocable"


def _validity(license: License) -> str:
    if license.valid_until == FOR_EVER:
        return "for ever"
    return f"until {datetime.fromtimestamp(license.valid_until, UTC):%Y-%m-%d %H:%M:%S} UTC"


def describe(licenses: PrintLicense, id: int) -> str:
    """The license in lines of a name and a value; exits when there is none."""
    license = licenses.license_of(id)
    if license is None:
        raise SystemExit(f"There is no {environment.name_of(id)} on this chain.")
    owner = owner_of(id)
    controller = licenses.controller_of(owner)
    lines = {
        "license": format_id(id),
        "owner": owner if controller == owner else f"{owner}, for whom {controller} acts",
        "printer": license.printer,
        "file": license.file_hash,
        "copies": f"{license.remaining} left, {license.used} used",
        "failures": f"{license.failed} of {license.failures_allowed} allowed",
        "valid": _validity(license),
        "terms": _terms(license),
    }
    return "\n".join(f"{name:<9} {value}" for name, value in lines.items())


def main() -> None:
    print(describe(licenses_client(), environment.license()))
