"""What a device keeps of its enrolment: a folder that only its owner can look into.

`profile.json` holds the portal's address and answer, `encryption.key` the device's X25519 secret as age
writes it, `sealed/` downloaded files, which only a key of the desk opens. The device's signing key stays
where it is.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur import schemas
from imprimatur.chain import json_depth
from imprimatur.device.messages import SCHEMA, Enrolment, WrongSpelling
from imprimatur.errors import ImprimaturError

VERSION = 1
NAME = "profile.json"
ENCRYPTION_KEY = "encryption.key"
SEALED = "sealed"
_LARGEST = 64 << 10


class ProfileUnusable(ImprimaturError):
    """The folder holds no profile of a device."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An enrolled device. `keystore` is the encrypted file of its signing key; `allow_http` says whether the
    portal may be asked without TLS on another machine."""

    url: str
    allow_http: bool
    keystore: Path
    enrolment: Enrolment

    def to_bytes(self) -> bytes:
        """What stands in the file."""
        document = {
            "version": VERSION,
            "url": self.url,
            "allowHttp": self.allow_http,
            "keystore": str(self.keystore),
            "enrolled": self.enrolment.to_document(),
        }
        return json.dumps(document, indent=2).encode() + b"\n"


def load(folder: Path) -> Profile:
    """The profile in a folder.

    Raises:
        ProfileUnusable: there is none, or it is damaged.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            document = json_depth.parse(file.read(_LARGEST))
        return _profile(document)
    except FileNotFoundError as error:
        raise ProfileUnusable(
            f"There is no {NAME} in {folder}. Enrol this device first: imprimatur enrol."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, WrongSpelling) as error:
        raise ProfileUnusable(
            f"{path} can't be used: unreadable or damaged. Enrol this device again."
        ) from error


def _profile(document: dict[str, Any]) -> Profile:
    """Raises ValueError, KeyError, TypeError or WrongSpelling."""
    texts = (document["url"], document["keystore"])
    if document["version"] != VERSION or not all(isinstance(text, str) for text in texts):
        raise ValueError("another version or form")
    if problem := schemas.problem_in(document["enrolled"], SCHEMA, "enrolled"):
        raise ValueError(problem)
    return Profile(
        url=document["url"],
        allow_http=document["allowHttp"] is True,
        keystore=Path(document["keystore"]),
        enrolment=Enrolment.from_document(document["enrolled"]),
    )
