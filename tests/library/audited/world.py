"""Owners, shops and prints on a real node: every kind of event that an audit reads."""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

from eth_utils import to_checksum_address

from imprimatur.chain import typed_data
from imprimatur.chain.orders import Order, Right, Terms
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id
from imprimatur.manifest.document import Manifest, Sealing
from imprimatur.manifest.signature import sign_manifest
from imprimatur.sealing import seal
from imprimatur.serials.tag import Tag
from imprimatur.serials.tag_key import TagKey, commitment_of
from support.node import FOR_EVER, Chain

PART = b"G28\nG1 X10 E1\n"
RE_SLICED = b"G28 ; other slicer\n"
FILE_HASH = hashlib.sha256(PART).hexdigest()
OTHER_HASH = hashlib.sha256(RE_SLICED).hexdigest()
SERIAL = "123456AA0987654321"
EVIDENCE = b"\x0e" * 32
BASE = "https://parts.example"


@dataclass
class World:
    """Who is there, and the licenses by what happened to them."""

    chain: Chain
    owner: KeySigner
    shop: KeySigner
    buyer: KeySigner
    device: KeySigner
    attestor: KeySigner
    operator: KeySigner
    licenses: dict[str, int] = field(default_factory=dict)
    tag: Tag = field(init=False)
    failed_tag: Tag = field(init=False)
    manifest: bytes = b""
    sealed: bytes = b""

    def id(self, name: str) -> str:
        return format_id(self.licenses[name])

    def write_files(self, folder: Path) -> None:
        """The print file, sealed too, and the signed manifest of the license `printed`."""
        (folder / "part.age").write_bytes(self.sealed)
        (folder / "part.gcode").write_bytes(PART)
        (folder / "manifest.json").write_bytes(self.manifest)
        (folder / "note.txt").write_text(json.dumps({"manifest": "of something else"}))


def build(chain: Chain) -> World:
    """Let it all happen."""
    world = World(chain, *(chain.account() for _ in range(6)))
    licenses, devices = chain.licenses, chain.devices
    owner, shop, device = world.owner, world.shop, world.device
    chain.bind(shop, device)
    chain.send(world.attestor, devices.attest_call(device.address, EVIDENCE), devices)
    chain.send(shop, devices.present_attestor_call(device.address, world.attestor.address), devices)
    chain.send(owner, devices.accept_attestor_call(world.attestor.address), devices)
    _printed(world)
    _trusted(world)
    _revoked(world)
    _transferred(world)
    _by_operator(world)
    chain.send(shop, devices.unbind_call(device.address), devices)
    chain.send(owner, licenses.offer_control_call(owner.address, world.operator.address))
    chain.send(world.operator, licenses.accept_control_call(owner.address))
    return world


def issue(world: World, name: str, copies: int, manifest_hash: bytes = bytes(32), **terms: int) -> int:
    chain = world.chain
    number = f"4711-{name}"
    order = chain.order(
        world.owner.address,
        world.shop.address,
        FILE_HASH,
        copies,
        number,
        manifest_hash=manifest_hash,
        **terms,
    )
    chain.send(world.owner, chain.licenses.issue_call(order))
    world.licenses[name] = order.id
    return order.id


def consume(
    world: World, signer: KeySigner, id: int, copy: int, commitment: bytes, file: str = FILE_HASH
) -> None:
    licenses = world.chain.licenses
    log = (b"\x01" * 32, b"\x02" * 32, commitment)
    world.chain.send(signer, licenses.use_license_and_log_call(id, file, copy, *log))


def tagged(world: World, signer: KeySigner, id: int, copy: int) -> Tag:
    """Print a copy with a tag; the tag with its key."""
    key = TagKey.generate()
    tag = Tag(id, copy, SERIAL, key.address, key)
    consume(world, signer, id, copy, tag.commitment)
    return tag


