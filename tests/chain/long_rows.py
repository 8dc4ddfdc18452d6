"""Models that sum long rows, and the disputes about them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.small import node, with_profile
from tao.chain.local import mine
from tao.model import ModelBundle, trace
from tao.protocol.challenger import Measured, Refutable
from tao.protocol.partition import child as child_segment
from tao.protocol.views import Phase
from tao.roles.judge import ReplayJudge


def group_of(lanes: int) -> tuple[Tensor, ...]:
    """Inputs: one group of two channels."""
    return (torch.randn(1, 2, lanes // 2, generator=torch.Generator().manual_seed(1)),)


def calibrated(make: Callable[[], nn.Module], inputs: tuple[Tensor, ...]) -> ModelBundle:
    torch.manual_seed(8)
    return with_profile(trace(make(), inputs))


def until_closed(world, prover, challenger, rounds: int = 60) -> list:
    """Play with roles that are built anew for every tick."""
    done = []
    for _ in range(rounds):
        done += prover().tick() + challenger().tick()
        mine(world.w3)
        disputes = world.reader.view().disputes
        if disputes and disputes[0].phase is Phase.CLOSED:
            return done
    raise AssertionError(f"no end; done: {[each.what for each in done]}; {world.log()}")


class Liar(ReplayJudge):
    """Finds an element of the group norm wrong, whatever it is."""

    def suspicious(self, claim, now):
        return True

    def deviation(self, dispute, child):
        lo, hi = child_segment(dispute.lo, dispute.hi, dispute.fan_out, child)
        return 2.0 if lo <= node(self.bundle, "group_norm") < hi else 0.0

    def examine(self, dispute, given_up=()):
        return Measured(0.0) if Refutable in given_up else Refutable(1)
