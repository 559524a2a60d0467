"""Approve another file for a license, such as the part sliced for another nozzle, or take this back.

    python3 run.py brownie run approve_file --network imprimatur
    python3 run.py brownie run approve_file withdraw --network imprimatur

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                              the account that sends: the owner's, or an operator's with APPROVE_FILE
    IMPRIMATUR_LICENSE        the license's id, or its number together with IMPRIMATUR_OWNER
    IMPRIMATUR_FILE or IMPRIMATUR_FILE_HASH
                              the file, or its SHA-256
    IMPRIMATUR_MANIFEST_HASH  optional: hash of the signed manifest of this file
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from scripts import environment
from scripts.contracts import deployed, send
from scripts.keystores import load_account


def set_approval(approved: bool) -> None:
    account = load_account("OWNER")
    id, file_hash = environment.license(), environment.file_hash()
    manifest = environment.hash_of_32_bytes("IMPRIMATUR_MANIFEST_HASH", "of the manifest", default=bytes(32))
    method = deployed("PrintLicense").approveFile
    send(account, method, id, int(file_hash, 16), manifest, approved)
    state = "may be printed" if approved else "may no longer be printed"
    print(f"The file {file_hash} {state} with {environment.name_of(id)}.")


def withdraw() -> None:
    set_approval(False)


def main() -> None:
    set_approval(True)
