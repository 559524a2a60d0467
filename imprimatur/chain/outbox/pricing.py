"""Fees of replacements."""

from imprimatur.chain.transactions import Fees


def _raised(wei: int) -> int:
    """An eighth more, rounded up: nodes ask for a tenth, and round in their own ways."""
    return wei + (wei + 7) // 8


def replacement(old: Fees, suggested: Fees, cap: int) -> Fees | None:
    """Fees for bytes that shall take the place of others with the same nonce.

    Both fields rise by at least 12.5 %; None when that is above `cap` (wei per gas).
    """
    lowest, tip = _raised(old.max_fee), max(_raised(old.tip), suggested.tip)
    if lowest > cap:
        return None
    max_fee = min(cap, max(lowest, suggested.max_fee))
    return Fees(max_fee, min(tip, max_fee)) if _raised(old.tip) <= max_fee else None
