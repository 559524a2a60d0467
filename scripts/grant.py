"""Add copies to a license, for instance for one that came out wrong.

    python3 run.py brownie run grant --network imprimatur

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                              the account that sends: the owner's, or an operator's with the right GRANT
    IMPRIMATUR_LICENSE        the license's id, or its number together with IMPRIMATUR_OWNER
    IMPRIMATUR_COPIES         how many
    IMPRIMATUR_FOR_COPY       optional: the copy that they replace, which can't be reported as failed then
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from scripts import environment
from scripts.contracts import deployed, send
from scripts.keystores import load_account


def main() -> None:
    account = load_account("OWNER")
    id = environment.license()
    copies = environment.whole_number("IMPRIMATUR_COPIES", "how many copies")
    for_copy = environment.whole_number("IMPRIMATUR_FOR_COPY", "the copy that they replace", default=0)
    if max(copies, for_copy) > 65_535:
        raise SystemExit("A license has at most 65,535 copies.")
    licenses = deployed("PrintLicense")
    send(account, licenses.grantCopies, id, copies, for_copy)
    left = licenses.licenseOf(id)["remaining"]
    print(f"Granted {copies} copies to {environment.name_of(id)}; {left} are left now.")
