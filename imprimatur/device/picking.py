"""Choosing a license to print. Nothing is promised yet."""

from pathlib import Path

from imprimatur.device.carrying import portal_trouble
from imprimatur.device.errors import PortalRefused
from imprimatur.device.job import Job
from imprimatur.device.journal import Journal
from imprimatur.device.offers import Offer
from imprimatur.device.portal import Portal
from imprimatur.device.reasons import Refused, why
from imprimatur.device.settling import Witness
from imprimatur.device.verifying import require_usable
from imprimatur.hashing import sha256_file


def pick(
    journal: Journal,
    witness: Witness,
    portal: Portal | None,
    license_id: int,
    *,
    offer: Offer | None,
    file: Path | None,
    copy: int | None,
    name: str,
    number: str,
    user: str | None,
) -> Job:
    """A new job, when the chain would let this device use a copy now. Arguments as of `Delivery.pick`.

    Raises:
        Refused, Waiting
    """
    if offer is None and file is None:
        offer = _offered(portal, license_id)
    manifest = None if offer is None else offer.manifest
    if file is None and (manifest is None or manifest.sealing is None):
        raise Refused(why("no_file"))
    if file is None and portal is None:
        raise Refused(why("not_sealed"))
    file_hash = _hash_of(file) if file is not None else manifest.file_hash if manifest else ""
    license = require_usable(witness.licenses, license_id, file_hash, witness.device)
    if copy is not None and copy != license.used + 1:
        raise Refused(why("copy_changed", copy=copy))
    return journal.pick(
        license_id,
        chain_id=witness.chain_id,
        contract=witness.contract,
        file_hash=file_hash,
        copies=license.used + license.remaining,
        name=name or (manifest.file_name if manifest else file.name if file else ""),
        number=number or (offer.number if offer else ""),
        owner=offer.owner if offer else "",
        user=user,
        wanted=copy,
        file=None if file is None else str(file.absolute()),
        manifest=None if offer is None else offer.signed,
    )


def _offered(portal: Portal | None, license_id: int) -> Offer | None:
    """What the portal offers for a license; None without a portal."""
    if portal is None:
        return None
    try:
        with portal_trouble():
            for offer in portal.jobs():
                if offer.id == license_id:
                    return offer
    except PortalRefused as error:
        raise Refused(why("delivery_refused", detail=error.detail or error.code)) from error
    raise Refused(why("not_offered"))


def _hash_of(file: Path) -> str:
    try:
        return sha256_file(file)
    except OSError as error:
        raise Refused(why("unreadable_file", trouble=error.strerror or type(error).__name__)) from error