def _printed(world: World) -> None:
    """Four copies: three printed, one of them failed, one replaced by two more; a re-slice approved."""
    chain, licenses = world.chain, world.chain.licenses
    order = chain.order(world.owner.address, world.shop.address, FILE_HASH, 4, "4711-printed")
    contract = to_checksum_address(licenses.address)
    target = io.BytesIO()
    sealed = seal(io.BytesIO(PART), target)
    world.sealed = target.getvalue()
    sealing = Sealing(sealed.sealed_sha256, sealed.sealed_size, sealed.key_commitment)
    manifest = Manifest(chain.chain_id, contract, order.id, "part.gcode", len(PART), FILE_HASH, sealing)
    world.manifest = sign_manifest(manifest, world.owner).to_bytes()
    id = issue(world, "printed", 4, manifest.hash, failures_allowed=2)
    world.tag = tagged(world, world.device, id, 1)
    chain.send(world.shop, licenses.use_license_call(id, FILE_HASH))
    world.failed_tag = tagged(world, world.device, id, 3)
    chain.send(world.device, licenses.report_failure_call(id, 3, EVIDENCE))
    chain.send(world.owner, licenses.grant_copies_call(id, 2, 2))
    chain.send(world.owner, licenses.approve_file_call(id, OTHER_HASH, bytes(32)))
    consume(world, world.shop, id, 4, commitment_of(id, 4, SERIAL, world.tag.address), OTHER_HASH)


def _trusted(world: World) -> None:
    id = issue(world, "trusted", 2, flags=Terms.TRUSTED_DEVICE)
    consume(world, world.device, id, 1, commitment_of(id, 1, SERIAL, world.tag.address))


def _revoked(world: World) -> None:
    """Ended with one copy left; a print that failed afterwards is forfeited."""
    chain, licenses = world.chain, world.chain.licenses
    id = issue(world, "revoked", 2, flags=Terms.REVOCABLE, failures_allowed=1)
    chain.send(world.shop, licenses.use_license_call(id, FILE_HASH))
    chain.send(world.owner, licenses.revoke_call(id))
    chain.send(world.shop, licenses.report_failure_call(id, 1, EVIDENCE))


def _transferred(world: World) -> None:
    """One sold after its first print, two more at once."""
    chain, licenses = world.chain, world.chain.licenses
    shop, buyer = world.shop, world.buyer
    ids = [issue(world, name, 2, flags=Terms.TRANSFERABLE) for name in ("sold", "batch-1", "batch-2")]
    chain.send(shop, licenses.use_license_call(ids[0], FILE_HASH))
    chain.send(shop, licenses.transfer_license_call(ids[0], buyer.address))
    chain.send(buyer, licenses.use_license_call(ids[0], FILE_HASH))
    batch = licenses.safe_batch_transfer_from_call(shop.address, buyer.address, ids[1:], [2, 2])
    chain.send(shop, batch)


def _by_operator(world: World) -> None:
    """Issued by an operator, printed by a relayed batch in which one entry is bad."""
    chain, licenses = world.chain, world.chain.licenses
    rights = licenses.set_operator_call(
        world.owner.address, world.operator.address, Right.ISSUE | Right.GRANT, FOR_EVER
    )
    chain.send(world.owner, rights)
    order: Order = chain.order(world.owner.address, world.shop.address, FILE_HASH, 3, "4711-relayed")
    chain.send(world.operator, licenses.issue_call(order, as_operator=True))
    world.licenses["relayed"] = order.id
    uses = [
        typed_data.sign_use(
            world.device,
            chain.license_domain,
            typed_data.Use(
                order.id,
                FILE_HASH,
                copy,
                b"\x01" * 32,
                b"\x02" * 32,
                commitment_of(order.id, copy, SERIAL, world.tag.address),
                FOR_EVER,
            ),
        )
        for copy in (1, 3, 2)
    ]
    chain.send(world.operator, licenses.use_licenses_signed_call(uses))
