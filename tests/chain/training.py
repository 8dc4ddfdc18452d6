"""A registered training job of a few steps, and the roles that play it."""

from dataclasses import dataclass

from chain.world import CHALLENGER, CLIENT, FEE, OWNER, PROVER, World
from tao.protocol.challenger import Measured
from tao.roles import client
from tao.roles.audit_judge import AuditJudge
from tao.roles.auditor import AuditorRole
from tao.roles.trainer import TrainerRole
from tao.training import TrainingJob
from tao.training.record import Recording

KEEP_EVERY = 2


@dataclass
class TrainingWorld:
    """The job's model is registered and in the public store, `folder / "store"`."""

    world: World
    job: TrainingJob

    def __post_init__(self) -> None:
        client.register(self.world.context(OWNER), self.job.bundle)

    def request(self) -> bytes:
        done = client.request(self.world.context(CLIENT), self.job.bundle, self.job.initial, FEE)
        return bytes.fromhex(done.details["request"][2:])

    def trainer(self, make=Recording, index: int = PROVER, store=None) -> TrainerRole:
        context = self.world.context(index, store)
        return TrainerRole(context, self.job.bundle, keep_every=KEEP_EVERY, make=make)

    def auditor(self, index: int = CHALLENGER) -> AuditorRole:
        return AuditorRole(self.world.context(index), self.job.bundle)

    def accuser(self, operator: int, **options) -> AuditorRole:
        auditor = AuditorRole(self.world.context(CHALLENGER), self.job.bundle)
        auditor.judge = Accuser(self.job.bundle, auditor.context.store, 0, operator, **options)
        return auditor


class Accuser(AuditJudge):
    """Disputes an honest run down to one operator, where it has no case."""

    def __init__(self, bundle, store, grace, operator, at_leaf=0.0, from_length=0):
        super().__init__(bundle, store, grace)
        self.operator, self.from_length = operator, from_length
        self.at_leaf = at_leaf

    def suspicious(self, claim):
        return True

    def deviation(self, dispute, child):
        if dispute.hi - dispute.lo <= self.from_length:
            return 0.0
        return 2.0 if dispute.cuts[child] <= self.operator < dispute.cuts[child + 1] else 0.0

    def accumulated(self, dispute):
        return 2.0

    def examine(self, dispute):
        return Measured(self.at_leaf)

    def difference(self, claim):
        return "nothing"
