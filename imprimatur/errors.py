"""The root of every error this library raises on purpose."""


class ImprimaturError(Exception):
    """Something went wrong that the reader can act on; `str(error)` is a sentence for people."""
