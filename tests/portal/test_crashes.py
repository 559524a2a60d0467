"""kill -9 at every point where the worker's crash leaves another state: each license is issued once."""

import os
import secrets
import signal
import time
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from portal.stage import queue
from sqlalchemy.orm import Session, sessionmaker

from app.models import Attempt, Intent, IntentState, License
from app.services.outbox import order_outbox
from imprimatur.chain.print_license import PrintLicense, Right
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from support.node import Chain
from support.settle import settle

CHECKPOINTS = ["signed", "committed", "sent", "looked", "recorded"]


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
    outbox = order_outbox(sessions, PrintLicense(HttpRpc(node), contract), KeySigner(key), checkpoint=die)
    settle(outbox)


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
