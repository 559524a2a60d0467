"""What the portal must be told, read from `IMPRIMATUR_*` environment variables and validated once."""

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from click import ClickException

from app.services.addresses import checked_address
from app.services.relay_limits import DEFAULTS, RelayLimits
from imprimatur.chain.outbox.rules import Finality, UnknownFinality, parse_finality
from imprimatur.device_auth import origin_of
from imprimatur.errors import ImprimaturError
from imprimatur.sealing.keys import check_public_key

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_FOLDER = PROJECT / ".imprimatur" / "portal"
DEFAULT_DEPLOYMENTS = PROJECT / "deployments"
MIN_SECRET_BYTES = 32
GWEI_DIGITS = 9
ETHER_DIGITS = 18
"""Digits behind the point, down to one wei."""
PER_MINUTE = 60
"""Answers that one device may get in a minute."""
MOST = 1_000_000
"""Of anything that is counted."""
MINUTE = 60
"""Seconds."""


class SettingInvalid(ImprimaturError, ClickException):
    """A setting is missing or can't be meant. A command line shows its sentence and no traceback."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


@dataclass(frozen=True, slots=True)
class DeskIdentity:
    """What everybody may know of the key desk.

    Attributes:
        address: whose signature its answers carry (checksum).
        recipient: X25519 public key (32 bytes) that file keys are encrypted to.
    """

    address: str
    recipient: bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of every portal process. None of them opens the operator's key.

    Attributes:
        database_url: SQLAlchemy URL.
        storage_url: where sealed files are kept: `file:///srv/files`, `s3://bucket/prefix` or `memory:///`.
        chain_url: JSON-RPC endpoint of the chain node.
        deployments: folder of the address books, one JSON file per chain id.
        secret_key: signs sessions and CSRF tokens.
        max_upload: largest accepted upload, in bytes.
        public_url: where browsers reach the portal; cookies are `Secure` when it is https.
        desk_url: where printers reach the key desk.
        desk: the desk's public keys; None until it has made its own: nothing can be sealed for it then.
        finality: when a block counts as final; None: as the chain is usually run.
        relay_waiting, relay_per_device, relay_batch, relay_gather: see `RelayLimits`.
    """

    database_url: str
    storage_url: str
    chain_url: str
    deployments: Path
    secret_key: bytes = field(repr=False)
    max_upload: int
    public_url: str
    desk_url: str = "http://127.0.0.1:5001"
    desk: "DeskIdentity | None" = None
    finality: Finality | None = None
    relay_waiting: int = DEFAULTS.waiting
    relay_per_device: int = DEFAULTS.per_device
    relay_batch: int = DEFAULTS.batch
    relay_gather: float = DEFAULTS.gather

    @property
    def https(self) -> bool:
        return urlsplit(self.public_url).scheme == "https"

    @property
    def relay(self) -> RelayLimits:
        return RelayLimits(self.relay_waiting, self.relay_per_device, self.relay_batch, self.relay_gather)


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """What only the key desk needs. It alone opens file keys.

    Attributes:
        keystore: of the key that signs its answers (Web3 Secret Storage).
        vault: its X25519 secret, encrypted with the same password (age).
        chain_urls: its own nodes, which must agree; at least one.
        per_minute: answers that one device may get in a minute.
    """

    keystore: Path
    vault: Path
    password: str = field(repr=False)
    chain_urls: tuple[str, ...]
    per_minute: int


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What only the worker needs: where the operator's key lies and what opens it, and what it may spend.

    Attributes:
        max_fee: the highest fee to sign, in wei per gas; None: as usual.
        low_balance: wei below which the worker raises an alarm; None: as usual.
    """

    keystore: Path
    password: str = field(repr=False)
    max_fee: int | None
    low_balance: int | None


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings; makes the secret key's file when there is none.

    Raises:
        SettingInvalid: names the variable and what is wrong with it.
    """
    env = os.environ if environment is None else environment
    database = env.get("IMPRIMATUR_DATABASE_URL") or f"sqlite:///{DEFAULT_FOLDER / 'portal.db'}"
    if "://" not in database:
        raise SettingInvalid("IMPRIMATUR_DATABASE_URL", "must be a URL such as sqlite:////srv/portal.db")
    secret_file = Path(env.get("IMPRIMATUR_SECRET_KEY_FILE") or DEFAULT_FOLDER / "secret_key")
    return Settings(
        database_url=database,
        storage_url=env.get("IMPRIMATUR_STORAGE_URL") or (DEFAULT_FOLDER / "files").as_uri(),
        chain_url=_http_url(env, "IMPRIMATUR_CHAIN_URL", "http://127.0.0.1:8545"),
        deployments=Path(env.get("IMPRIMATUR_DEPLOYMENTS") or DEFAULT_DEPLOYMENTS).absolute(),
        secret_key=_secret_key(secret_file),
        max_upload=_megabytes(env.get("IMPRIMATUR_MAX_UPLOAD_MB") or "1024"),
        public_url=_http_url(env, "IMPRIMATUR_PUBLIC_URL", "http://127.0.0.1:5000"),
        desk_url=_http_url(env, "IMPRIMATUR_DESK_URL", "http://127.0.0.1:5001"),
        desk=_desk(env.get("IMPRIMATUR_DESK_FILE")),
        finality=_finality(env),
        relay_waiting=_number(env, "IMPRIMATUR_RELAY_WAITING", DEFAULTS.waiting),
        relay_per_device=_number(env, "IMPRIMATUR_RELAY_PER_DEVICE", DEFAULTS.per_device),
        relay_batch=_number(env, "IMPRIMATUR_RELAY_BATCH", DEFAULTS.batch),
        relay_gather=_seconds(env, "IMPRIMATUR_RELAY_GATHER", DEFAULTS.gather),
    )


