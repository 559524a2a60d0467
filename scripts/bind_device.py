"""Let a device act for a printer wallet, or no longer.

    python3 run.py brownie run bind_device --network imprimatur           bind
    python3 run.py brownie run bind_device unbind --network imprimatur    end the binding

Environment:
    IMPRIMATUR_RPC_URL        the chain node
    IMPRIMATUR_WALLET_KEYSTORE, IMPRIMATUR_WALLET_PASSWORD_FILE
                              the printer wallet, which sends the transaction
    IMPRIMATUR_DEVICE_KEYSTORE, IMPRIMATUR_DEVICE_PASSWORD_FILE
                              to bind: the device's key, which signs that it agrees
    IMPRIMATUR_DEVICE         to unbind: the device's address
    IMPRIMATUR_DEPLOYMENTS    folder of the address book; `deployments/` by default
"""

from brownie import chain

from imprimatur.chain import typed_data
from scripts import environment
from scripts.contracts import deployed, devices_client, send
from scripts.keystores import load_account, load_signer

TIME_TO_EXECUTE = 3600
"""Seconds in which the device's consent counts."""


def main() -> None:
    wallet, device = load_account("WALLET"), load_signer("DEVICE")
    registry = devices_client()
    domain = typed_data.device_domain(chain.id, registry.address)
    deadline = chain[-1].timestamp + TIME_TO_EXECUTE
    nonce = registry.nonce_of(device.address)
    consent = typed_data.sign_binding(device, domain, wallet.address, nonce, deadline)
    send(wallet, deployed("DeviceRegistry").bind, device.address, deadline, consent)
    print(f"{device.address} acts for {wallet.address}.")


def unbind() -> None:
    wallet = load_account("WALLET")
    device = environment.address("IMPRIMATUR_DEVICE", "the device's address")
    send(wallet, deployed("DeviceRegistry").unbind, device)
    print(f"{device} no longer acts for {wallet.address}.")
