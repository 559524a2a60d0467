"""What is checked before anything is paid, and costs nothing."""

import time

from imprimatur.chain.print_license import License, PrintLicense
from imprimatur.device.carrying import node_trouble
from imprimatur.device.job import Job
from imprimatur.device.reasons import Reason, Refused, why
from imprimatur.manifest.document import ManifestInvalid
from imprimatur.manifest.verification import ManifestRefused, verify_manifest

_CODES = {
    "LicenseNotFound": "unknown_license",
    "NotThePrinter": "other_printer",
    "LicenseExpired": "expired",
    "LicenseExhausted": "no_copies_left",
    "LicenseIsRevoked": "revoked",
    "DeviceNotTrusted": "device_not_trusted",
    "FileHashMismatch": "other_file",
}
"""Reasons by the contract's errors."""


def refusal(error: str | None) -> Reason:
    """Why a copy can't be used, by the name of the contract's error."""
    code = _CODES.get(error or "")
    return why("contract_refused", name=error) if code is None else why(code)


def require_usable(licenses: PrintLicense, id: int, file_hash: str, device: str) -> License:
    """The license, of which `device` could use a copy for this file now.

    Raises:
        Refused: it couldn't.
        Waiting: the node doesn't help.
    """
    with node_trouble():
        usable = licenses.can_use(id, file_hash, device)
        license = licenses.license_of(id)
    if not usable or license is None:
        raise Refused(refusal(usable.reason or "LicenseNotFound"))
    if license.is_expired(time.time()):
        # On a quiet chain the newest block may be old; the one that would carry the use won't be.
        raise Refused(why("expired"))
    return license


def verify(job: Job, licenses: PrintLicense, device: str) -> None:
    """The manifest is the one that the chain names, by whom the owner let; and a copy can be used.

    Raises:
        Refused, Waiting
    """
    if job.manifest is not None:
        try:
            with node_trouble():
                verified = verify_manifest(job.manifest, licenses, job.license_id)
        except (ManifestInvalid, ManifestRefused) as error:
            raise Refused(why("wrong_manifest", reason=str(error))) from error
        if verified.manifest.file_hash != job.file_hash:
            raise Refused(why("other_file"))
    require_usable(licenses, job.license_id, job.file_hash, device)
