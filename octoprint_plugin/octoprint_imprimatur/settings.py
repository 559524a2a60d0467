"""The plugin's settings: their defaults, and which of them OctoPrint's general dialog doesn't change."""

from collections.abc import Mapping
from typing import Any

from octoprint_imprimatur.policy import LICENSED_ONLY

KEY_STORES = ("keystore", "pkcs11")

DEFAULTS: dict[str, Any] = {
    "portal_url": "",
    "portal_name": "",
    "desk_url": "",
    "desk_address": "",
    "node_url": "",
    "chain_id": None,
    "contract": "",
    "contract_since": 0,
    "finality": "",
    "allow_http": False,
    "policy": LICENSED_ONLY,
    "trusted_hooks": [],
    "timelapse": False,
    "update_url": "",
    "key_store": KEY_STORES[0],
    "pkcs11_module": "",
    "pkcs11_token": "",
    "pkcs11_label": "",
    "enrolled_at": None,
    "enrolled_device": "",
    "enrolled_wallet": "",
    "enrolled_printer": "",
    "enrolled_owner": "",
}
GUARDED = frozenset(
    key
    for key in DEFAULTS
    if key in ("policy", "trusted_hooks", "key_store") or key.startswith(("pkcs11_", "enrolled_"))
)
"""Changed by routes of their own, which ask for more than the right to change settings."""


def unguarded(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of some changes the general settings dialog may do."""
    return {key: value for key, value in data.items() if key not in GUARDED}
