"""Roles that are killed at every point, and plays of them to the end of a dispute.

Each role is built anew for every tick, and dies around every transaction: once before it is sent, then right
after it is included. Whatever a role keeps in memory is lost each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.small import member
from chain.world import World, is_voted_on
from tao.chain.local import let_pass, mine
from tao.chain.sender import Sender, Sent
from tao.protocol.views import DisputeView, Phase
from tao.roles.context import Context
from tao.roles.member import MemberRole
from tao.roles.role import Role

ROUNDS = 120
IDLE = 60
"""Seconds that pass in a round in which nobody moves; in others only a block is mined."""


class Killed(BaseException):
    """The process died. No handler of the product may catch it."""


class MortalSender:
    """Sends every second time it is asked, and dies each time."""

    def __init__(self, sender: Sender):
        self.sender, self.address, self.calls = sender, sender.address, 0
        self.sent: list[str] = []

    @property
    def fee(self) -> int:
        return self.sender.fee

    def send(self, *arguments, **options) -> Sent:
        self.calls += 1
        if self.calls % 2:
            raise Killed
        sent = self.sender.send(*arguments, **options)
        if not sent.already:
            self.sent.append(sent.what)
            raise Killed
        return sent


class Mortal:
    """A role rebuilt for every tick on a sender that dies."""

    def __init__(self, context: Context, build: Callable[[Context], Role]):
        self.sender = MortalSender(context.sender)
        self.context = replace(context, sender=self.sender)
        self.build = build
        self.deaths = 0

    @property
    def sent(self) -> list[str]:
        """The functions it has called in transactions."""
        return self.sender.sent

    def tick(self) -> None:
        try:
            self.build(self.context).tick()
        except Killed:
            self.deaths += 1


@dataclass
class Silent:
    """A role that sends so many transactions, and never another."""

    role: Mortal
    transactions: int

    @property
    def deaths(self) -> int:
        return self.role.deaths

    def tick(self) -> None:
        if len(self.role.sent) < self.transactions:
            self.role.tick()


def mortal_members(world: World) -> list[Mortal]:
    """Three members, seated and then mortal."""

    def build(context: Context) -> MemberRole:
        return member(context, folder=world.folder / "state")

    return [Mortal(each.context, build) for each in world.members()]


def have_voted(members: Sequence[Mortal]) -> bool:
    """Whether each died around committing to a vote and around revealing it, and did both."""
    return all({"commit", "reveal"} <= set(member.sent) and member.deaths >= 4 for member in members)


def play(world: World, *roles: Mortal | Silent, members: Sequence[Mortal] = ()) -> DisputeView:
    """Tick in turn until all disputes have ended; returns the first. Members, who do nothing else, tick while there
    is a vote."""
    disputes: tuple[DisputeView, ...] = ()
    for _ in range(ROUNDS):
        before = deaths(roles, members)
        for role in (*roles, *members) if is_voted_on(disputes) else roles:
            role.tick()
        disputes = world.reader.view().disputes
        if disputes and all(dispute.phase is Phase.CLOSED for dispute in disputes):
            return disputes[0]
        if deaths(roles, members) == before:
            let_pass(world.w3, IDLE)
        else:
            mine(world.w3)
    raise AssertionError(f"no end after {ROUNDS} rounds: {world.log()}")


def deaths(*groups: Sequence[Mortal | Silent]) -> int:
    """How often any of them has died."""
    return sum(role.deaths for group in groups for role in group)
