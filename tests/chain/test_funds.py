"""Bonds and gas: who has its last ether in bonds cannot move, and loses by its clock."""

import pytest

from benchmarks.small import Cheat, node
from tao.chain.local import let_pass
from tao.roles.funds import Funds


@pytest.mark.parametrize(
    ("balance", "under_way", "is_short"), [(14, 0, True), (15, 0, False), (24, 2, True), (25, 2, False)]
)
def test_a_bond_leaves_the_gas_of_what_is_under_way_and_of_one_more(balance, under_way, is_short):
    assert Funds(balance, moves=5, under_way=under_way).is_short(bond=10) is is_short


def test_a_prover_serves_as_far_as_its_ether_also_pays_for_disputes(world):
    for _ in range(3):
        world.request()
    prover = world.prover()
    give(world, prover, 2 * prover.bond + 3 * prover.moves_gas * dear(world, prover))
    assert kinds(prover.tick()) == ["claim"] * 2
    assert prover.tick() == [] == prover.tick()
    assert world.log().count("too little to put up 0.1000 ETH") == 1


def test_credit_pays_for_gas_and_bonds_before_more_is_taken_on(world):
    world.request()
    prover = world.prover()
    prover.tick()
    let_pass(world.w3, prover.context.reader.window + 1)
    assert kinds(prover.tick()) == ["finalise"]
    world.request()
    give(world, prover, prover.bond)
    assert kinds(prover.tick()) == ["withdraw", "claim"]


def test_a_challenger_disputes_nothing_that_it_could_not_play_to_the_end(world):
    world.request()
    world.prover(Cheat(world.bundle, node(world.bundle, "contraction"))).tick()
    challenger = world.challenger()
    give(world, challenger, challenger.bond + challenger.moves_gas * dear(world, challenger) // 2)
    assert challenger.tick() == []
    assert "too little to put up 0.0500 ETH" in world.log()
    give(world, challenger, 10**20)
    assert kinds(challenger.tick()) == ["open"]


def test_a_challenger_says_at_its_first_look_that_it_has_too_little(world):
    challenger = world.challenger()
    give(world, challenger, 0)
    assert challenger.tick() == [] == challenger.tick()
    said = " for the gas of a dispute; send it ether"
    assert world.log().count(said + '"') == 1


def kinds(done):
    return [each.action for each in done]


def give(world, role, wei):
    world.w3.provider.make_request("anvil_setBalance", [role.address, hex(wei)])


def dear(world, role):
    """A fee above that of the next blocks."""
    return role.context.sender.fee * 5 // 4
