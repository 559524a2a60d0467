"""What a certificate proves and what it doesn't, in sentences for people."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from imprimatur.certificate.document import hexadecimal
from imprimatur.certificate.license_state import Outcome
from imprimatur.certificate.print_events import Print
from imprimatur.certificate.sentences import SENTENCES
from imprimatur.certificate.statement import Block, ProvenState, Verified
from imprimatur.license_id import format_id, owner_of

Language = Literal["en", "de"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`headline` says how much to believe; then what is proven on that condition, and what isn't at all."""

    headline: str
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    not_proven_title: str

    def __str__(self) -> str:
        proven = [f"+ {line}" for line in self.proven]
        not_proven = [f"- {line}" for line in self.not_proven]
        return "\n".join([self.headline, *proven, self.not_proven_title, *not_proven])


def explain(verified: Verified, language: Language = "en") -> Explanation:
    """The sentences about a verified certificate."""
    say = SENTENCES[language]
    print, state = verified.print, verified.state
    facts = {
        "chain": verified.chain_id,
        "contract": _address(verified.contract),
        "id": format_id(print.id),
        "owner": owner_of(print.id),
        "copy": print.copy,
        "device": _address(print.device),
        "printer": _address(print.printer),
        "file_hash": print.file_hash.hex(),
        "commitment": hexadecimal(print.commitment or b""),
    } | _of_block(verified.block)
    proven = ["consumed", "printer", "file", "announced" if _is_announced(print) else "no_serial"]
    not_proven = ["produced", "once", "chain"]
    lines = [say[name].format(**facts) for name in proven]
    if verified.tag:
        lines.append(say["tag"].format(serial=verified.tag.serial, address=verified.tag.address, **facts))
    if state:
        lines += _state_lines(state, say, print.copy)
    not_proven.insert(0, "tag_copied" if verified.tag else "this_part")
    not_proven.append("afterwards" if state else "failure")
    last = state.block if state else verified.block
    blocks = ", ".join(f"{block.number} ({hexadecimal(block.hash)})" for block in verified.blocks)
    headline = say["anchored" if verified.anchored else "not_anchored"].format(blocks=blocks, **facts)
    open_questions = tuple(say[name].format(**facts | _of_block(last)) for name in not_proven)
    return Explanation(headline, tuple(lines), open_questions, say["not_proven"])


def _is_announced(print: Print) -> bool:
    # A sealed print without a serial has the log entries too, both zero.
    return print.commitment is not None and any(print.commitment)


def _state_lines(state: ProvenState, say: dict[str, str], copy: int) -> list[str]:
    license = state.license
    outcome = {
        Outcome.NOT_FAILED: "not_failed",
        Outcome.NEVER_REPORTED: "never_reported",
        Outcome.CLOSED: "closed",
        Outcome.UNKNOWN: "unknown",
    }[state.outcome]
    facts = _of_block(state.block) | {
        "copy": copy,
        "used": license.used,
        "remaining": license.remaining,
        "failed": license.failed,
    }
    names = [outcome, "counts", *(["revoked"] if license.revoked else [])]
    lines = [say[name].format(**facts) for name in names]
    if license.expires:
        lines.append(say["expires"].format(until=_time(license.valid_until)))
    return lines


def _of_block(block: Block) -> dict[str, object]:
    return {"number": block.number, "time": _time(block.time)}


def _time(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OSError, OverflowError, ValueError):
        # A block that nobody has confirmed can claim any time; which error that is depends on the system.
        return f"{seconds} s (Unix)"


def _address(account: bytes) -> str:
    from eth_utils.address import to_checksum_address

    return str(to_checksum_address(account))
