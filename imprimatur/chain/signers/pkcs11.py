"""A key in a token (HSM, secure element, smart card) that never leaves it: PKCS #11, mechanism CKM_ECDSA."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imprimatur.chain.keccak import keccak256
from imprimatur.chain.signers.assembled import AssemblingSigner
from imprimatur.chain.signers.payloads import Signature, address_of, complete
from imprimatur.chain.signers.protocol import SignerUnusable

SECP256K1 = bytes.fromhex("06052b8104000a")
"""DER of the curve's object identifier, 1.3.132.0.10 (SEC 2, A.2)."""

_ONE_AT_A_TIME = threading.RLock()
"""python-pkcs11 initializes modules for programs with one thread."""


class TokenUnusable(SignerUnusable):
    """The module, the token or the key in it can't be used."""


class ModuleMissing(TokenUnusable):
    """There is no PKCS #11 module at that path, or no python-pkcs11."""


class TokenMissing(TokenUnusable):
    """The module shows no token, or several, with that label."""


class WrongPin(TokenUnusable):
    """The token refuses the PIN. It isn't tried again: a few wrong ones lock a token."""


class KeyMissing(TokenUnusable):
    """The token has no such key, or several, or one that isn't fit."""


@dataclass(frozen=True)
class Token:
    """Where a token is: the module's path, the token's label, its user PIN."""

    module: Path
    label: str
    pin: str = field(repr=False)


class Pkcs11Signer(AssemblingSigner):
    """Signs with the secp256k1 key in `token` that has this label, this id, or both.

    The token is opened here and again whenever it lost the session. All threads may use one object; tokens
    sign one thing at a time. A process that forks opens its tokens afterwards.

    Raises:
        ModuleMissing, TokenMissing, WrongPin, KeyMissing
    """

    def __init__(self, token: Token, label: str | None = None, id: bytes | None = None) -> None:
        if label is None and id is None:
            raise KeyMissing("Say which key of the token signs: its label, its id, or both.")
        self._token = token
        self._wanted = {name: value for name, value in (("label", label), ("id", id)) if value is not None}
        self._refused: WrongPin | None = None
        self._session: Any = None
        self._key: Any = None
        with _ONE_AT_A_TIME:
            super().__init__(self._open())

    def _sign(self, payload: bytes) -> Signature:
        digest = keccak256(payload)
        with _ONE_AT_A_TIME:
            raw = self._ask_key(digest)
        if len(raw) != 64:
            raise TokenUnusable("The token's signature doesn't have 64 bytes.")
        return complete(
            digest, int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"), self.address
        )

    def _ask_key(self, digest: bytes) -> bytes:
        """r and s. A token that lost the session is opened again, once: signing twice does no harm."""
        from pkcs11 import Mechanism, PKCS11Error

        if self._key is not None:
            try:
                return bytes(self._key.sign(digest, mechanism=Mechanism.ECDSA))
            except PKCS11Error:
                self._key = None
        if self._open() != self.address:
            self._key = None
            raise KeyMissing(f"The token {self._token.label} has another key now than {self.address}.")
        try:
            return bytes(self._key.sign(digest, mechanism=Mechanism.ECDSA))
        except PKCS11Error as error:
            self._key = None
            raise _trouble(self._token, error) from error

    def _open(self) -> str:
        """Find the key, in a new session; its address."""
        from pkcs11 import ObjectClass, PKCS11Error

        if self._refused is not None:
            raise self._refused
        self._close()
        try:
            self._session = _session(self._token)
            key = _only(self._session, self._wanted, ObjectClass.PRIVATE_KEY)
            address = _address(_only(self._session, self._wanted, ObjectClass.PUBLIC_KEY))
            _require_kept(key)
        except WrongPin as error:
            self._refused = error
            raise
        except TokenUnusable:
            self._close()
            raise
        except PKCS11Error as error:
            self._close()
            raise _trouble(self._token, error) from error
        self._key = key
        return address

    def _close(self) -> None:
        """Tokens have few sessions. One that logged in logs out all; the others then open theirs again."""
        session, self._session, self._key = self._session, None, None
        if session is not None:
            _close(session)


def create_token_key(token: Token, label: str, id: bytes) -> Pkcs11Signer:
    """Make a secp256k1 key in the token, sensitive and not extractable; never a second one by a name in use.

    Raises:
        KeyMissing: the token has a key of this label or this id.
        ModuleMissing, TokenMissing, WrongPin, TokenUnusable
    """
    with _ONE_AT_A_TIME:
        _create(token, label, id)
        return Pkcs11Signer(token, label, id)


