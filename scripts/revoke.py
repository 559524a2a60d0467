"""End a revocable license. What is left of it is forfeited.

    python3 run.py brownie run revoke --network imprimatur

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                              the account that sends: the owner's, or an operator's with the right REVOKE
    IMPRIMATUR_LICENSE        the license's id, or its number together with IMPRIMATUR_OWNER
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from scripts import environment
from scripts.contracts import deployed, send
from scripts.keystores import load_account


def main() -> None:
    account = load_account("OWNER")
    id = environment.license()
    receipt = send(account, deployed("PrintLicense").revoke, id)
    forfeited = receipt.events["LicenseRevoked"]["forfeited"]
    print(f"Revoked {environment.name_of(id)}; {forfeited} copies are forfeited.")
