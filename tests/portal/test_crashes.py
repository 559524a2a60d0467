"""kill -9 at every point where the worker's crash leaves another state: each license is issued once."""

import os
import secrets
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from app.models import Attempt, Design, Intent, IntentState, License, User
from app.services.issuing import end_of_day
from app.services.outbox import Outbox
from imprimatur.chain.print_license import PrintLicense, Right
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from imprimatur.license_id import format_id, license_id, number_from_text
from support.node import Chain, running_chain

CHECKPOINTS = ["signed", "committed", "sent", "mined", "closed"]


@pytest.fixture(scope="module")
def anvil() -> Iterator[Chain]:
    with running_chain() as chain:
        yield chain


def queue(session: Session, owner: str, numbers: list[str]) -> None:
    """Orders as the portal queues them."""
    user = User(email="a@example.com", fs_uniquifier="u", name="A", account=owner)
    design = Design(owner=user, file_name="a.gcode", storage_key="0" * 32, size=1, sha256="ab" * 32)
    session.add_all([user, design])
    session.flush()
    for number in numbers:
        id = format_id(license_id(owner, number_from_text(number)))
        session.add(
            License(
                id=id,
                owner=user,
                design=design,
                intent=Intent(key=f"issue:{id}"),
                number=number,
                printer_name="P",
                printer_address="0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf",
                file_hash=design.sha256,
                copies=2,
                valid_until=end_of_day(None),
            )
        )
    session.commit()


def run_worker(database: str, anvil: Chain, key: bytes, fatal: str) -> int:
    """Work until nothing moves, in a process that kills itself at the point `fatal`; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work(database, anvil.url, anvil.licenses.address, key, fatal)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # without the clean-up of pytest, which belongs to the parent


def work(database: str, node: str, contract: str, key: bytes, fatal: str) -> None:
    def die(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    # Everything is made here: a connection doesn't survive a fork.
    sessions = sessionmaker(sa.create_engine(database), expire_on_commit=False)
    outbox = Outbox(sessions, PrintLicense(HttpRpc(node), contract), KeySigner(key), die)
    while outbox.step():
        pass


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_killed_anywhere(anvil: Chain, tmp_path: Path, template_database: bytes, checkpoint: str) -> None:
    path = tmp_path / "portal.db"
    path.write_bytes(template_database)
    database = f"sqlite:///{path}"
    key, owner = secrets.token_bytes(32), anvil.account()
    operator = KeySigner(key)
    anvil.fund(operator.address)
    anvil.send(
        owner,
        anvil.licenses.set_operator_call(
            owner.address, operator.address, Right.ISSUE, int(time.time()) + 3600
        ),
    )
    engine = sa.create_engine(database)
    numbers = ["AS-1", "AS-2", "AS-3"]
    with Session(engine) as session:
        queue(session, owner.address, numbers)

    killed = 0
    while run_worker(database, anvil, key, checkpoint) == -signal.SIGKILL:
        killed += 1
        if checkpoint == "signed" or killed == 4:
            break  # before the first commit nothing gets further, however often it is tried
    assert killed
    assert run_worker(database, anvil, key, "never") == 0

    with Session(engine) as session:
        assert {intent.state for intent in session.scalars(sa.select(Intent))} == {IntentState.DONE}
        attempts = session.scalars(sa.select(Attempt)).all()
        assert sorted(a.nonce for a in attempts) == list(range(3))
        ids = [int(license.id, 16) for license in session.scalars(sa.select(License))]
    engine.dispose()
    for id in ids:
        assert len(list(anvil.licenses.events("LicenseIssued", id=id))) == 1
    sent = int(anvil.rpc.call("eth_getTransactionCount", [operator.address, "latest"]), 16)
    assert sent == len(numbers), "every transaction counts: none was sent twice or in vain"