def load_worker(environment: Mapping[str, str] | None = None) -> WorkerSettings:
    """The worker's own settings; reads the password, not the key.

    Raises:
        SettingInvalid: missing or not understood, or the password file can't be read.
    """
    env = os.environ if environment is None else environment
    _need(
        env,
        {
            "IMPRIMATUR_OPERATOR_KEYSTORE": "the worker signs with the key in this keystore",
            "IMPRIMATUR_OPERATOR_PASSWORD_FILE": "the worker opens its key with the password in this file",
        },
    )
    return WorkerSettings(
        keystore=Path(env["IMPRIMATUR_OPERATOR_KEYSTORE"]),
        password=_password(env, "IMPRIMATUR_OPERATOR_PASSWORD_FILE"),
        max_fee=_max_fee(env),
        low_balance=_wei(env, "IMPRIMATUR_LOW_BALANCE", "ether", ETHER_DIGITS),
    )


def load_desk(environment: Mapping[str, str] | None = None) -> DeskSettings:
    """The key desk's own settings; reads the password, not the keys.

    Raises:
        SettingInvalid: missing or not understood, or the password file can't be read.
    """
    env = os.environ if environment is None else environment
    _need(
        env,
        {
            "IMPRIMATUR_DESK_KEYSTORE": "the desk signs its answers with the key in this file",
            "IMPRIMATUR_DESK_VAULT": "the desk opens file keys with the secret in this file",
            "IMPRIMATUR_DESK_PASSWORD_FILE": "the desk opens its keys with the password in this file",
        },
    )
    urls = env.get("IMPRIMATUR_DESK_CHAIN_URL") or env.get("IMPRIMATUR_CHAIN_URL") or "http://127.0.0.1:8545"
    return DeskSettings(
        keystore=Path(env["IMPRIMATUR_DESK_KEYSTORE"]),
        vault=Path(env["IMPRIMATUR_DESK_VAULT"]),
        password=_password(env, "IMPRIMATUR_DESK_PASSWORD_FILE"),
        chain_urls=tuple(_checked_url("IMPRIMATUR_DESK_CHAIN_URL", url.strip()) for url in urls.split(",")),
        per_minute=_number(env, "IMPRIMATUR_DESK_PER_MINUTE", PER_MINUTE),
    )


