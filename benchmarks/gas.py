"""Gas of every external function, of one-element proofs by length, and of one whole dispute on MiniLM.

Everything runs through the roles against the deployed contracts on a local chain; figures are from receipts.
Of several calls of a function the dearest counts. `proof` is the whole transaction that ends a dispute, with
the checks and the payments of the game; `adjudicator` is one that only asks the adjudicator that question.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from torch import Tensor, nn

from demo.small import Cheat, Rewriter, Withholder, tiny_bundle, with_profile
from tao.chain.build import load_build
from tao.chain.deploy import deploy
from tao.chain.local import account, let_pass, local_chain, mine
from tao.chain.parameters import load_parameters
from tao.chain.rpc import connect
from tao.model import ModelBundle, trace
from tao.protocol.views import Phase
from tao.roles import client
from tao.roles.challenger import ChallengerRole
from tao.roles.context import Context
from tao.roles.journal import Journal
from tao.roles.member import MemberRole
from tao.roles.prover import ProverRole

EVM = "prague"
LENGTHS = (64, 384, 1024, 4096)
OWNER, CLIENT, PROVER, CHALLENGER, FIRST_MEMBER = 0, 1, 2, 3, 5
ROUNDS = 60


class World:
    """Contracts on a local chain, and the dearest receipt of each function so far."""

    def __init__(self, url: str, folder: str, parameters: dict):
        self.url, self.folder, self.gas = url, folder, {}
        self.last_proof: tuple = ()
        self.w3, self.build = connect(url), load_build()
        self.deployment = deploy(self.w3, account(OWNER), parameters, self.build, "ethereum-local")

    def context(self, index: int) -> Context:
        """An account whose receipts are noted."""
        journal = Journal(console=Console(quiet=True))
        store = f"{self.folder}/store"
        context = Context.connect(self.w3, self.deployment, account(index), store, journal, self.build)
        names = {contract.address: name for name, contract in self.deployment.contracts.items()}
        send = context.sender.send

        def noted(call, *arguments, **options):
            if call.fn_name == "prove":
                self.last_proof = call.arguments
            sent = send(call, *arguments, **options)
            if not sent.already:
                key = f"{names[call.address]}.{call.fn_name}"
                self.gas[key] = max(self.gas.get(key, 0), sent.gas_used)
            return sent

        context.sender.send = noted
        return context

    def play(self, *roles, until: Callable[[], bool], seconds: int = 0) -> list:
        """Tick the roles in turn until the condition holds; returns what they did."""
        done = []
        for _ in range(ROUNDS):
            for role in roles:
                done += role.tick()
            if until():
                return done
            let_pass(self.w3, seconds) if seconds else mine(self.w3)
        raise RuntimeError(f"no end after {ROUNDS} rounds; done were {[d.what for d in done]}")

    def dispute(
        self, bundle: ModelBundle, inputs: tuple[Tensor, ...], behaviour, *others, seconds: int = 0
    ) -> list:
        """Request, claim and one dispute to its end; returns what was done from the opening on."""
        client.request(self.context(CLIENT), bundle, inputs, 10**15)
        prover = ProverRole(self.context(PROVER), bundle, behaviour)
        challenger = ChallengerRole(self.context(CHALLENGER), bundle)
        reader = challenger.context.reader
        before = len(reader.view().disputes)

        def ended() -> bool:
            disputes = reader.view().disputes
            return len(disputes) > before and all(dispute.phase is Phase.CLOSED for dispute in disputes)

        done = self.play(prover, challenger, *others, until=ended, seconds=seconds)
        return [each for each in done if each.action not in ("claim", "finalise")]

    def adjudicator_gas(self, bundle: ModelBundle) -> int:
        """Gas of a transaction with the last proof that goes straight to the contraction's adjudicator."""
        _, claim, proof = self.last_proof
        leaf = {
            "record": claim["record"],
            "stateBefore": claim["stateBefore"],
            "outputs": claim["outputs"],
            "weightsRoot": bundle.weights_root,
            "parameterCount": len(bundle.parameters),
        }
        name = "ContractionAdjudicator"
        address = self.deployment.contracts[name].address
        call = self.w3.eth.contract(address, abi=self.build[name].abi).functions.refutes(leaf, proof)
        if not call.call():
            raise RuntimeError("the adjudicator does not refute what the game refuted")
        return self.context(OWNER).sender.send(call).gas_used


@contextmanager
def world(fan_out: int) -> Iterator[World]:
    """A fresh chain with the local parameters and the given fan-out."""
    parameters = copy.deepcopy(load_parameters("local"))
    parameters["game"]["fanOut"] = fan_out
    with local_chain() as url, tempfile.TemporaryDirectory() as folder:
        yield World(url, folder, parameters)


def measure_proofs() -> tuple[dict[str, int], dict[str, int]]:
    """The transaction that refutes one element of a one-operator model, by the length of the contraction: of
    the game, and of the adjudicator alone."""
    games, alone = {}, {}
    with world(8) as here:
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
                games[f"contraction_{length}"] = last.sent.gas_used
                alone[f"contraction_{length}"] = here.adjudicator_gas(bundle)
    return games, alone


def measure_functions() -> dict[str, int]:
    """Every external function that changes something, on a model of six operators with a fan-out of 4."""
    bundle = tiny_bundle()
    with world(4) as here:
        client.register(here.context(OWNER), bundle)
        committee = here.context(OWNER).contracts.committee.functions
        members = [MemberRole(here.context(FIRST_MEMBER + i)) for i in range(3)]
        for member in members:
            member.join()
        texts = iter(torch.randn(8, 2, 12, generator=torch.Generator().manual_seed(0)))
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
        here.dispute(bundle, (next(texts),), Withholder(bundle, 5), *members[:2], seconds=40)
        absent = members[2].context
        missing = members[2].context.reader.stake - committee.stakeOf(absent.address).call()
        absent.send(absent.contracts.committee.functions.topUp(), value=missing)
        _two_challengers(here, bundle, (next(texts),))
        _silence(here, bundle, (next(texts),))
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


def measure_minilm() -> dict[str, int]:
    """One dispute of int8 weights in MiniLM, from the opening to the proof."""
    from demo.cheats import Int8Weights
    from models.minilm.model import batches, build

    bundle = build()
    with world(16) as here:
        client.register(here.context(OWNER), bundle)
        done = here.dispute(bundle, batches(1, seed=1)[0], Int8Weights(bundle))
        sent = [each.sent for each in done if each.sent]
        return {"transactions": len(sent), "gas": sum(each.gas_used for each in sent)}


def measure(progress: Callable[[str], None]) -> dict:
    """All of it."""
    progress("proofs of one element of a contraction")
    proof, adjudicator = measure_proofs()
    progress("every external function")
    functions = measure_functions()
    progress("one dispute on MiniLM")
    minilm = measure_minilm()
    return {
        "evm": EVM,
        "proof": proof,
        "adjudicator": adjudicator,
        "dispute_minilm": minilm,
        "functions": functions,
    }
