"""Ids out of addresses and forms: nothing that the database can't hold gets through."""

from werkzeug.routing import BaseConverter, IntegerConverter, Map

MAX_ID = 2**63 - 1
_DIGITS = len(str(MAX_ID))


class RowConverter(IntegerConverter):
    """`<row:id>` in a route. A number out of range is an address that doesn't exist."""

    # Python refuses to convert thousands of digits; so many don't even match.
    regex = rf"[0-9]{{1,{_DIGITS}}}"

    def __init__(self, map: Map) -> None:
        super().__init__(map, max=MAX_ID)


class HashConverter(BaseConverter):
    """`<hash:id>`: a license's id or a digest. An address may have characters that no database takes."""

    regex = "0x[0-9a-f]{64}"


class AddressConverter(BaseConverter):
    """`<address:wallet>`: an account."""

    regex = "0x[0-9a-fA-F]{40}"


def parse_number(text: str | None) -> int | None:
    """A row id or a page in a form or a query, or None when it can't be one."""
    digits = (text or "").strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS):
        return None
    number = int(digits)
    return number if number <= MAX_ID else None
