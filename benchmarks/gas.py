"""Gas of a deployment, of every external function, of one-element proofs by length and by family, of records of long
sums, and of one whole dispute on MiniLM.

Everything runs through the roles against the deployed contracts on a local chain; figures are from receipts.
Of several calls of a function the dearest counts. `proof` is the whole transaction that ends a dispute, with
the checks and the payments of the game; `adjudicator` is one that only asks the adjudicator that question, as are
those of `families`; each of `posts` makes one record of `posted_lanes` lanes.
What a long sum's functions cost grows with the sum: here it is of SUMMED lanes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.families import POSTED, measure_families, measure_posts
from benchmarks.small import Cheat, Rewriter, Withholder, member, tiny_bundle, with_profile
from benchmarks.substitutions import int8_parameters
from benchmarks.sums import disputed
from benchmarks.world import CHALLENGER, CLIENT, EVM, FIRST_MEMBER, OWNER, PROVER, World, world
from tao.chain.local import let_pass
from tao.model import ModelBundle, trace
from tao.numerics.dot import THETA_ONE
from tao.roles import client
from tao.roles.challenger import ChallengerRole
from tao.roles.member import MemberRole
from tao.roles.prover import Honest, ProverRole

LENGTHS = (64, 384, 1024, 4096)
SUMMED = 250_000


def measure_deployment(here: World) -> dict[str, int]:
    """All contracts of a deployment with the local parameters."""
    deployed = here.deployment.contracts.values()
    transactions = {each.transaction for each in deployed}
    return {"transactions": len(transactions), "gas": sum(each.gas_used for each in deployed)}


def measure_proofs(here: World) -> tuple[dict[str, int], dict[str, int]]:
    """The transaction that refutes one element of a one-operator model, by the length of the contraction: of
    the game, and of the adjudicator alone."""
    games, alone = {}, {}
    # The first of all pays for the vault's first totals and credits, and does not count.
    for length in (LENGTHS[0] + 1, *LENGTHS):
        torch.manual_seed(length)
        inputs = (torch.randn(4, length),)
        bundle = with_profile(trace(nn.Linear(length, 64, bias=False), inputs))
        client.register(here.context(OWNER), bundle)
        (*_, last) = here.dispute(bundle, inputs, Cheat(bundle, 0))
        if last.action != "prove":
            raise RuntimeError(f"the dispute of length {length} ended by {last.action}, not by proof")
        if length in LENGTHS:
            _, claim, proof = here.last_proof
            games[f"contraction_{length}"] = last.sent.gas_used
            alone[f"contraction_{length}"] = here.adjudicator_gas(bundle, 0, claim, proof)
    return games, alone


def measure_functions() -> dict[str, int]:
    """Every external function that a role calls, on a model of six operators with a fan-out of 4."""
    bundle = tiny_bundle()
    with world(4) as here:
        client.register(here.context(OWNER), bundle)
        committee = here.context(OWNER).contracts.committee.functions
        members = [member(here.context(FIRST_MEMBER + i)) for i in range(3)]
        for each in members:
            each.join()
        texts = iter(torch.randn(9, 2, 12, generator=torch.Generator().manual_seed(0)))
        honest = ProverRole(here.context(PROVER), bundle)
        client.request(here.context(CLIENT), bundle, (next(texts),), 10**15)
        honest.tick()
        let_pass(here.w3, 601)
        honest.tick()
        client.withdraw(honest.context)
        cancelled = client.request(here.context(CLIENT), bundle, (next(texts),), 10**15)
        owner = here.context(CLIENT)
        owner.send(owner.contracts.claims.functions.cancel(bytes.fromhex(cancelled.details["request"][2:])))
        here.dispute(bundle, (next(texts),), Cheat(bundle, 0))
        here.dispute(bundle, (next(texts),), Rewriter(bundle, 1))
        here.dispute(bundle, (next(texts),), Cheat(bundle, 5), *members)
        here.dispute(bundle, (next(texts),), Withholder(bundle, 0), seconds=40)
        here.dispute(bundle, (next(texts),), Withholder(bundle, 5), *members[:2], seconds=40)
        absent = members[2].context
        missing = members[2].context.reader.stake - committee.stakeOf(absent.address).call()
        absent.send(absent.contracts.committee.functions.topUp(), value=missing)
        _two_challengers(here, bundle, (next(texts),))
        _silence(here, bundle, (next(texts),))
        _accusation(here, members)
        disputed(here, SUMMED)
        leaver = here.context(FIRST_MEMBER)
        leaver.send(committee.requestLeave())
        let_pass(here.w3, 601)
        leaver.send(committee.leave())
        return dict(sorted(here.gas.items()))


def _two_challengers(here: World, bundle: ModelBundle, inputs: tuple[Tensor, ...]) -> None:
    """The second challenger's dispute is closed when the first has won."""
    late = ChallengerRole(here.context(CHALLENGER + 1), bundle)
    here.dispute(bundle, inputs, Cheat(bundle, 0), late)
    late.tick()


def _silence(here: World, bundle: ModelBundle, inputs: tuple[Tensor, ...]) -> None:
    """A prover that claims and falls silent."""
    client.request(here.context(CLIENT), bundle, inputs, 10**15)
    ProverRole(here.context(PROVER), bundle, Cheat(bundle, 0)).tick()
    challenger = ChallengerRole(here.context(CHALLENGER), bundle)
    challenger.tick()
    let_pass(here.w3, 601)
    challenger.tick()


def _accusation(here: World, members: list[MemberRole]) -> None:
    """Of an element inside the proven bound, to the committee's vote."""
    inputs = (torch.randn(2, 1024, generator=torch.Generator().manual_seed(2)),)
    torch.manual_seed(2)
    bundle = with_profile(trace(nn.Linear(1024, 4, bias=False), inputs), theta=THETA_ONE)
    client.register(here.context(OWNER), bundle)
    done = here.dispute(bundle, inputs, Cheat(bundle, 0, offset=1e-4), *members)
    if "accuse" not in [each.action for each in done]:
        raise RuntimeError("nobody was accused")


def measure_minilm() -> dict[str, int]:
    """One dispute of int8 weights in MiniLM, from the opening to the proof."""
    from models.minilm.model import batches, build

    bundle = build()
    cheap = ModelBundle(bundle.graph, int8_parameters(bundle))
    with world(16) as here:
        client.register(here.context(OWNER), bundle)
        done = here.dispute(bundle, batches(1, seed=1)[0], Honest(cheap))
        sent = [each.sent for each in done if each.sent]
        return {"transactions": len(sent), "gas": sum(each.gas_used for each in sent)}


def measure(progress: Callable[[str], None]) -> dict:
    """All of it."""
    with world(8) as here:
        deployment = measure_deployment(here)
        progress("proofs of one element of a contraction")
        proof, adjudicator = measure_proofs(here)
        progress("proofs of one element of other families")
        families = measure_families(here)
        progress("records of long sums")
        posts = measure_posts(here)
    progress("every external function")
    functions = measure_functions()
    progress("one dispute on MiniLM")
    minilm = measure_minilm()
    return {
        "evm": EVM,
        "deployment": deployment,
        "proof": proof,
        "adjudicator": adjudicator,
        "families": families,
        "posts": posts,
        "posted_lanes": POSTED,
        "dispute_minilm": minilm,
        "functions": functions,
    }
