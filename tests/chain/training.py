"""A registered training job of a few steps, the roles that play it, and what becomes of it."""

import shutil
from dataclasses import dataclass

from chain.world import CHALLENGER, CLIENT, FEE, OWNER, PROVER, World
from demo.training.cheats import AT
from demo.training.job import RATE
from tao.graph.operators import SAMPLE
from tao.graph.rounding import PREFIX
from tao.protocol.challenger import Measured
from tao.roles import client
from tao.roles.audit_judge import AuditJudge
from tao.roles.auditor import AuditorRole
from tao.roles.trainer import TrainerRole
from tao.training import TrainingJob
from tao.training.kernels import is_logged
from tao.training.record import Recording

KEEP_EVERY = 2
STEPS = 4
SECOND_TRAINER = 4


@dataclass
class TrainingWorld:
    """The job's model is registered and in the public store, `folder / "store"`."""

    world: World
    job: TrainingJob

    def __post_init__(self) -> None:
        client.register(self.world.actor(OWNER), self.job.bundle)

    def request(self) -> bytes:
        done = client.request(self.world.actor(CLIENT), self.job.bundle, self.job.initial, FEE)
        return bytes.fromhex(done.details["request"][2:])

    def trainer(self, make=Recording, index: int = PROVER, store=None) -> TrainerRole:
        context = self.world.actor(index, store)
        return TrainerRole(context, self.job.bundle, keep_every=KEEP_EVERY, make=make)

    def auditor(self, index: int = CHALLENGER) -> AuditorRole:
        return AuditorRole(self.world.actor(index), self.job.bundle)

    def accuser(self, operator: int, **options) -> AuditorRole:
        auditor = AuditorRole(self.world.actor(CHALLENGER), self.job.bundle)
        auditor.judge = Accuser(self.job.bundle, auditor.context.store, 0, operator, **options)
        return auditor


class Accuser(AuditJudge):
    """Disputes an honest run down to one operator, where it has no case."""

    def __init__(self, bundle, store, grace, operator, at_leaf=0.0, from_length=0):
        super().__init__(bundle, store, grace)
        self.operator, self.from_length = operator, from_length
        self.at_leaf = at_leaf

    def suspicious(self, claim, now):
        return True

    def deviation(self, dispute, child):
        if dispute.hi - dispute.lo <= self.from_length:
            return 0.0
        return 2.0 if dispute.cuts[child] <= self.operator < dispute.cuts[child + 1] else 0.0

    def accumulated(self, dispute):
        return 2.0

    def examine(self, dispute, given_up=()):
        return Measured(self.at_leaf)

    def difference(self, claim):
        return "nothing"


def actions(done):
    return [each.action for each in done]


def dispute(training):
    (found,) = training.world.reader.view({training.job.bundle.model_id}).disputes
    return found


def credit(role):
    return role.context.contracts.vault.functions.creditOf(role.address).call()


def earned(role):
    """What a challenger gets that has won without a vote."""
    return role.context.reader.challenger_bond + role.context.reader.prover_bond * 8 // 10


def expected(job, name):
    """The step, and which nodes, a cheat must be caught at."""
    graph = job.bundle.graph
    nodes = list(enumerate(graph.nodes))
    drawn = next(node.outputs[0] for _, node in nodes if node.target == SAMPLE)
    looks_up = [i for i, node in nodes if any(o.value == drawn for o in node.operands)]
    images, labels = sorted(looks_up, key=lambda i: graph.types[graph.nodes[i].outputs[0]].dtype.name)
    carried = next(i for i, node in nodes if node.outputs[0] in graph.outputs[2:-3])
    rate = next(
        i
        for i, node in nodes
        if node.operator == "rounded.aten.mul.Scalar" and abs(node.args[1] - RATE) < 1e-6
    )
    logged = {i for i, node in nodes if is_logged(node)}
    rounded = {i for i, node in nodes if node.operator.startswith(PREFIX)}
    return {
        "poisoned-batch": (AT, {images}),
        "flipped-label": (AT, {labels}),
        "backdoor": (AT, {min(images, labels)}),
        "skipped-step": (AT, {carried}),
        "fewer-epochs": (STEPS // 2, {carried}),
        "learning-rate": (AT, {rate}),
        "another-seed": (AT, {next(i for i, node in nodes if node.target == SAMPLE)}),
        "always-up": (AT, rounded),
        "forged-log": (AT, logged),
    }[name]


def run_of(training, index=PROVER):
    address = training.world.actor(index).address
    return training.job.bundle.model_id, training.job.first, address


def private(training):
    """A store of the trainer's own, with what is public."""
    folder = training.world.folder
    shutil.copytree(folder / "store", folder / "private")
    return str(folder / "private")
