"""Attack: a contract re-enters while it is paid, refuses to be paid, or burns all gas, to drain or to block
others.

Defence: nobody is ever pushed ether; credits are zeroed before the only outgoing call, and who refuses its
own ether hurts nobody else.
"""

import pytest

from game.stories import false_output, honest, networks
from support.attackers import BURN_GAS, REENTER, REFUSE, actor, force_ether
from support.raises import refused


def act(play, contract, to, method, *args, value=0, **options):
    """Let the attacking contract call a contract of the game."""
    target = getattr(play.deployment, to)
    data = bytes.fromhex(target.data(method, *args)[2:])
    return play.wire.send(play.stranger, contract, "act", target.address, data, value, **options)


def paid_attacker(play, manner):
    """A challenger that is a contract and has won a dispute, so that it has credit in the vault."""
    story = false_output(networks()["contraction"], 0)
    attacker = actor(play.wire, play.stranger, play.rules.challenger_bond)
    claim = play.claim(story)
    act(play, attacker, "game", "open", claim, value=play.rules.challenger_bond)
    dispute = play.read("game", "idOf", claim, attacker.address)
    play.prove(dispute, story, sender=play.stranger)
    again = play.deployment.vault.data("withdraw", attacker.address)
    play.wire.send(
        play.stranger, attacker, "behave", manner, play.deployment.vault.address, bytes.fromhex(again[2:])
    )
    return attacker


def test_reentering_withdraw_pays_once(play):
    play.claim(honest(networks()["seven"]))
    attacker = paid_attacker(play, REENTER)
    credit = play.credit(attacker.address)
    before = play.wire.balance(play.deployment.vault.address)
    act(play, attacker, "vault", "withdraw", attacker.address)
    assert play.wire.call(attacker, "received") == credit > 0
    assert play.wire.call(attacker, "reentered") is False
    assert play.wire.balance(play.deployment.vault.address) == before - credit


@pytest.mark.parametrize("manner", [REFUSE, BURN_GAS])
def test_a_receiver_that_refuses_keeps_its_credit_and_may_name_another(play, manner):
    attacker = paid_attacker(play, manner)
    credit = play.credit(attacker.address)
    with refused("TransferFailed", attacker.address, credit):
        act(play, attacker, "vault", "withdraw", attacker.address, gas=3_000_000)
    assert play.credit(attacker.address) == credit
    act(play, attacker, "vault", "withdraw", play.watcher)
    assert play.credit(attacker.address) == 0


def test_a_winner_that_refuses_ether_does_not_block_the_dispute(play):
    """The dispute ended and the claim is refuted although the winner would have rejected any payment."""
    story = false_output(networks()["contraction"], 0)
    attacker = actor(play.wire, play.stranger, play.rules.challenger_bond)
    play.wire.send(play.stranger, attacker, "behave", REFUSE, attacker.address, b"")
    claim = play.claim(story)
    act(play, attacker, "game", "open", claim, value=play.rules.challenger_bond)
    play.prove(play.read("game", "idOf", claim, attacker.address), story, sender=play.stranger)
    assert play.status(claim) == "refuted"


def test_a_loser_that_refuses_ether_does_not_block_the_winner(play):
    story = false_output(networks()["contraction"], 0)
    attacker = actor(play.wire, play.stranger, play.rules.prover_bond)
    play.wire.send(play.stranger, attacker, "behave", REFUSE, attacker.address, b"")
    act(
        play,
        attacker,
        "claims",
        "claim",
        play.register(story.network),
        bytes(32),
        story.inputs,
        story.outputs,
        story.checkpoint_root,
        value=play.rules.prover_bond,
    )
    claim = play.deployment.wire.rpc("eth_getLogs", {"address": play.deployment.claims.address})[-1][
        "topics"
    ][1]
    dispute = play.open(bytes.fromhex(claim[2:]))
    play.prove(dispute, story)
    assert play.credit(play.challenger) > play.rules.challenger_bond


def test_ether_forced_on_the_vault_becomes_nobodys_credit(play):
    play.claim(honest(networks()["contraction"]))
    locked = play.read("vault", "totalLocked")
    force_ether(play.wire, play.stranger, play.deployment.vault.address, 10**9)
    assert play.read("vault", "totalLocked") == locked
    assert play.read("vault", "totalCredited") == 0
    assert play.wire.balance(play.deployment.vault.address) == locked + 10**9


def test_nobody_reaches_a_lock_of_the_game(play):
    """A lock belongs to the contract that made it; the same id from another caller is another, empty lock."""
    claim = play.claim(honest(networks()["contraction"]))
    for caller in (play.prover, play.stranger):
        with refused("InsufficientLock"):
            play.send(caller, "vault", "credit", claim, caller, 1)
        with refused("InsufficientLock"):
            play.send(caller, "vault", "burn", claim, 1)


def test_only_the_game_moves_claims_and_cases(play):
    claim = play.claim(honest(networks()["contraction"]))
    with refused("NotDisputeGame", play.stranger):
        play.send(play.stranger, "claims", "disputeOpened", claim)
    with refused("NotDisputeGame", play.stranger):
        play.send(play.stranger, "claims", "disputeClosed", claim)
    with refused("NotDisputeGame", play.stranger):
        play.send(play.stranger, "claims", "refute", claim, play.stranger, [], 0)
    with refused("NotDisputeGame", play.stranger):
        play.send(play.stranger, "committee", "convene", claim, play.prover, play.stranger, 1)
    with refused("NotDisputeGame", play.stranger):
        play.send(play.stranger, "committee", "tally", claim)
