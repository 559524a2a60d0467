"""What a part's tag says, as a URL that a phone's camera opens.

    https://<base>/t/<id>/<copy>/<serial>/<tag address>#<tag key>

Id (32 bytes), tag address (20) and tag key (32) are base64url without padding, 55 characters less than in
hexadecimal, which makes a smaller code; the copy is decimal, the serial percent-encoded. Browsers never send
what follows `#` to a server: reading a tag needs the path only, checking a part out needs the key.
Each tag has one spelling, and no other is read.
"""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from imprimatur.errors import ImprimaturError
from imprimatur.license_id import owner_of
from imprimatur.serials.tag_key import (
    PartInvalid,
    TagKey,
    TagKeyInvalid,
    check_place,
    checked_address,
    commitment_of,
)
from imprimatur.serials.text import SerialInvalid, checked

MAX_BASE_LENGTH = 128
MAX_URL_LENGTH = 512
"""Characters. The longest tag, a serial of 32 signs under the longest base, stays below."""

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_COPY = re.compile(r"[1-9][0-9]{0,4}")
_ENDING = re.compile(
    r"(?P<base>.+)/t/(?P<id>[^/]+)/(?P<copy>[^/]+)/(?P<serial>[^/]+)/(?P<address>[^/#]+)(?:#(?P<key>.*))?"
)


class TagInvalid(ImprimaturError):
    """The text isn't what one of our tags says. The message never repeats its key."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One part: copy `copy` of license `id`, its serial, the address of its tag key. The address is kept with
    its checksum, also when it was given in lower case.

    `key` is the secret, None when only the public part is at hand; repr doesn't show it.

    Raises:
        TagInvalid: a value is out of bounds, or the key isn't that of the address.
    """

    id: int
    copy: int
    serial: str
    address: str
    key: TagKey | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise TagInvalid("The tag's license id can't be zero.")
        try:
            check_place(self.id, self.copy)
            checked(self.serial)
            object.__setattr__(self, "address", checked_address(self.address))
        except (PartInvalid, SerialInvalid) as error:
            raise TagInvalid(f"The tag can't be used: {error}") from error
        if self.key is not None and self.key.address != self.address:
            raise TagInvalid("The tag's key isn't the one that it names: it was tampered with, or misread.")

    @property
    def owner(self) -> str:
        """Checksum address of the license's owner."""
        return owner_of(self.id)

    @property
    def commitment(self) -> bytes:
        """What the chain holds of this part (32 bytes): `SerialRegistered(commitment, device)`."""
        return commitment_of(self.id, self.copy, self.serial, self.address)

    @property
    def public(self) -> "Tag":
        """The same without the key: what may be shown, sent and logged."""
        return Tag(self.id, self.copy, self.serial, self.address)

    def url(self, base: str) -> str:
        """The tag's text, with the key when it is there.

        Args:
            base: where tags are looked up, such as `https://parts.example`; a path may follow.

        Raises:
            TagInvalid: no such base.
        """
        address = bytes.fromhex(self.address[2:])
        parts = [
            _encode(self.id.to_bytes(32, "big")),
            str(self.copy),
            _escaped(self.serial),
            _encode(address),
        ]
        ending = "" if self.key is None else "#" + _encode(self.key.secret)
        return f"{checked_base(base)}/t/{'/'.join(parts)}{ending}"

    @classmethod
    def from_url(cls, url: str, base: str | None = None) -> "Tag":
        """The tag behind a URL, with or without its key.

        Args:
            base: the only one to take. Without it any place may be named, so trust nothing but the values.

        Raises:
            TagInvalid: with the reason.
        """
        from eth_utils.address import to_checksum_address

        if len(url) > MAX_URL_LENGTH:
            raise TagInvalid("This is too long for a part's tag.")
        match = _ENDING.fullmatch(url)
        if match is None:
            raise TagInvalid("This isn't the tag of a part: its address has another form.")
        if base is not None and match["base"] != checked_base(base):
            raise TagInvalid(f"This tag doesn't lead to {checked_base(base)}.")
        if not _COPY.fullmatch(match["copy"]):
            raise TagInvalid("The tag's copy isn't a number.")
        address = to_checksum_address(_decode(match["address"], 20, "tag address"))
        try:
            key = None if match["key"] is None else TagKey(_decode(match["key"], 32, "tag key"))
        except TagKeyInvalid as error:
            raise TagInvalid(f"The tag can't be used: {error}") from error
        id = int.from_bytes(_decode(match["id"], 32, "license id"), "big")
        tag = cls(id, int(match["copy"]), unquote(match["serial"]), address, key)
        if tag.url(match["base"]) != url:
            raise TagInvalid("The tag has another spelling than ours: it was changed on its way.")
        return tag


def checked_base(base: str) -> str:
    """`base` itself, when tags may lead there.

    Whoever answers there sees the page that reads the key: so it is https, or plain http within the own net.

    Raises:
        TagInvalid: another form.
    """
    try:
        scheme, host, path, query, fragment = urlsplit(base)
        name = urlsplit(base).hostname or ""
    except ValueError as error:
        raise TagInvalid("The base of tags isn't a URL.") from error
    spelled = f"{scheme}://{host}{path}" == base and not query and not fragment
    if not spelled or len(base) > MAX_BASE_LENGTH or not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise TagInvalid(
            "The base of tags is https://, a host in lower case, perhaps a path, and no slash at its end."
        )
    if scheme != "https" and not (scheme == "http" and _is_near(name)):
        raise TagInvalid("Tags lead to https:// addresses; http:// is for the own network only.")
    return base


def _is_near(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_private
    except ValueError:
        return False


def _escaped(serial: str) -> str:
    # A segment of dots alone would be taken for a folder and vanish.
    return quote(serial, safe="") if set(serial) != {"."} else serial.replace(".", "%2E")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str, size: int, place: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TagInvalid(f"The tag's {place} can't be read.") from error
    if len(data) != size:
        raise TagInvalid(f"The tag's {place} has {len(data)} bytes instead of {size}.")
    return data
