"""Whole disputes of a tiny network between the real roles, on a local chain."""

import json
import os

import pytest

from benchmarks.small import Cheat, Rewriter, Withholder, inputs, node
from chain.world import CHALLENGER, CLIENT, FEE, PROVER
from tao.chain.local import let_pass, mine
from tao.errors import NoResult, StoreError
from tao.protocol.views import Outcome, Phase, Status
from tao.roles import client
from tao.roles.prover import ProverRole
from tao.roles.states import fetch_value
from tao.tensors import commit

SECOND_PROVER = 4


def actions(done):
    return [each.action for each in done]


def test_an_honest_claim_becomes_final_and_pays_bond_and_fee(world):
    request = world.request()
    prover, challenger = world.prover(), world.challenger()
    assert actions(prover.tick()) == ["claim"]
    assert challenger.tick() == []
    result = client.read(world.actor(CLIENT), request)
    assert result.claim.status is Status.PENDING
    assert (client.output(world.actor(CLIENT), result.claim, 0) > 0).all()
    let_pass(world.w3, 601)
    assert actions(prover.tick()) == ["finalise"]
    assert prover.tick() == []
    vault = prover.context.contracts.vault.functions
    assert vault.creditOf(prover.address).call() == prover.context.reader.prover_bond + FEE


def test_a_wrong_contraction_is_proven_on_chain(world):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
    challenger = world.challenger()
    done = world.play(world.prover(cheat), challenger)
    assert actions(done)[-1] == "prove" and "escalate" not in actions(done)
    dispute = world.dispute()
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.claim.status is Status.REFUTED
    assert dispute.lo == cheat.node
    credit = challenger.context.contracts.vault.functions.creditOf(challenger.address).call()
    bonds = challenger.context.reader.challenger_bond, challenger.context.reader.prover_bond
    assert credit == bonds[0] + bonds[1] * 8 // 10


@pytest.mark.parametrize("operator", ["mish", "softplus"])
def test_a_wrong_transcendental_is_voted_down(world, operator):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, operator))
    done = world.play(world.prover(cheat), world.challenger(), *world.members())
    assert {"escalate", "draw", "commit-vote", "reveal-vote", "settle"} <= set(actions(done))
    assert world.dispute().outcome is Outcome.CHALLENGER_WON and world.dispute().lo == cheat.node
    votes = [each.details for each in done if each.action == "reveal-vote"]
    assert {vote["vote"] for vote in votes} == {"reject"}
    assert all(json.loads(vote["statistics"])["exceedance"] > 1 for vote in votes)
    (settled,) = told(world, "settle")
    assert settled.endswith("by the committee's tally: the challenger won")


def test_winner_and_loser_of_a_dispute_are_told_once(world):
    world.request()
    prover, challenger = (
        world.prover(Cheat(world.bundle, node(world.bundle, "contraction"))),
        world.challenger(),
    )
    world.play(prover, challenger)
    prover.tick()
    challenger.tick()
    said = told(world, "won", "lost")
    dispute, claim = (
        f"0x{each.hex()[:8]}" for each in (world.dispute().dispute_id, world.dispute().claim.claim_id)
    )
    assert said == {
        f"claim {claim} was refuted: its bond of 0.1 ETH is lost",
        f"dispute {dispute} won: 0.13 ETH credited; `tao withdraw` pays it out",
    }
    assert all(world.log().count(each) == 1 for each in said)


def told(world, *actions):
    """What the roles said that they did, of these kinds."""
    lines = map(json.loads, world.log().splitlines())
    return {line["what"] for line in lines if line["action"] in actions}


def test_a_value_changed_while_it_passes_by_loses_without_arithmetic(world):
    world.request()
    rewriter = Rewriter(world.bundle, node(world.bundle, "tanh"))
    done = world.play(world.prover(rewriter), world.challenger())
    assert done[-1].action == "prove" and "do not fit" in done[-1].what
    assert world.dispute().outcome is Outcome.CHALLENGER_WON and world.dispute().lo == rewriter.node


