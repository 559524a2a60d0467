"""How talking to a portal or its key desk fails. What the chain says is none of it: only that decides."""

from imprimatur.errors import ImprimaturError

_LONGEST_DETAIL = 300


class PortalError(ImprimaturError):
    """A portal or a key desk gave no answer that helps."""


class AddressRefused(PortalError):
    """The address of a portal can't be used; its text never repeats it, because it may hold a password."""


class PortalUnreachable(PortalError):
    """No answer, or that of a broken server: whether it did what was asked is unknown. Ask again."""

    def __init__(self, host: str, trouble: str) -> None:
        super().__init__(f"{host} doesn't answer: {trouble}. Try again in a moment.")
        self.host = host
        self.trouble = trouble


class PortalBusy(PortalError):
    """The server asks for patience and did nothing (HTTP 429 or 503); `retry_after` are seconds, if it said
    how many, and `code` names the problem, if it did."""

    def __init__(self, host: str, status: int, retry_after: float | None, code: str = "") -> None:
        when = "later" if retry_after is None else f"in {retry_after:.0f} s"
        super().__init__(f"{host} has no time at the moment (HTTP {status}). Try again {when}.")
        self.host = host
        self.status = status
        self.retry_after = retry_after
        self.code = code


class PortalRefused(PortalError):
    """The server refuses, and asking the same again won't help.

    `code` is the problem's stable name such as `invitation_expired`, empty when it has none; `detail` is the
    server's sentence, for people.
    """

    def __init__(self, host: str, status: int, code: str, detail: str) -> None:
        detail = detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]}…"
        super().__init__(f"{host} refuses: {detail or code or 'it says no reason'} (HTTP {status})")
        self.host = host
        self.status = status
        self.code = code
        self.detail = detail


class PortalConfused(PortalError):
    """The answer isn't what was agreed: a fault of the server, or somebody in between."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} gave an answer that makes no sense: {reason}. Tell who runs it.")
        self.host = host
        self.reason = reason
