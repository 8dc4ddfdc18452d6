"""A member's seat: joined, restored after penalties, and given up with its stake."""

import pytest

from benchmarks.small import member
from chain.world import FIRST_MEMBER
from tao.chain.local import account, let_pass, mine
from tao.errors import ChainError
from tao.protocol.views import Vote

ME = account(FIRST_MEMBER).address
CASE, OTHER = b"1" * 32, b"2" * 32
LAST_SECOND, SALT = 2**64 - 1, b"s" * 32


class Game:
    """The dispute game's part towards the committee, without disputes."""

    def __init__(self, world):
        self.world, self.w3 = world, world.w3
        self.functions = world.actor(FIRST_MEMBER).contracts.committee.functions
        self.address = world.deployment.contracts["DisputeGame"].address
        for method, *values in (("impersonateAccount",), ("setBalance", hex(10**20))):
            self.w3.provider.make_request(f"anvil_{method}", [self.address, *values])

    def call(self, function, *arguments):
        sent = self.functions[function](*arguments).transact({"from": self.address})
        assert self.w3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)["status"] == 1

    def announce(self, case):
        """Begin a case of which nobody is a party, about a claim that is younger than every stake."""
        self.call("convene", case, self.address, self.address, LAST_SECOND)

    def draw(self, case):
        for _ in range(20):
            mine(self.w3)
        self.call("draw", case)

    def penalise(self, *cases):
        """Let cases end without a vote; the member pays."""
        for case in cases:
            self.announce(case)
        for case in cases:
            self.draw(case)
        let_pass(self.w3, 10_000)
        for case in cases:
            self.call("tally", case)

    @property
    def stake(self):
        return self.functions.stakeOf(ME).call()


@pytest.fixture
def game(world):
    return Game(world)


@pytest.fixture
def whole(world):
    """Wei of a whole stake."""
    return world.reader.stake


def said(world):
    return (world.folder / "console.txt").read_text()


def vote(actor, case):
    """Commit a vote and reveal it, for which nobody is penalised, whatever the others do."""
    functions, ballot = actor.contracts.committee.functions, (Vote.ACCEPT, b"")
    actor.send(functions.commit(case, functions.voteHash(case, ME, *ballot, SALT).call()))
    actor.send(functions.reveal(case, *ballot, SALT))


def test_a_penalised_member_is_restored_by_starting_it_again(world, game, whole):
    me = member(world.actor(FIRST_MEMBER))
    assert me.join().what == "joined the committee" and me.join() is None and game.stake == whole
    game.penalise(CASE)
    assert 0 < game.stake < whole and me.tick() == [] and "is drawn no more" in said(world)
    game.announce(OTHER)
    again = member(world.actor(FIRST_MEMBER))
    assert again.join() is None and again.tick() == [] and game.stake < whole
    assert "restored after the next draw" in said(world)
    game.draw(OTHER)
    assert [done.action for done in again.tick()] == ["join"]
    assert game.stake == whole and game.functions.isEligible(ME, LAST_SECOND).call() and again.tick() == []


def test_a_seat_whose_whole_stake_is_burned_is_restored(world, game, whole):
    me = member(world.actor(FIRST_MEMBER))
    me.join()
    penalty = game.functions.parameters().call()[2]
    game.penalise(*(bytes([number]) * 32 for number in range(-(-whole // penalty))))
    assert game.stake == 0
    assert "penalties had taken" in member(world.actor(FIRST_MEMBER)).join().what and game.stake == whole


def test_a_member_that_leaves_stays_for_its_delay_and_duty_and_withdraws_its_whole_stake(
    world,
    game,
    whole,
    run,  # noqa: F811
):
    leave, state = "committee --leave", str(world.folder / "state")
    member(world.actor(FIRST_MEMBER)).join()
    game.announce(CASE)
    asked = run(f"{leave} --once", FIRST_MEMBER, state=state)
    assert asked.exit_code == 0 and "asked to leave" in asked.output and "waits until 20" in asked.output
    with pytest.raises(ChainError, match="asked to leave the committee.* with --leave, then join again"):
        member(world.actor(FIRST_MEMBER)).join()
    game.draw(CASE)
    vote(world.actor(FIRST_MEMBER), CASE)
    let_pass(world.w3, 10_000)
    sits = run(f"{leave} --once", FIRST_MEMBER, state=state)
    assert sits.exit_code == 0 and "waits for 0 pending draws and 1 case" in sits.output
    game.call("tally", CASE)
    left = run(leave, FIRST_MEMBER, state=state, poll="0.1")
    assert left.exit_code == 0 and "left the committee" in left.output and "tao withdraw" in left.output
    assert game.stake == 0 and game.functions.memberCount().call() == 0
    vault = world.actor(FIRST_MEMBER).contracts.vault.functions
    assert vault.creditOf(ME).call() == whole
    assert run("withdraw", FIRST_MEMBER).exit_code == 0 and vault.creditOf(ME).call() == 0
    again = run(leave, FIRST_MEMBER, state=state)
    assert again.exit_code == 0 and "has no seat" in again.output
