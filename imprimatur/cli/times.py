"""Times as people read them."""

from datetime import UTC, datetime


def utc(seconds: int) -> str:
    """A Unix time, in UTC."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        # Rights can be given for ever, and on a chain of one's own a block can claim any time.
        return "after the year 9999"
