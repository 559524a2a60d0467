"""State that a device is what it seems, take this back, show such a statement, or believe its author.

    python3 run.py brownie run attest_device --network imprimatur            the attestor states it
    python3 run.py brownie run attest_device retract --network imprimatur    the attestor takes it back
    python3 run.py brownie run attest_device present --network imprimatur    the printer wallet shows it
    python3 run.py brownie run attest_device accept --network imprimatur     an owner believes the attestor

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_ATTESTOR_KEYSTORE, IMPRIMATUR_ATTESTOR_PASSWORD_FILE
                              the attestor, for the first two
    IMPRIMATUR_WALLET_KEYSTORE, IMPRIMATUR_WALLET_PASSWORD_FILE
                              the wallet of the device, to present
    IMPRIMATUR_OWNER_KEYSTORE, IMPRIMATUR_OWNER_PASSWORD_FILE
                              the owner of licenses, to accept
    IMPRIMATUR_DEVICE         the device's address, but to accept
    IMPRIMATUR_ATTESTOR       the attestor's address, to present and to accept
    IMPRIMATUR_EVIDENCE       hash of what the statement rests on, such as a certificate
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from scripts import environment
from scripts.contracts import deployed, send
from scripts.keystores import load_account


def _device() -> str:
    return environment.address("IMPRIMATUR_DEVICE", "the device's address")


def _attestor() -> str:
    return environment.address("IMPRIMATUR_ATTESTOR", "the attestor's address")


def main() -> None:
    attestor, device = load_account("ATTESTOR"), _device()
    evidence = environment.hash_of_32_bytes("IMPRIMATUR_EVIDENCE", "hash of what the statement rests on")
    send(attestor, deployed("DeviceRegistry").attest, device, evidence)
    print(f"{attestor.address} vouches for {device}.")


def retract() -> None:
    attestor, device = load_account("ATTESTOR"), _device()
    send(attestor, deployed("DeviceRegistry").retract, device)
    print(f"{attestor.address} no longer vouches for {device}.")


def present() -> None:
    wallet, device, attestor = load_account("WALLET"), _device(), _attestor()
    send(wallet, deployed("DeviceRegistry").presentAttestor, device, attestor, True)
    print(f"{device} shows what {attestor} states.")


def accept() -> None:
    owner, attestor = load_account("OWNER"), _attestor()
    send(owner, deployed("DeviceRegistry").acceptAttestor, attestor, True)
    print(f"Licenses of {owner.address} believe {attestor}.")
