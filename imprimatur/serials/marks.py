"""A tag's text as something to stick on a part: a QR code, or the message of an NFC tag."""

from imprimatur.serials.tag import MAX_URL_LENGTH, TagInvalid

QUIET_ZONE = 4
"""Modules around a code (ISO/IEC 18004)."""
_MAX_NDEF_SIZE = MAX_URL_LENGTH + 16


def qr_svg(url: str, error_correction: str = "M") -> bytes:
    """A QR code as SVG, one unit per module, for printing at any size.

    Args:
        error_correction: L, M, Q or H: 7, 15, 25 or 30 % of the code may be damaged. The highest that fits
            the same size is taken.
    """
    return _qr(url, error_correction, "svg", 1)


def qr_png(url: str, error_correction: str = "M", scale: int = 8) -> bytes:
    """A QR code as PNG, black on white, `scale` pixels per module."""
    return _qr(url, error_correction, "png", scale)


def _qr(url: str, error_correction: str, kind: str, scale: int) -> bytes:
    import io

    import segno

    code = segno.make_qr(url, error=error_correction)
    picture = io.BytesIO()
    code.save(picture, kind=kind, scale=scale, border=QUIET_ZONE, dark="black", light="white")
    return picture.getvalue()


def ndef_message(url: str) -> bytes:
    """The NDEF message (NFC Forum) with one URI record: what is written on an NFC or RFID tag.

    It has the length of the URL less its `https://`, and 5 bytes or 8 above 255: about 160, more
    than an NTAG213 holds (144), fine for an NTAG215 or 216.
    """
    import ndef  # type: ignore[import-untyped]

    return b"".join(ndef.message_encoder([ndef.UriRecord(url)]))


def url_in_ndef(message: bytes) -> str:
    """The URL in a message that `ndef_message` made.

    Raises:
        TagInvalid: damaged, or not one URI record.
    """
    import ndef

    if len(message) > _MAX_NDEF_SIZE:
        raise TagInvalid("The message on the tag is too long.")
    try:
        records = list(ndef.message_decoder(message))
    except (ndef.DecodeError, ValueError) as error:
        # ndeflib also says ValueError: for types of records that can't be.
        raise TagInvalid("The message on the tag is damaged. Read it again.") from error
    if len(records) != 1 or not isinstance(records[0], ndef.UriRecord):
        raise TagInvalid("The message on the tag isn't that of a part.")
    url = str(records[0].iri)
    if ndef_message(url) != message:
        raise TagInvalid("The message on the tag isn't one of ours, or was changed.")
    return url
