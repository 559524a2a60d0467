"""Commitments that stand on the chain more than once."""

from collections import defaultdict

from imprimatur.audit.contradiction import Contradiction, Finding, Remark
from imprimatur.audit.history import Copy
from imprimatur.chain.events import Row


class Commitments:
    """Which copies have which commitment.

    A commitment is made of license, copy, serial and tag key (`docs/serials.md`), so it can be right for one
    copy only. One that stands twice in a license was written there by who prints under it: a contradiction.
    But everybody can copy it into a license of his own, where it opens for nobody. That is worth a remark,
    and mustn't cast doubt on the part that it is from.
    """

    def __init__(self) -> None:
        self._first: defaultdict[str, dict[str, int]] = defaultdict(dict)
        """By commitment, the first copy of each license that has it."""

    def add(self, commitment: str, license: str, copy: Copy, use: Row) -> Finding | None:
        """Note the commitment of a copy that `use` consumed; what is odd about it, if anything is."""
        copies = self._first[commitment]
        had = f"copy {copy.number} has the commitment {commitment}, which"
        place = (license, use.block_number, use.transaction_hash)
        if license in copies:
            if copies[license] == copy.number:
                return None
            return Contradiction("commitment-twice", f"{had} is that of copy {copies[license]} too", *place)
        other = next(iter(copies.items()), None)
        copies[license] = copy.number
        if other is None:
            return None
        message = f"{had} copy {other[1]} of the license {other[0]} had before: it can be right for one only"
        return Remark("commitment-copied", message, *place)
