"""Which key the printer signs with: the keystore in its data folder, or one that never leaves its token."""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur.chain.signers import (
    Pkcs11Signer,
    Signer,
    SignerUnusable,
    Token,
    TokenUnusable,
    create_token_key,
)
from imprimatur.chain.signers.pkcs11 import WrongPin
from imprimatur.device.fingerprint import fingerprint
from octoprint_imprimatur import keys
from octoprint_imprimatur.messages import Message, Refused
from octoprint_imprimatur.settings import KEY_STORES

KEYSTORE, PKCS11 = KEY_STORES
OPEN_WITHIN = 10.0
"""Seconds that a request waits for the key at start-up."""
AGAIN_AFTER = 30.0
"""Seconds after which a token that isn't there is looked for again."""
_log = logging.getLogger("octoprint.plugins.imprimatur.device_key")


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """Where the key is. The last three belong to `pkcs11`: the module's path, labels of token and key."""

    store: str = KEYSTORE
    module: str = ""
    token: str = ""
    label: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "KeyChoice":
        """What the settings say; the keystore unless they say something else."""
        texts = [str(settings.get(f"pkcs11_{name}") or "").strip() for name in ("module", "token", "label")]
        return cls(str(settings.get("key_store") or KEYSTORE), *texts)

    def as_settings(self) -> dict[str, str]:
        return {
            "key_store": self.store,
            "pkcs11_module": self.module,
            "pkcs11_token": self.token,
            "pkcs11_label": self.label,
        }


class PinDiffers(SignerUnusable):
    """The token was opened with another PIN. This process is logged in to it, so it would take any now."""


_entered: dict[tuple[str, str], str] = {}
"""PINs that opened tokens (module and label) in this process: logged in is a process, not a session."""


def open_signer(choice: KeyChoice, folder: Path, pin: str | None = None, create_id: bytes = b"") -> Signer:
    """The signer of a choice. A keystore is made when there is none.

    Args:
        folder: the plugin's data.
        pin: of the token; by default the one that is kept.
        create_id: make a key in the token with this id first, never a second one by a name in use.

    Raises:
        PinDiffers
        SignerUnusable: the key can't be used.
        OSError: its files can't be read or written.
    """
    if choice.store == KEYSTORE:
        return keys.open_or_create(folder)
    if choice.store != PKCS11:
        raise SignerUnusable(f"There is no kind of key store “{choice.store:.20}”.")
    pin = _kept_pin(choice, folder) if pin is None else pin
    place = (choice.module, choice.token)
    if not secrets.compare_digest(_entered.get(place, pin).encode(), pin.encode()):
        raise PinDiffers(f"The token {choice.token} is in use with another PIN.")
    token = Token(Path(choice.module), choice.token, pin)
    if create_id:
        signer = create_token_key(token, choice.label, create_id)
    else:
        signer = Pkcs11Signer(token, choice.label)
    _entered[place] = pin
    return signer


def keep_pin(choice: KeyChoice, folder: Path, pin: str) -> None:
    """Write down the PIN, together with its token: another one must not be tried with it.

    Raises:
        OSError
    """
    keys.write_secret(
        folder / keys.PIN, json.dumps({"module": choice.module, "token": choice.token, "pin": pin})
    )


def _kept_pin(choice: KeyChoice, folder: Path) -> str:
    try:
        kept = json.loads((folder / keys.PIN).read_text())
        place, pin = (kept["module"], kept["token"]), str(kept["pin"])
    except (ValueError, KeyError, TypeError) as error:
        raise SignerUnusable(f"{keys.PIN} can't be read. Choose the key anew.") from error
    if place != (choice.module, choice.token):
        raise SignerUnusable(f"The PIN that is kept belongs to another token than {choice.token}.")
    return pin


class Keys:
    """The printer's key, opened in the background because that takes a second.

    Args:
        folder: the plugin's data.
        settings: the plugin's settings as they are now.
    """

    def __init__(self, folder: Path, settings: Callable[[], Mapping[str, Any]]) -> None:
        self.folder = folder
        self._settings = settings
        self._signer: Signer | None = None
        self._trouble: Exception | None = None
        self._tried = 0.0
        self._opened = threading.Event()
        self._changing = threading.Lock()

    def open(self) -> None:
        """Open what the settings name. Troubles are kept, never raised."""
        with self._changing:
            if self._signer is not None:
                return
            try:
                self._signer = open_signer(KeyChoice.of(self._settings()), self.folder)
                self._trouble = None
            except Exception as error:
                if str(error) != str(self._trouble):
                    _log.exception("The printer's key can't be opened.")
                self._trouble = error
            self._tried = time.monotonic()
            self._opened.set()

    def look_again(self) -> None:
        """A token may be plugged in late, a disk come back. A refused PIN isn't tried again."""
        waits = isinstance(self._trouble, TokenUnusable | OSError) and not isinstance(self._trouble, WrongPin)
        if self._signer is None and waits and time.monotonic() - self._tried >= AGAIN_AFTER:
            self.open()

    def adopt(self, signer: Signer) -> None:
        """From now on this key signs."""
        with self._changing:
            self._signer, self._trouble = signer, None
            self._opened.set()

    @property
    def address(self) -> str | None:
        """Checksum address, None while or when there is no key."""
        return self._signer.address if self._signer else None

    @property
    def problem(self) -> Message | None:
        """Why there is no key, None while it is being opened."""
        return None if self._trouble is None else Message("key_unusable", {"reason": str(self._trouble)})

    def signer(self) -> Signer:
        """The signer; waits a while for the key to be opened.

        Raises:
            Refused: key_not_ready, key_unusable.
        """
        self._opened.wait(OPEN_WITHIN)
        if self._signer is not None:
            return self._signer
        if self._trouble is not None:
            raise Refused("key_unusable", reason=str(self._trouble))
        raise Refused("key_not_ready")

    def as_json(self) -> dict[str, Any]:
        address, problem = self.address, self.problem
        return {
            "state": "ready" if address else "unusable" if problem else "opening",
            "store": KeyChoice.of(self._settings()).store,
            "address": address,
            "fingerprint": address and fingerprint(address),
            "problem": problem and problem.as_json(),
        }
