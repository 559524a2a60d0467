"""The relay against sending pre-signed batches: prints per second on the same kind of node.

    python -m benchmarks.relay [--entries 4096] [--rounds 3] [--batch 128] [--block-time 2]

The peer broadcasts transactions of `useLicensesSigned` that were signed beforehand, with as many entries
each, as fast as the node takes them, and waits for the last receipt. The relay has the same signed uses, each
of a license of its own. "All of it": two processes take them in through `accept` (called directly, without
HTTP) into SQLite (synchronous=FULL), while the worker simulates, collects, signs, commits, sends, and judges
each entry, until all are done. "The worker": the same from where all are taken in; for intake there can be as
many web processes, on as many machines, as it takes.

Each measurement has a fresh node. First with a block every two seconds, of 30,000,000 gas, as a fast public
chain has. Then with a node that mines each transaction at once: there the peer measures only the node's work.
"""

import argparse
import multiprocessing
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import sqlalchemy as sa
from portal.relay_stage import FILE, Document, document
from sqlalchemy.orm import Session, sessionmaker

import app.extensions  # noqa: F401  # sets what every connection to SQLite gets
from app.jobs.worker import POLL
from app.models import Base, Design, Intent, IntentState, License, RelayEntry, RelayKind, User
from app.services import relay
from app.services.outbox import order_outbox
from app.services.relay_batches import RelayBatches
from app.services.relay_limits import RelayLimits
from imprimatur.chain import transactions
from imprimatur.chain.orders import Order
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import HttpRpc
from imprimatur.chain.signers import KeySigner
from imprimatur.chain.typed_data import Signed, Use, license_domain, sign_use
from imprimatur.license_id import format_id
from support.node import deploy_contracts
from tools.anvil import running_anvil

CHAIN = 31337
DEVICES = 16
GAS = 45_000
"""Reserved by the peer for each entry, and as much for the rest."""
WEB_PROCESSES = 2
BLOCK_GAS = 30_000_000
GOAL = 0.5


@dataclass(frozen=True)
class Work:
    """Licenses on a fresh node, and a signed use of each."""

    rpc: HttpRpc
    licenses: PrintLicense
    owner: str
    operator: KeySigner
    uses: Sequence[Signed[Use]]
    devices: Sequence[KeySigner]

    def device(self, place: int) -> str:
        return self.devices[place % DEVICES].address


def prepare(rpc: HttpRpc, entries: int) -> Work:
    """On a node that mines each transaction at once."""
    licenses, _ = deploy_contracts(rpc)
    owner, operator = KeySigner(secrets.token_bytes(32)), KeySigner(secrets.token_bytes(32))
    devices = [KeySigner(secrets.token_bytes(32)) for _ in range(DEVICES)]
    for signer in (owner, operator):
        rpc.call("anvil_setBalance", [signer.address, hex(10**22)])
    deadline = int(time.time()) + 86_400
    orders = [
        Order(owner.address, place + 1, devices[place % DEVICES].address, FILE, 3, deadline=deadline)
        for place in range(entries)
    ]
    for first in range(0, entries, 100):
        call = licenses.issue_batch_call(orders[first : first + 100])
        signed = transactions.sign(rpc, owner, licenses.address, call)
        transactions.broadcast(rpc, signed.raw)
        transactions.wait_for_receipt(rpc, signed.hash, poll=0.02)
    domain = license_domain(CHAIN, licenses.address)
    uses = []
    for place, order in enumerate(orders):
        recipient, serial, commitment = (secrets.token_bytes(32) for _ in range(3))
        use = Use(order.id, FILE, 1, recipient, serial, commitment, deadline)
        uses.append(sign_use(devices[place % DEVICES], domain, use))
    return Work(rpc, licenses, owner.address, operator, uses, devices)


def database(folder: Path, work: Work) -> sessionmaker[Session]:
    """A portal's database that knows the licenses."""
    engine = sa.create_engine(f"sqlite:///{folder / 'portal.db'}", pool_size=20)
    Base.metadata.create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions.begin() as session:
        user = User(email="a@example.com", fs_uniquifier="u", name="A", account=work.owner)
        design = Design(owner=user, file_name="a.gcode", storage_key="0" * 32, size=1, sha256=FILE)
        for place, use in enumerate(work.uses):
            id = format_id(use.message.id)
            session.add(
                License(
                    id=id,
                    owner=user,
                    design=design,
                    intent=Intent(key=f"issue:{id}", state=IntentState.DONE),
                    number=str(place),
                    printer_name="P",
                    printer_address=work.device(place),
                    file_hash=FILE,
                    copies=3,
                )
            )
    return sessions


def send_raw(work: Work, batch: int, block_time: float) -> float:
    """Seconds until the last of the pre-signed transactions is mined."""
    rpc = work.rpc
    fees, made = transactions.suggest_fees(rpc), []
    for nonce, first in enumerate(range(0, len(work.uses), batch)):
        uses = work.uses[first : first + batch]
        call = work.licenses.use_licenses_signed_call(uses)
        gas = GAS * (len(uses) + 1)
        fields = transactions.build(CHAIN, nonce, work.licenses.address, call, gas, fees)
        raw, hash = work.operator.sign_transaction(fields)
        made.append(("0x" + raw.hex(), hash))
    wait_for_a_block(work.rpc, block_time)
    started = time.perf_counter()
    for bytes_, _ in made:
        rpc.call("eth_sendRawTransaction", [bytes_])
    transactions.wait_for_receipt(rpc, made[-1][1], poll=0.002)
    return time.perf_counter() - started


