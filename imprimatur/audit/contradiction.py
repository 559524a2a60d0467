"""What doesn't fit together, and what a reader should know."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found, and where.

    `kind` is a stable name (`docs/cli.md` lists them), `license` as `format_id` writes it.
    """

    kind: str
    message: str
    license: str | None = None
    block: int | None = None
    transaction: str | None = None

    def members(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        place = "" if self.block is None else f" (block {self.block})"
        about = "" if self.license is None else f"license {self.license}: "
        return f"{self.kind}: {about}{self.message}{place}"


class Contradiction(Finding):
    """Something that can't be if contract, node, portal and files are right."""

    __slots__ = ()


class Remark(Finding):
    """Something that strangers can bring about though all is right: worth a look, and no verdict."""

    __slots__ = ()