def test_a_committee_rejects_what_a_prover_withholds(world):
    world.request()
    withholder = Withholder(world.bundle, node(world.bundle, "softplus"))
    done = world.play(
        world.prover(withholder),
        world.challenger(),
        *world.members(),
        each_round=lambda: let_pass(world.w3, 20),
    )
    assert actions(done).count("demand") == actions(done).count("answer") == 4
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_a_silent_prover_loses_on_time(world):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
    world.prover(cheat).tick()
    challenger = world.challenger()
    assert actions(challenger.tick()) == ["open"]
    assert challenger.tick() == []
    let_pass(world.w3, 601)
    assert actions(challenger.tick()) == ["timeout"]
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_a_malicious_challenger_of_an_honest_claim_loses_its_bond(world):
    world.request()
    prover = world.prover()
    prover.tick()
    liar = world.challenger()
    liar.judge.suspicious = lambda claim, now: True
    done = world.play(prover, liar, each_round=lambda: let_pass(world.w3, 100))
    assert "timeout" in actions(done) and world.dispute().outcome is Outcome.PROVER_WON
    liar.tick()
    (lost,), (won,) = told(world, "lost"), told(world, "won")
    assert lost.endswith(" lost: its bond of 0.05 ETH is lost")
    assert won.endswith(" won: 0.04 ETH credited; `tao withdraw` pays it out")
    let_pass(world.w3, 601)
    assert actions(prover.tick()) == ["finalise"]


def test_a_challenger_says_once_that_it_leaves_the_claims_of_its_own_account_alone(world):
    world.request()
    world.prover().tick()
    challenger = world.challenger(PROVER)
    challenger.tick()
    challenger.tick()
    (claim,) = world.reader.view().claims
    own = f"claim 0x{claim.claim_id.hex()[:8]} is this account's own, which another one has to check"
    assert (world.folder / "console.txt").read_text().count(own) == 1


def test_two_challengers_win_once_and_the_other_is_refunded(world):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
    first, second = world.challenger(), world.challenger(4)
    world.play(world.prover(cheat), first, second)
    outcomes = {d.challenger: d.outcome for d in first.context.reader.view().disputes}
    assert outcomes == {first.address: Outcome.CHALLENGER_WON, second.address: Outcome.MOOT}
    credit = second.context.contracts.vault.functions.creditOf(second.address).call()
    assert credit == second.context.reader.challenger_bond


def test_a_dispute_or_claim_that_fails_holds_up_no_other(world):
    provers = []
    for index in (PROVER, SECOND_PROVER):
        world.request()
        cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
        provers.append(ProverRole(world.actor(index), world.bundle, cheat))
        provers[-1].tick()
    first, second = provers
    challenger = world.challenger()
    deviation, suspicious = challenger.judge.deviation, challenger.judge.suspicious

    def failing(role, judge):
        def judged(about, *rest):
            if getattr(about, "claim", about).prover == role.address:
                raise StoreError("the store breaks down")
            return judge(about, *rest)

        return judged

    challenger.judge.suspicious = failing(first, suspicious)
    assert actions(challenger.tick()) == ["open"]
    challenger.judge.suspicious = suspicious
    assert actions(challenger.tick()) == ["open"]
    challenger.judge.deviation = failing(first, deviation)
    for _ in range(15):
        for role in (first, second, challenger):
            role.tick()
        mine(world.w3)
    outcomes = {dispute.claim.prover: dispute.outcome for dispute in challenger.view().disputes}
    assert outcomes == {first.address: Outcome.OPEN, second.address: Outcome.CHALLENGER_WON}
    assert "the store breaks down" in world.log()


def test_a_store_that_takes_nothing_costs_the_prover_no_turn(world):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
    prover, challenger = world.prover(cheat), world.challenger()
    prover.tick()
    assert actions(challenger.tick()) == ["open"]
    store = prover.context.store
    put, refused = store.put_tensor, []

    def full(tensor):
        refused.append(tensor)
        raise StoreError("no space left in the store")

    store.put_tensor = full
    assert actions(prover.tick()) == ["reveal"] and len(refused) == 1
    assert challenger.tick() == []  # waits for what is not there
    prover.tick()
    assert world.log().count("no space left in the store; what was revealed is stored later") == 1
    store.put_tensor = put
    prover.tick()
    assert world.play(prover, challenger) and world.dispute().outcome is Outcome.CHALLENGER_WON


