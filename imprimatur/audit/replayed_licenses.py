"""The PrintLicense contract as far as manifests are checked against it, told by replayed events."""

from collections.abc import Iterator
from typing import Any

from imprimatur.audit.rebuild import Rebuilt
from imprimatur.audit.replay import STATING
from imprimatur.chain.events import Row
from imprimatur.chain.events.layout import decoded
from imprimatur.chain.interface import DecodedEvent
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import Rpc
from imprimatur.license_id import format_id, owner_of


class ReplayedLicenses(PrintLicense):
    """Events, and times of their blocks, as an audit replayed them: up to its block, and as proven as it is.

    Everything else, such as whether a contract account takes a signature, is asked of the node.
    """

    def __init__(self, licenses: PrintLicense, rebuilt: Rebuilt) -> None:
        self._statements = rebuilt.replay.statements
        rows = [row for some in self._statements.values() for row in some]
        times = {row.block_hash: row.timestamp for row in rows}
        super().__init__(_TimesKnown(licenses.rpc, times), licenses.address, licenses.since)

    def events(
        self,
        *names: str,
        id: int | None = None,
        account: str | None = None,
        since: int | None = None,
    ) -> Iterator[DecodedEvent]:
        """As `PrintLicense.events`, for the events in `STATING` only, and with an `id`."""
        if id is None or not names or not STATING.keys() >= set(names) or since is not None:
            raise ValueError("These events weren't kept.")
        # By owner the first indexed value is an account, which fills less of the word than an id.
        rows = [*self._statements.get(format_id(id), [])]
        if not id >> 160:
            rows += self._statements.get(owner_of(id << 96), [])
        for row in rows:
            if row.name in names and (account is None or _second(row) == account.lower()):
                yield decoded(row, self.NAME)


def _second(row: Row) -> str:
    """The account that is an event's second indexed value."""
    value: str = row.values[{"LicenseIssued": "printer", "OperatorSet": "operator"}[row.name]]
    return value.lower()


class _TimesKnown(Rpc):
    """Asks `rpc` for everything but the times of these blocks, by hash."""

    def __init__(self, rpc: Rpc, times: dict[str, int]) -> None:
        self._rpc = rpc
        self._times = times

    def call(self, method: str, params: list[Any]) -> Any:
        if method == "eth_getBlockByHash" and params[0] in self._times:
            return {"hash": params[0], "timestamp": hex(self._times[params[0]])}
        return self._rpc.call(method, params)
