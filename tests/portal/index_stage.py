"""An index in tables of its own, of a node that can be exchanged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from app.models import Base, ChainBlock, ChainClaim
from app.services.event_store import TABLES
from app.services.index import Index
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeUnreachable, Rpc
from support.node import Chain


@contextmanager
def sessions_on(url: str) -> Iterator[sessionmaker[Session]]:
    """An empty database of the portal's."""
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    try:
        yield sessionmaker(engine)
    finally:
        engine.dispose()


def dump(sessions: sessionmaker[Session]) -> dict[str, list[tuple[Any, ...]]]:
    """All that comes from the chain, but for the blocks that are remembered and when somebody looked."""
    with sessions() as session:
        return {
            table.__tablename__: sorted(
                (tuple(found) for found in session.execute(sa.select(*table.__table__.columns))), key=repr
            )
            for table in TABLES
            if table not in (ChainBlock, ChainClaim)
        }


def read(index: Index) -> None:
    while index.step():
        pass


class Switch(Rpc):
    """A node that can be exchanged for another under the same address, or be down."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc: Rpc | None = rpc

    def call(self, method: str, params: list[Any]) -> Any:
        return self._present().call(method, params)

    def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        return self._present().batch(calls)

    def _present(self) -> Rpc:
        if self.rpc is None:
            raise NodeUnreachable("The test pulled the plug.")
        return self.rpc


class Switched:
    """The contracts of a chain through such a node."""

    def __init__(self, chain: Chain) -> None:
        self.node = Switch(chain.rpc)
        self.chain = chain

    def licenses(self) -> PrintLicense:
        return PrintLicense(self.node, self.chain.licenses.address, self.chain.licenses.since)

    def devices(self) -> DeviceRegistry:
        return DeviceRegistry(self.node, self.chain.devices.address, self.chain.devices.since)


class Clock:
    """Seconds, which pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
