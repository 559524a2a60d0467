"""What else happens while a copy is printed. Each takes a fresh world and changes it; the world calls it."""

from collections.abc import Callable
from dataclasses import dataclass

from crashes.simulation.node import GWEI
from crashes.simulation.portal import OPERATOR
from crashes.simulation.world import LONGEST_PAUSE, OTHER, World

from imprimatur.chain.interface import interface_of
from imprimatur.chain.print_license import CONTRACT
from imprimatur.device.job import State
from imprimatur.key_answer import Question, Refusal


def plain(world: World) -> None:
    """Everybody does what they should."""
    del world


def sent_twice(world: World) -> None:
    """The relay sends each message twice, and its first answers get lost."""
    lost: set[str] = set()

    def carry(digest: str, data: str) -> None:
        world.node.submit_call(OPERATOR, data)
        world.node.submit_call(OPERATOR, data)

    def loses(place: str) -> bool:
        first = place not in lost
        lost.add(place)
        return first

    world.portal.carry, world.portal.loses_answer = carry, loses


def lost_and_paid(world: World) -> None:
    """The relay takes uses and forgets them; the printer has coins."""
    world.portal.carry = lambda digest, data: None


def lost_for_good(world: World) -> None:
    """The relay forgets the first use that it is given, and carries every other one."""
    forgotten: list[str] = []

    def carry(digest: str, data: str) -> None:
        if not forgotten:
            forgotten.append(digest)
        if digest not in forgotten:
            world.node.submit_call(OPERATOR, data)

    world.portal.carry = carry


def _once(world: World, seen: Callable[[], bool], then: Callable[[], None]) -> None:
    """Let something happen right after the first block in which something is seen."""
    happened: list[bool] = []

    def on_block() -> None:
        if not happened and seen():
            happened.append(True)
            then()

    world.node.on_block = on_block


def reorganised(world: World) -> None:
    """The block with the use is replaced, and the use comes back into another one."""
    _once(world, lambda: bool(world.node.uses()), lambda: world.node.reorganise(1, 1.0, 1.0))


def taken_away(world: World) -> None:
    """The two newest blocks are replaced, and the use is in none any more: nobody has it but who sent it."""

    def one_upon_it() -> bool:
        return any(event.block_number < world.node.ledger.head.number for event in world.node.uses())

    _once(world, one_upon_it, lambda: world.node.reorganise(2, 0.0, 0.0))


def _other_uses(world: World, number: int = 1) -> Callable[[], None]:
    """The other device of the wallet takes a copy as soon as the printer has given a signed use away."""
    taken: list[str] = []

    def on_turn() -> None:
        if len(taken) < number and world.portal.uses:
            data = interface_of(CONTRACT).encode_call(
                "useLicense", world.license.id, int(world.license.manifest.file_hash, 16)
            )
            taken.append(world.node.submit_call(OTHER, data, fee=9000 * GWEI))

    return on_turn


def _late_relay(world: World) -> None:
    """The relay carries a message only when it is asked a second time: somebody else is faster."""
    asked: set[str] = set()

    def carry(digest: str, data: str) -> None:
        if digest in asked:
            world.node.submit_call(OPERATOR, data)
        asked.add(digest)

    world.portal.carry = carry


def raced(world: World) -> None:
    """Another device takes the copy that was signed for."""
    _late_relay(world)
    world.on_turn = _other_uses(world)


def raced_and_back(world: World) -> None:
    """Another device takes the copy, and a reorganisation gives it back."""
    raced(world)

    def taken() -> bool:
        head = world.node.ledger.head.number
        uses = world.node.uses()
        return any(event.values["device"].lower() == OTHER and event.block_number < head for event in uses)

    _once(world, taken, lambda: world.node.reorganise(2, 0.0, 0.0))


def exhausted(world: World) -> None:
    """Another device takes the last copy meanwhile."""
    raced(world)


def portal_down(world: World) -> None:
    """The portal doesn't answer for two minutes after it was given the first use, and the first outcome."""
    began: dict[str, float] = {}

    def is_down(place: str) -> bool:
        if "/keys" in place:
            return False
        if "POST" in place:
            began.setdefault(place, world.clock())
        return any(world.clock() - since < 120 for since in began.values())

    world.portal.is_down = is_down


def withdrawn(world: World) -> None:
    """The operator withdraws the job when its use is given away already; the relay carries it all the
    same."""
    asked: list[str] = []

    def on_turn() -> None:
        signed = world.journal.in_states(State.SIGNED, State.SENT)
        if signed and world.portal.uses and not asked:
            asked.append(signed[0].id)
            world.ask(lambda: world.flow.withdraw(asked[0]))

    world.on_turn = on_turn


def cancelled(world: World) -> None:
    """The first print doesn't start, the second is cancelled while it heats, the third when it has begun."""
    world.printer.ends = [0, 2, 5]


def desk_slow(world: World) -> None:
    """The desk has a fault when it is asked first, and then wants patience."""
    asked: list[Question] = []

    def refuses(question: Question) -> Refusal | None:
        asked.append(question)
        return {1: Refusal.UNAVAILABLE, 2: Refusal.TOO_MANY_REQUESTS}.get(len(asked))

    world.portal.refuses_key = refuses


def desk_refuses(world: World) -> None:
    """The owner has stopped the first copy: its key is never given out."""
    world.portal.refuses_key = lambda question: Refusal.STOPPED if question.copy == 1 else None


def desk_silent(world: World) -> None:
    """The desk is down for twenty minutes: longer than anybody waits for a key."""
    until = world.clock() + 1200
    world.portal.is_down = lambda place: "/keys" in place and world.clock() < until


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name, what happens, and what the printer and its license have.

    Args:
        shows: what is seen of it when nothing strikes: reasons of jobs, events, boundaries.
        longest_pause: seconds between two looks at most; long waits need fewer then.
    """

    name: str
    happens: Callable[[World], None]
    shows: tuple[str, ...]
    with_payer: bool = False
    copies: int = 4
    own_file: bool = False
    longest_pause: float = LONGEST_PAUSE


SCENARIOS = (
    Scenario("plain", plain, ("LicenseUsed", "finished")),
    Scenario("own file", plain, ("LicenseUsed", "finished"), own_file=True),
    Scenario("sent twice", sent_twice, ("UseSkipped", "portal_unreachable")),
    Scenario("lost, paid by the printer", lost_and_paid, ("after eth_sendRawTransaction",), with_payer=True),
    Scenario("lost for good", lost_for_good, ("signature_expired", "not_consumed"), longest_pause=900.0),
    Scenario("reorganised", reorganised, ("ours replaced",)),
    Scenario("taken away", taken_away, ("ours replaced",)),
    Scenario("raced", raced, ("raced",)),
    Scenario("raced and given back", raced_and_back, ("other's replaced",)),
    Scenario("exhausted meanwhile", exhausted, ("raced", "no_copies_left"), copies=1),
    Scenario("portal down", portal_down, ("portal_unreachable",)),
    Scenario("withdrawn", withdrawn, ("withdrawing",)),
    Scenario("cancelled", cancelled, ("start_failed", "cancelled_early", "cancelled", "given_back")),
    Scenario("desk slow", desk_slow, ("key_pending",)),
    Scenario("desk refuses", desk_refuses, ("withheld", "given_back")),
    Scenario("desk silent", desk_silent, ("desk_unreachable", "withheld", "given_back")),
)
