"""A constructor proves its configuration sane: what cannot be played fairly cannot be deployed."""

from dataclasses import replace

import ape
import pytest

from support.deployment import SMALL, claim_parameters, committee_parameters, created_address, game_parameters

YEAR = 365 * 86_400
SOMEWHERE = "0x" + "11" * 20
NOBODY = "0x" + "00" * 20


def wrong(**changes):
    return pytest.param(changes, id=" ".join(f"{name}={value}" for name, value in changes.items()))


@pytest.mark.parametrize(
    "changes",
    [
        wrong(window=0),
        wrong(window=YEAR + 1),
        wrong(burn_bps=10_000),
        wrong(burn_bps=0),
        wrong(prover_bond=0),
    ],
)
def test_claims_refuse(play, project, actors, ape_contracts, changes):
    c = ape_contracts
    with ape.reverts(project.ClaimRegistry.InvalidConfiguration):
        actors.stranger.deploy(
            project.ClaimRegistry, c.vault, c.models, SOMEWHERE, claim_parameters(replace(SMALL, **changes))
        )


@pytest.mark.parametrize(
    "changes",
    [
        wrong(size=0, quorum=0),
        wrong(size=4),
        wrong(size=33, quorum=17),
        wrong(quorum=1),
        wrong(quorum=4),
        wrong(minority_margin=0),
        wrong(minority_margin=4),
        wrong(no_show_penalty=0),
        wrong(no_show_penalty=SMALL.stake + 1),
        wrong(member_fee=SMALL.stake),
        wrong(minority_penalty=SMALL.no_show_penalty + 1),
        wrong(seed_delay=0),
        wrong(seed_delay=257),
        wrong(commit_period=0),
        wrong(reveal_period=0),
        wrong(leave_delay=0),
        wrong(leave_delay=YEAR + 1),
    ],
)
def test_the_committee_refuses(play, project, actors, ape_contracts, changes):
    with ape.reverts(project.OperatorCommittee.InvalidConfiguration):
        actors.stranger.deploy(
            project.OperatorCommittee,
            ape_contracts.vault,
            SOMEWHERE,
            committee_parameters(replace(SMALL, **changes)),
        )


@pytest.mark.parametrize(
    "changes",
    [
        wrong(fan_out=1),
        wrong(fan_out=65),
        wrong(prover_clock=0),
        wrong(challenger_clock=YEAR + 1),
        wrong(max_demands=0),
        wrong(burn_bps=0),
        wrong(burn_bps=2_501),
        wrong(challenger_bond=0),
        wrong(challenger_bond=SMALL.size * SMALL.member_fee * 4 // 3),
    ],
)
def test_the_game_refuses(play, project, actors, ape_contracts, changes):
    with ape.reverts(project.DisputeGame.InvalidConfiguration):
        deploy_game(project, actors.stranger, ape_contracts, game_parameters(replace(SMALL, **changes)))


def deploy_game(project, account, contracts, parameters, adjudicators=()):
    address = created_address(account.address, account.nonce + 3)
    claims = account.deploy(
        project.ClaimRegistry, contracts.vault, contracts.models, address, claim_parameters(SMALL)
    )
    committee = account.deploy(
        project.OperatorCommittee, contracts.vault, address, committee_parameters(SMALL)
    )
    sums = account.deploy(project.SumGame, address, claims)
    return account.deploy(
        project.DisputeGame,
        contracts.vault,
        contracts.models,
        claims,
        committee,
        sums,
        list(adjudicators),
        parameters,
    )


def test_an_operator_has_one_adjudicator(play, project, actors, ape_contracts):
    twice = [ape_contracts.exact, ape_contracts.contraction, ape_contracts.exact]
    with ape.reverts(project.DisputeGame.DuplicateOperator):
        deploy_game(project, actors.stranger, ape_contracts, game_parameters(SMALL), twice)


def test_contracts_of_another_game_are_refused(play, project, actors, ape_contracts):
    """The claims and the committee name the address of the one game they obey."""
    c = ape_contracts
    with ape.reverts(project.DisputeGame.InvalidConfiguration):
        actors.stranger.deploy(
            project.DisputeGame, c.vault, c.models, c.claims, c.committee, c.sums, [], game_parameters(SMALL)
        )


def test_addresses_without_code_are_refused(play, project, actors, ape_contracts):
    c = ape_contracts
    for vault, models, game in (
        (SOMEWHERE, c.models, SOMEWHERE),
        (c.vault, SOMEWHERE, SOMEWHERE),
        (c.vault, c.models, NOBODY),
    ):
        with ape.reverts(project.ClaimRegistry.InvalidConfiguration):
            actors.stranger.deploy(project.ClaimRegistry, vault, models, game, claim_parameters(SMALL))
    for vault, game in ((SOMEWHERE, SOMEWHERE), (c.vault, NOBODY)):
        with ape.reverts(project.OperatorCommittee.InvalidConfiguration):
            actors.stranger.deploy(project.OperatorCommittee, vault, game, committee_parameters(SMALL))
    for game, claims in ((NOBODY, c.claims), (SOMEWHERE, SOMEWHERE)):
        with ape.reverts(project.SumGame.InvalidConfiguration):
            actors.stranger.deploy(project.SumGame, game, claims)


def test_the_deployed_contracts_tell_their_parameters(play, deployment, rules):
    assert play.read("claims", "parameters") == claim_parameters(rules)
    assert play.read("game", "parameters") == game_parameters(rules)
    assert play.read("committee", "parameters") == committee_parameters(rules)