def _create(token: Token, label: str, id: bytes) -> None:
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, PKCS11Error

    session = _session(token, writing=True)
    try:
        for wanted in ({Attribute.LABEL: label}, {Attribute.ID: id}):
            if list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **wanted})):
                raise KeyMissing(f"The token {token.label} has a key {label} or {id.hex()} already.")
        curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: SECP256K1}, local=True)
        curve.generate_keypair(
            mechanism=Mechanism.EC_KEY_PAIR_GEN,
            store=True,
            label=label,
            id=id,
            private_template={
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.SIGN: True,
                Attribute.DERIVE: False,
                Attribute.UNWRAP: False,
            },
        )
    except PKCS11Error as error:
        raise _trouble(token, error) from error
    finally:
        _close(session)


def _close(session: Any) -> None:
    from pkcs11 import PKCS11Error

    # What the token has lost already, or its owner logged out of, needs no closing.
    with suppress(PKCS11Error):
        session.close()


def _session(token: Token, writing: bool = False) -> Any:
    """A session of the token in which its user is logged in.

    Raises:
        ModuleMissing, TokenMissing, WrongPin, TokenUnusable
    """
    if not token.module.is_file():
        raise ModuleMissing(f"There is no PKCS #11 module at {token.module}. Is its package installed?")
    try:
        import pkcs11
    except ImportError as error:
        raise ModuleMissing("Tokens need python-pkcs11: install imprimatur[pkcs11].") from error
    try:
        library = pkcs11.lib(str(token.module))
    except pkcs11.PKCS11Error as error:
        raise ModuleMissing(f"{token.module} isn't a PKCS #11 module that runs here ({error}).") from error
    try:
        found = library.get_token(token_label=token.label)
    except (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned) as error:
        raise TokenMissing(
            f"{token.module.name} shows no token, or several, with the label {token.label}. Is it plugged in?"
        ) from error
    except pkcs11.PKCS11Error as error:
        raise _trouble(token, error) from error
    return _logged_in(token, lambda pin: found.open(rw=writing, user_pin=pin))


def _logged_in(token: Token, open: Callable[[str | None], Any]) -> Any:
    import pkcs11

    wrong = (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked, pkcs11.PinExpired)
    try:
        try:
            return open(token.pin)
        except pkcs11.UserAlreadyLoggedIn:
            # Logged in is a program, not a session: another signer of this process has done it.
            return open(None)
    except wrong as error:
        raise WrongPin(
            f"The token {token.label} refuses the PIN ({type(error).__name__}). It isn't tried again."
        ) from error
    except pkcs11.PKCS11Error as error:
        raise _trouble(token, error) from error


def _only(session: Any, wanted: dict[str, Any], kind: Any) -> Any:
    """The one key of this kind."""
    from pkcs11 import Attribute, KeyType

    half = kind.name.lower().replace("_", " ")
    name = ", ".join(value if isinstance(value, str) else value.hex() for value in wanted.values())
    names = {Attribute[name.upper()]: value for name, value in wanted.items()}
    # All of them: a search that stops early ends some time later, perhaps after its session.
    found = list(session.get_objects({Attribute.CLASS: kind, Attribute.KEY_TYPE: KeyType.EC, **names}))
    if not found:
        raise KeyMissing(f"The token has no elliptic {half} {name}.")
    if len(found) > 1:
        raise KeyMissing(f"The token has several elliptic {half}s {name}. Give label and id.")
    return found[0]


def _address(public: Any) -> str:
    """Address of a public key object."""
    from pkcs11 import Attribute

    if bytes(public[Attribute.EC_PARAMS]) != SECP256K1:
        raise KeyMissing("The token's key isn't on the curve secp256k1.")
    point = bytes(public[Attribute.EC_POINT])
    # An OCTET STRING by the standard; some modules leave its two bytes of DER out.
    if len(point) == 67 and point[:2] == b"\x04\x41":
        point = point[2:]
    try:
        return address_of(point)
    except ValueError as error:
        raise KeyMissing("The token's public key isn't an uncompressed point.") from error


def _require_kept(key: Any) -> None:
    """A key that can be read out of its token is no better than a file, and nobody would notice."""
    from pkcs11 import Attribute

    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        raise KeyMissing("The token would give this key away: it must be sensitive and not extractable.")


def _trouble(token: Token, error: Exception) -> TokenUnusable:
    return TokenUnusable(f"The token {token.label} doesn't do it ({type(error).__name__}). Is it plugged in?")
