"""What a program is told when something isn't right (RFC 9457). Codes are part of the API's promise."""

from collections.abc import Mapping

CODES = "urn:imprimatur:problem:"


class Problem(Exception):
    """Ends a request of the API: HTTP status, code, and a sentence that says what to do.

    Attributes:
        headers: more of the answer's header.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        """The URN that names the problem."""
        return CODES + self.code
