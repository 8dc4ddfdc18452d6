"""Gas of a dispute about one sum too long for a transaction: asserted and accepted, asserted and doubted, or posted.

The roles play against the deployed contracts on a local chain, about the mean of a row. `accepted`: the prover agrees
to the challenger's sums and is refuted by them. `doubted`: it doubts them, in the last child of every range, and loses
by one piece. Figures are from receipts, of all transactions between the opening of the dispute and its end; only
`posted`, what the pieces would have taken instead, is the roles' own estimate.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.small import Cheat, with_profile
from benchmarks.world import CHALLENGER, EVM, OWNER, World, world
from tao.chain.local import account
from tao.execution import capture
from tao.model import ModelBundle, trace
from tao.proofs import proof_plan
from tao.protocol import actions
from tao.roles import client
from tao.roles.defender import Defender
from tao.roles.journal import Done
from tao.roles.prover import ProverRole
from tao.roles.sums import range_key

LANES = (250_000, 1_000_000, 1 << 21)
FAN_OUT = 16
SECONDS = 2
"""That pass between moves: a clock that stands still costs less to write."""


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1)


class Doubting(Defender):
    """Doubts true sums, the last child of every range."""

    def perform(self, action: actions.Action):
        if not isinstance(action, actions.Weigh):
            return super().perform(action)
        held, functions = action.dispute.sum, self.context.contracts.sums.functions
        key, last = range_key(held.range), len(held.partials) - 1
        doubted = held.lo, held.hi, list(held.partials), last
        call = functions.doubt(action.dispute.dispute_id, key, *doubted)
        return self.done("doubt", "doubted true sums", 0, self.context.send(call))


class Doubter(Doubting, ProverRole):
    """As a prover."""


def measure_lanes(here: World, lanes: int) -> dict[str, dict]:
    """One dispute by each way about a mean of so many numbers, the second of two."""
    bundle, x, found = disputed(here, lanes)
    (before, outputs) = capture(bundle.graph, bundle.parameters, x, [0, 1]).values()
    transactions, gas = proof_plan(bundle, 0, before, outputs, 1).estimate()
    return found | {"posted": {"transactions": transactions, "gas_estimate": gas}}


def disputed(here: World, lanes: int) -> tuple[ModelBundle, tuple[Tensor, ...], dict[str, dict]]:
    """A mean of so many numbers, its operands, and two disputes about it by the sums of its parts."""
    x = (torch.randn(2, lanes, generator=torch.Generator().manual_seed(lanes)),)
    bundle = with_profile(trace(Mean(), x))
    client.register(here.context(OWNER), bundle)
    ways = {"accepted": ProverRole, "doubted": Doubter}
    cheat = Cheat(bundle, 0, offset=2.0)
    return (
        bundle,
        x,
        {
            way: _figures(here.dispute(bundle, x, cheat, prover=prover, seconds=SECONDS))
            for way, prover in ways.items()
        },
    )


def _figures(done: Sequence[Done]) -> dict:
    """Of a dispute, by what was done in it."""
    moves = [each for each in done if each.sent]
    challenger = account(CHALLENGER).address
    mine = [each.sent.gas_used for each in moves if each.account == challenger]
    return {
        "moves": [each.action for each in moves],
        "gas": sum(each.sent.gas_used for each in moves),
        "gas_challenger": sum(mine),
        "gas_largest": max(each.sent.gas_used for each in moves),
    }


def measure(progress: Callable[[str], None]) -> dict:
    """All of it, by the number of lanes."""
    found = {}
    with world(FAN_OUT) as here:
        for lanes in LANES:
            progress(f"a mean of {lanes:,} numbers")
            found[str(lanes)] = measure_lanes(here, lanes)
    return {"evm": EVM, "fan_out": FAN_OUT, "lanes": found}
