"""Print certificates: a small file that proves offline that one copy of a license was consumed.

`build` makes one from a node, `verify` checks it without network, `anchor_from` asks the reader's own node
for block hashes to trust, `explain` says what is proven and what isn't. Format and limits:
`docs/certificate.md`.
"""

from imprimatur.certificate.anchoring import anchor_from
from imprimatur.certificate.building import build
from imprimatur.certificate.errors import (
    BlockNotTrusted,
    CertificateInvalid,
    ForeignContract,
    NodeInconsistent,
    OtherChain,
    PrintNotFound,
)
from imprimatur.certificate.explaining import Explanation, explain
from imprimatur.certificate.license_state import LicenseState, Outcome
from imprimatur.certificate.print_events import Print
from imprimatur.certificate.statement import Block, ProvenState, Verified
from imprimatur.certificate.verifying import Anchor, verify

__all__ = [
    "Anchor",
    "Block",
    "BlockNotTrusted",
    "CertificateInvalid",
    "Explanation",
    "ForeignContract",
    "LicenseState",
    "NodeInconsistent",
    "OtherChain",
    "Outcome",
    "Print",
    "PrintNotFound",
    "ProvenState",
    "Verified",
    "anchor_from",
    "build",
    "explain",
    "verify",
]