def _need(env: Mapping[str, str], variables: Mapping[str, str]) -> None:
    for name, purpose in variables.items():
        if not env.get(name):
            raise SettingInvalid(name, f"isn't set; {purpose}")


def _password(env: Mapping[str, str], name: str) -> str:
    try:
        return Path(env[name]).read_text().strip()
    except OSError as error:
        raise SettingInvalid(name, f"can't be read: {error.strerror}") from error


def _desk(file: str | None) -> DeskIdentity | None:
    """The desk's public keys from the file that it made."""
    if not file:
        return None
    name = "IMPRIMATUR_DESK_FILE"
    try:
        document = json.loads(Path(file).read_text())
        recipient = check_public_key(bytes.fromhex(document["recipient"]))
        return DeskIdentity(checked_address(document["address"]), recipient)
    except OSError as error:
        raise SettingInvalid(name, f"{file} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ImprimaturError) as error:
        raise SettingInvalid(name, f"{file} isn't what `flask desk-keys` made") from error


def _finality(env: Mapping[str, str]) -> Finality | None:
    text = env.get("IMPRIMATUR_FINALITY")
    try:
        return parse_finality(text) if text else None
    except UnknownFinality as error:
        raise SettingInvalid("IMPRIMATUR_FINALITY", str(error)) from error


def _number(env: Mapping[str, str], name: str, usual: int) -> int:
    text = env.get(name) or str(usual)
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise SettingInvalid(name, f"{text!r} isn't a number from 1 to {MOST}")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, usual: float) -> float:
    text = env.get(name) or str(usual)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or float(text) > MINUTE:
        raise SettingInvalid(name, f"{text!r} isn't a number of seconds from 0 to {MINUTE} such as 0.5")
    return float(text)


def _max_fee(env: Mapping[str, str]) -> int | None:
    name = "IMPRIMATUR_MAX_FEE_GWEI"
    wei = _wei(env, name, "gwei", GWEI_DIGITS)
    if wei == 0:
        raise SettingInvalid(name, "must be more than 0; no transaction is free")
    return wei


def _wei(env: Mapping[str, str], name: str, unit: str, digits: int) -> int | None:
    """A decimal number of a unit, exactly, in wei; None when it isn't set."""
    text = env.get(name)
    if not text:
        return None
    if not re.fullmatch(rf"[0-9]{{1,12}}(\.[0-9]{{1,{digits}}})?", text):
        raise SettingInvalid(name, f"{text!r} isn't a number of {unit} such as 2 or 0.5")
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(digits, "0"))


def _http_url(env: Mapping[str, str], name: str, default: str) -> str:
    return _checked_url(name, env.get(name) or default)


def _checked_url(name: str, url: str) -> str:
    try:
        origin_of(url)
    except ValueError as error:
        raise SettingInvalid(name, f"{url!r} isn't an http or https URL") from error
    return url.rstrip("/")


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise SettingInvalid(
            "IMPRIMATUR_MAX_UPLOAD_MB", f"{text!r} isn't a number of megabytes from 1 to 1000000"
        )
    return int(text) * 1_000_000


def _secret_key(path: Path) -> bytes:
    """Read the secret, making it first when it is missing. Safe when several processes start at once."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(MIN_SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # A link, unlike a rename, never replaces the key that another process made just now.
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        secret = path.read_bytes().strip()
    except OSError as error:
        raise SettingInvalid("IMPRIMATUR_SECRET_KEY_FILE", f"{path}: {error.strerror}") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise SettingInvalid(
            "IMPRIMATUR_SECRET_KEY_FILE", f"{path} holds fewer than {MIN_SECRET_BYTES} bytes"
        )
    return secret