def take_in(
    url: str, node: str, contract: str, sent: Sequence[tuple[str, Document]], limits: RelayLimits
) -> None:
    """What a web process does."""
    sessions = sessionmaker(sa.create_engine(url), expire_on_commit=False)
    licenses = PrintLicense(HttpRpc(node), contract)
    for device, message in sent:
        with sessions() as session:
            relay.accept(session, licenses, device, RelayKind.USE, message, time.time(), limits)


def carry(work: Work, batch: int, block_time: float, whole: bool) -> tuple[float, float]:
    """Seconds until every entry is done, with intake (`whole`) or from its end; and those of intake alone,
    which a `whole` run doesn't know."""
    entries = len(work.uses)
    limits = RelayLimits(waiting=entries + 1, per_device=entries + 1, batch=batch)
    with tempfile.TemporaryDirectory() as folder:
        sessions = database(Path(folder), work)
        url = f"sqlite:///{folder}/portal.db"
        sent = [(work.device(place), document(use)) for place, use in enumerate(work.uses)]
        batches = RelayBatches(sessions, work.licenses, limits)
        outbox = order_outbox(sessions, work.licenses, work.operator)
        node, contract = work.rpc.url, work.licenses.address
        context = multiprocessing.get_context("fork")
        web = [
            context.Process(target=take_in, args=(url, node, contract, sent[place::WEB_PROCESSES], limits))
            for place in range(WEB_PROCESSES)
        ]
        if whole:
            wait_for_a_block(work.rpc, block_time)
        started = time.perf_counter()
        for process in web:
            process.start()
        while not whole and any(process.is_alive() for process in web):
            time.sleep(0.01)
        taken_in = time.perf_counter() - started
        if not whole:
            wait_for_a_block(work.rpc, block_time)
        began = time.perf_counter()
        while finished(sessions) < entries:
            assert all(process.exitcode in (None, 0) for process in web)
            if not batches.step() + outbox.step():
                time.sleep(POLL)
        seconds = time.perf_counter() - (started if whole else began)
        for process in web:
            process.join()
        return seconds, taken_in


def wait_for_a_block(rpc: HttpRpc, block_time: float) -> None:
    """So that both sides have the same time until the next one."""
    before = rpc.call("eth_blockNumber", [])
    while block_time and rpc.call("eth_blockNumber", []) == before:
        time.sleep(0.005)


def finished(sessions: sessionmaker[Session]) -> int:
    with sessions() as session:
        rows = session.execute(sa.select(RelayEntry.state, sa.func.count()).group_by(RelayEntry.state)).all()
    states = {row[0]: row[1] for row in rows}
    assert "refused" not in states, states
    return int(states.get("done", 0))


def compare(name: str, arguments: argparse.Namespace, block_time: float) -> tuple[float, float]:
    """Print medians of interleaved rounds; the ratios of all of it and of the worker alone."""
    entries, batch = arguments.entries, arguments.batch
    times: dict[str, list[float]] = {"peer": [], "worker": [], "whole": [], "intake": []}
    for _ in range(arguments.rounds):
        for side in ("peer", "worker", "whole"):
            with running_anvil("--gas-limit", str(BLOCK_GAS)) as rpc:
                work = prepare(rpc, entries)
                if block_time:
                    rpc.call("evm_setAutomine", [False])
                    rpc.call("evm_setIntervalMining", [block_time])
                if side == "peer":
                    times[side].append(send_raw(work, batch, block_time))
                    continue
                seconds, taken_in = carry(work, batch, block_time, whole=side == "whole")
                times[side].append(seconds)
                if side == "worker":
                    times["intake"].append(taken_in)
    rate = {side: entries / statistics.median(seconds) for side, seconds in times.items()}
    whole, worker = rate["whole"] / rate["peer"], rate["worker"] / rate["peer"]
    print(f"{name}: {entries} uses, {batch} in a transaction, medians of {arguments.rounds}")
    print(f"  pre-signed batches {rate['peer']:7.1f} uses/s")
    print(f"  the worker         {rate['worker']:7.1f} uses/s · ratio {worker:.2f}")
    print(f"  all of it          {rate['whole']:7.1f} uses/s · ratio {whole:.2f}")
    print(f"  (intake alone      {rate['intake']:7.1f} uses/s with {WEB_PROCESSES} processes)")
    return whole, worker


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=RelayLimits().batch)
    parser.add_argument("--block-time", type=int, default=2)
    arguments = parser.parse_args()
    seconds = arguments.block_time
    whole, worker = compare(f"A block every {seconds} s", arguments, seconds)
    compare("Each transaction at once", arguments, 0)
    for what, ratio in (("the worker", worker), ("all of it", whole)):
        print(f"goal with blocks: ratio >= {GOAL}: {what}: {'met' if ratio >= GOAL else 'missed'}")
    return 0 if min(whole, worker) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
