"""Which contracts are read, and what a block's bloom filter says about them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from imprimatur.chain.events.layout import Layout, checksummed, layouts_of


@dataclass(frozen=True, slots=True)
class Source:
    """One of our contracts (name of the artifact) at `address`, deployed in block `first`."""

    contract: str
    address: str
    first: int = 0


class Sources:
    """All contracts that one index reads."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.all = sorted(sources, key=lambda source: int(source.address, 16))
        if not self.all:
            raise ValueError("An index needs at least one contract.")
        self.by_digits: dict[str, tuple[str, int, dict[str, Layout]]] = {
            (digits := source.address[2:].lower()): (
                checksummed(digits),
                source.first,
                layouts_of(source.contract),
            )
            for source in self.all
        }
        """By address without 0x: address with checksum, first block, events."""
        if len(self.by_digits) != len(self.all):
            raise ValueError("An index reads every address once.")
        self.first = min(source.first for source in self.all)
        """Block in which the index starts."""
        self.addresses = ["0x" + digits for digits in self.by_digits]
        self.topics = sorted({"0x" + topic for _, _, layouts in self.by_digits.values() for topic in layouts})

    def describe(self, chain_id: int, verified: bool) -> str:
        """What an index of these contracts is of, as text that stays the same."""
        return json.dumps(
            {
                "chainId": chain_id,
                "contracts": [[s.contract, checksummed(s.address[2:].lower()), s.first] for s in self.all],
                "verified": verified,
            },
            sort_keys=True,
        )

    @cached_property
    def _masks(self) -> list[tuple[int, list[int]]]:
        return [
            (bloom_of(bytes.fromhex(digits)), [bloom_of(bytes.fromhex(topic)) for topic in layouts])
            for digits, (_, _, layouts) in self.by_digits.items()
        ]

    def may_be_in(self, bloom: int) -> bool:
        """Whether a block whose logs have this bloom filter can hold an event of ours; False is certain."""
        return any(
            bloom & address == address and any(bloom & topic == topic for topic in topics)
            for address, topics in self._masks
        )


def bloom_of(value: bytes) -> int:
    """The three bits of 2048 that an address or topic sets (Ethereum yellow paper, section 4.3.1)."""
    from eth_utils.crypto import keccak

    hash = keccak(value)
    bloom = 0
    for i in (0, 2, 4):
        bloom |= 1 << (int.from_bytes(hash[i : i + 2], "big") & 2047)
    return bloom
