"""Ethereum addresses as people type them."""

from imprimatur.errors import ImprimaturError


class InvalidAddress(ImprimaturError):
    """Not an account. `mistyped`: the form is right, but the checksum isn't."""

    def __init__(self, mistyped: bool) -> None:
        super().__init__(
            "The address has a typing error: its checksum is wrong."
            if mistyped
            else "An address is 0x followed by 40 hexadecimal digits, and not zero."
        )
        self.mistyped = mistyped


def checked_address(text: str) -> str:
    """The checksum spelling of an address. Mixed case must carry the right checksum (EIP-55).

    Raises:
        InvalidAddress: not an address, mistyped, or zero.
    """
    from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address

    address = text.strip()
    digits = address[2:]
    if not (address[:2] == "0x" and is_hex_address(address)) or int(digits, 16) == 0:
        raise InvalidAddress(mistyped=False)
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(address):
        raise InvalidAddress(mistyped=True)
    return str(to_checksum_address(address))
