"""Who stands behind a manifest: an EIP-712 signature over its hash and its license.

    Manifest(uint256 id,bytes32 manifestHash)

in the domain of the PrintLicense contract, so that it holds for one license of one contract on one chain.
The signature isn't part of the hash: it can be made before or after the order, by whom the owner lets.
"""

from dataclasses import dataclass

from imprimatur.chain.signature_check import is_signed_by, typed_data_digest
from imprimatur.chain.signers import Signer
from imprimatur.chain.typed_data import Domain, Types, license_domain
from imprimatur.manifest.document import (
    Manifest,
    check_address,
    check_schema,
    read_canonical,
    require_same,
    written,
)

MANIFEST: Types = {
    "Manifest": [{"name": "id", "type": "uint256"}, {"name": "manifestHash", "type": "bytes32"}]
}


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest, the account that states it (checksum address), and its signature.

    `signature` is r, s, v (65 bytes) of an account with a key, or whatever a contract account takes.
    """

    manifest: Manifest
    signer: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """The canonical bytes that travel with the file. Raises ManifestInvalid."""
        document = {
            "manifest": self.manifest.to_document(),
            "signature": "0x" + self.signature.hex(),
            "signer": self.signer,
        }
        check_schema(document)
        check_address(self.signer, "the signer's address")
        return written(document)

    @classmethod
    def from_bytes(cls, data: bytes) -> "SignedManifest":
        """The signed manifest behind canonical bytes; nothing says yet that the signature is good.

        Raises:
            ManifestInvalid: with the reason.
        """
        document = read_canonical(data)
        check_schema(document)
        check_address(document["signer"], "the signer's address")
        manifest = Manifest.from_document(document["manifest"])
        signed = cls(manifest, document["signer"], bytes.fromhex(document["signature"][2:]))
        require_same(signed.to_bytes(), data)
        return signed

    def has_key_signature(self) -> bool:
        """Whether the signature was made with the signer's key. Asks nobody; False for contract accounts."""
        message = _values(self.manifest)
        return is_signed_by(self.signer, self.signature, domain(self.manifest), MANIFEST, message)


def sign_manifest(manifest: Manifest, signer: Signer) -> SignedManifest:
    """The manifest, signed with a key. Raises ManifestInvalid."""
    signature = signer.sign_typed_data(domain(manifest), MANIFEST, _values(manifest))
    return SignedManifest(manifest, signer.address, bytes.fromhex(signature.removeprefix("0x")))


def digest(manifest: Manifest) -> bytes:
    """The 32 bytes that a contract account has to agree to (ERC-1271). Raises ManifestInvalid."""
    return typed_data_digest(domain(manifest), MANIFEST, _values(manifest))


def domain(manifest: Manifest) -> Domain:
    """EIP-712 domain of the contract that the manifest names."""
    return license_domain(manifest.chain_id, manifest.contract)


def _values(manifest: Manifest) -> dict[str, int | bytes]:
    return {"id": manifest.id, "manifestHash": manifest.hash}
