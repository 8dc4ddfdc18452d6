"""The moves of the sum game: what is asserted and doubted about the sums over a long row (see ISumGame)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eth_abi import encode
from torch import Tensor

from tao.errors import ChainError, ModelError
from tao.model import ModelBundle
from tao.proofs import Plan
from tao.proofs.leaf import Leaf
from tao.proofs.pieces import cut, estimate, pieces_of, postings, rows_of
from tao.proofs.sums import sums_over
from tao.protocol import partition
from tao.protocol.views import DisputeView, SumRange, Sums, SumStage
from tao.roles.journal import Done
from tao.roles.role import OVER, Role, dispute_facts
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag

_RANGE = "(uint256,uint256,bytes32,uint256,bytes32,uint256)"
MOST_POSTED = 4
"""Transactions in which pieces are posted at most; what takes more is asserted."""


def moves(postings_needed: int, fan_out: int) -> int:
    """The challenger's transactions from an assertion to its settlement, about: the assertion, a split for each time
    that the range is still too long, the last pieces, and what ends the dispute."""
    splits = 0
    while postings_needed > 1:
        postings_needed, splits = -(-postings_needed // fan_out), splits + 1
    return splits + 3


def asserted(role: Role, dispute: DisputeView, plan: Plan, leaf_claim: dict) -> Done:
    """Assert the sums over the plan's row."""
    start = time.monotonic()
    whole, _ = plan.whole
    sources, firsts = [plan.leaf.source(i) for i, _ in whole.runs], [first for _, first in whole.runs]
    sums = _known(plan.leaf, whole.hint, firsts, 0, whole.lanes)
    call = role.context.contracts.sums.functions.assertSum(
        dispute.dispute_id, leaf_claim, sources, firsts, whole.lanes, whole.hint, sums
    )
    sent = role.context.send(call, already=OVER)
    what = f"asserted the sums over {whole.lanes:,} lanes of operator {dispute.node}"
    return role.done("assert", what, start, sent, lanes=whole.lanes, **dispute_facts(dispute))


def is_accepted(dispute: DisputeView, plan: Plan) -> bool:
    """Whether the prover has agreed to the sums that the plan's proof needs."""
    found = dispute.sum
    if plan.whole is None or found is None or found.stage is not SumStage.ACCEPTED:
        return False
    whole, _ = plan.whole
    statement = whole.hint, whole.lanes, [first for _, first in whole.runs]
    return statement == (found.range.hint, found.range.lanes, _firsts(plan.leaf, dispute))


def supported(role: Role, leaf: Leaf, dispute: DisputeView, splits: bool = False) -> Done:
    """Answer a doubt: by the sums over the children, or, of a short range, by its pieces and the settlement.

    splits: reveal the children's sums of short ranges, too, as far as they have any.
    """
    start, contracts, held = time.monotonic(), role.context.contracts, dispute.sum
    hint, (doubted,) = held.range.hint, held.partials
    firsts = _firsts(leaf, dispute)
    lanes = f"lanes {held.lo:,} to {held.hi - 1:,} that operator {dispute.node} sums"
    facts = {"from": held.lo, "to": held.hi, **dispute_facts(dispute)}
    runs = [[(first + held.lo, held.hi - held.lo)] for first in firsts]
    if (splits and held.hi - held.lo > 1) or estimate(leaf, cut(leaf, runs))[0] > 1:
        cuts = partition.cuts(held.lo, held.hi, dispute.fan_out)
        partials = [_known(leaf, hint, firsts, lo, hi) for lo, hi in zip(cuts, cuts[1:], strict=False)]
        call = contracts.sums.functions.split(dispute.dispute_id, held.lo, held.hi, doubted, partials)
        sent = role.context.send(call, already=OVER)
        return role.done("split", f"revealed {len(partials)} sums over the {lanes}", start, sent, **facts)
    adjudicator = contracts.adjudicator_of(leaf.node.operator)
    pieces = pieces_of(leaf, runs, hint)
    flags = adjudicator.functions.areKnown([piece.key for piece in pieces]).call()
    missing = [piece for piece, is_known in zip(pieces, flags, strict=True) if not is_known]
    if missing:
        (posting,) = postings(leaf, missing)
        sent = role.context.send(adjudicator.functions.post(posting.pieces))
        return role.done("post", f"posted the {lanes}", start, sent, gas_estimate=posting.gas, **facts)
    words = (held.range.hint, held.range.lanes, held.range.tensor, held.range.first)
    words += (held.range.other_tensor, held.range.other_first)
    call = contracts.sums.functions.settle(
        dispute.dispute_id, words, doubted, [piece.lanes for piece in pieces]
    )
    sent = role.context.send(call, already=OVER)
    return role.done("settle", f"proved the doubted sums over the {lanes}", start, sent, **facts)


def weighed(role: Role, bundle: ModelBundle, dispute: DisputeView, state: Sequence[Tensor]) -> Done:
    """Accept asserted sums that are right, or doubt the first that is wrong.

    Raises ModelError where all are right after a doubt: their total was, too, and the doubt a mistake.
    """
    start, functions, held = time.monotonic(), role.context.contracts.sums.functions, dispute.sum
    leaf, hint, cuts = Leaf.before(bundle, dispute.node, state), held.range.hint, (held.lo, held.hi)
    firsts = _firsts(leaf, dispute)
    if held.stage is SumStage.DOUBTED:
        cuts = partition.cuts(held.lo, held.hi, dispute.fan_out)
    ranges = list(zip(cuts, cuts[1:], held.partials, strict=False))
    own = (sums_over(leaf, hint, firsts, lo, hi) for lo, hi, _ in ranges)
    wrong = next(
        (i for i, ((*_, sums), true) in enumerate(zip(ranges, own, strict=True)) if sums != true), None
    )
    if wrong is not None:
        lo, hi, _ = ranges[wrong]
        doubted = held.lo, held.hi, list(held.partials), wrong
        call = functions.doubt(dispute.dispute_id, range_key(held.range), *doubted)
        what = f"doubted the sums over lanes {lo:,} to {hi - 1:,} that operator {dispute.node} sums"
        name, facts = "doubt", {"from": lo, "to": hi}
    elif held.stage is SumStage.ASSERTED:
        call = functions.accept(dispute.dispute_id, range_key(held.range), held.partials[0])
        what = f"accepted the sums over {held.range.lanes:,} lanes of operator {dispute.node}"
        name, facts = "accept", {"lanes": held.range.lanes}
    else:
        raise ModelError(f"every sum revealed in dispute 0x{dispute.dispute_id.hex()[:8]} is right")
    sent = role.context.send(call, already=OVER)
    return role.done(name, what, start, sent, **facts, **dispute_facts(dispute))


def range_key(found: SumRange) -> bytes:
    """What names an asserted range in ISumGame."""
    return keccak(encode(["bytes32", _RANGE], [tag("sums"), tuple(vars(found).values())]))


def _firsts(leaf: Leaf, dispute: DisputeView) -> list[int]:
    """Where the asserted range begins in each of the operator's rows: the contract has checked that it is theirs."""
    found = dispute.sum.range
    return [found.first, found.other_first][: rows_of(leaf)]


def _known(leaf: Leaf, hint: int, firsts: Sequence[int], lo: int, hi: int) -> Sums:
    sums = sums_over(leaf, hint, firsts, lo, hi)
    if sums is None:
        raise ChainError(f"{leaf.node.operator} has no sums over lanes {lo:,} to {hi - 1:,}")
    return sums