def test_roles_restarted_before_every_move_play_on(world):
    """Ending a process at any point loses nothing: every tick here is a new process's first."""
    world.request()
    behaviour = Cheat(world.bundle, node(world.bundle, "mish"))
    for _ in range(40):
        for role in (world.prover(behaviour), world.challenger(), *world.members(2)):
            role.tick()
        mine(world.w3)
        view = world.reader.view()
        if view.disputes and view.disputes[0].phase is Phase.CLOSED:
            break
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_the_log_names_transaction_and_gas_of_every_action(world):
    world.request()
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"))
    done = world.play(world.prover(cheat), world.challenger())
    lines = [json.loads(line) for line in world.log().splitlines()]
    logged = {line["transaction"]: line for line in lines if line.get("transaction")}
    assert {each.sent.transaction for each in done} <= set(logged)
    for transaction, line in logged.items():
        assert world.w3.eth.get_transaction_receipt(transaction)["gasUsed"] == line["gas"] > 0
    assert {line["role"] for line in lines} == {"client", "prover", "challenger"}


def test_a_claim_for_nobody_in_particular_can_be_made_and_not_twice(world):
    prover = world.prover()
    first, second = prover.claim(inputs(1)), prover.claim(inputs(1))
    assert first.details["claim"] != "0x" and second.sent.already


def test_a_run_that_is_not_a_number_is_not_claimed(world):
    request = world.request()
    prover = world.prover(Cheat(world.bundle, node(world.bundle, "softplus"), offset=float("nan")))
    assert prover.tick() == []
    assert f"output 0 of the run of request 0x{request.hex()[:8]} is not a number somewhere" in world.log()
    assert client.read(world.actor(CLIENT), request).claim is None


def test_inputs_on_which_the_model_has_no_result_stop_nobody(world, monkeypatch):
    world.request()
    prover, challenger = world.prover(), world.challenger()

    def fail(*_, **__):
        raise NoResult("index out of range in self")

    monkeypatch.setattr(prover._behaviour, "run", fail)
    assert prover.tick() == [] and "has no result on the inputs of request 0x" in world.log()
    world.prover().tick()
    monkeypatch.setattr("tao.execution.run.Executor.advance", fail)
    assert actions(challenger.tick()) == ["open"]


def stored(world, commitment):
    """The file of a tensor in the store."""
    (path,) = (world.folder / "store").rglob(f"{commitment.hex()}*")
    return path


def disputed(world, prover):
    """The prover's claim, disputed by an account that plays no further."""
    (claim,) = prover.view().claims
    context = world.actor(CHALLENGER)
    bond = context.reader.challenger_bond
    context.send(context.contracts.game.functions.open(claim.claim_id), value=bond)
    return world.dispute()


def test_inputs_withdrawn_after_the_claim_do_not_silence_the_prover(world):
    world.request()
    prover = world.prover()
    prover.tick()
    for commitment in disputed(world, prover).claim.inputs:
        stored(world, commitment).unlink()
    assert actions(prover.tick()) == ["reveal"]


def test_a_corrupt_object_in_the_store_does_not_silence_the_prover(world):
    world.request()
    prover = world.prover()
    prover.tick()
    dispute = disputed(world, prover)
    (output,) = dispute.claim.outputs
    stored(world, output).write_bytes(b"junk")
    graph = world.bundle.graph
    value = graph.outputs[0]
    assert commit(prover._tensor(dispute, output, graph.types[value])) == output
    os.truncate(stored(world, output), 1 << 40)
    assert commit(prover._tensor(dispute, output, graph.types[value])) == output
    with pytest.raises(StoreError, match="longer than"):
        fetch_value(prover.context.store, graph, value, output)


def test_a_prover_on_other_kernels_weighs_sums_of_what_it_committed_to(world):
    world.request()
    prover = world.prover()
    prover.tick()
    dispute = disputed(world, prover)
    states = prover._states

    def on_other_kernels(claim, cuts):
        return {cut: tuple(t + 1e-7 for t in state) for cut, state in states(claim, cuts).items()}

    prover._states = on_other_kernels
    assert tuple(map(commit, prover._before(dispute))) == dispute.claim.inputs
