"""What is wrong with a recorded step: its first operator that does not follow, and an element that shows it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from tao.graph.operators import KEEP, SAMPLE
from tao.graph.rounding import Kind, kind
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.proofs import ADJUDICATED, Plan, find_refutable_element, proof_plan
from tao.proofs.leaf import Leaf
from tao.training import proofs
from tao.training.log import LogError
from tao.training.policies import Correction, ReplayError
from tao.training.replay import Replay
from tao.training.search import find_fault

CHECKED = 64
"""Corrections of a step that are checked exactly. Honest devices need a few in a thousand steps."""


class StepReplay:
    """One step replayed with the trainer's log as far as an honest one could have written it.

    blamed: the first node whose log entries or result no honest trainer has, None where there is none. States
    are computed where they are asked for, each from the last one before it, and share the values that live on
    from one to the next: no value is written to once it is computed.
    """

    def __init__(self, replay: Replay, state: Sequence[Tensor], log: Tensor, step: int) -> None:
        """state: before the step. log: as the trainer committed to it."""
        self._replay, self._log, self._step = replay, log, step
        self._held: dict[int, tuple[Tensor, ...]] = {0: tuple(state)}
        self.blamed: int | None = None
        try:
            replay.advance(0, state, len(replay.graph), log=log, step=step)
        except ReplayError as error:
            self.blamed = error.node
        except LogError:
            self.blamed = 0
        self._end = len(replay.graph) if self.blamed is None else self.blamed

    def state(self, cut: int) -> tuple[Tensor, ...] | None:
        """The values live at a cut, None behind an operator that has no result."""
        if cut > self._end:
            return None
        if cut not in self._held:
            start = max(held for held in self._held if held < cut)
            self._held[cut] = self._replay.advance(
                start, self._held[start], cut, log=self._log, step=self._step
            )
        return self._held[cut]


def find_proof(
    replay: Replay, bundle: ModelBundle, node: int, before: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[int, Plan] | None:
    """An element of a node's claimed outputs that its adjudicator refutes, with what decides it; None without one.

    before: the values live before the node, outputs: as claimed, both in the order of the graph.
    """
    operator = bundle.graph.nodes[node].operator
    if operator in ADJUDICATED:
        element = find_refutable_element(bundle, node, before, outputs)
        return None if element is None else (element, proof_plan(bundle, node, before, outputs, element))
    results = tolerance = None
    if kind(operator) is not Kind.EXACT:
        try:
            results, tolerance = replay.results(node, before)
        except (RuntimeError, IndexError, ValueError):
            return None  # no result, nothing to compare with
    elif operator in (SAMPLE, KEEP):
        (results,) = of_outputs(replay.graph, node, replay.advance(node, before, node + 1))
    fault = find_fault(bundle, node, before, outputs, results, tolerance)
    return None if fault is None else (fault.element, fault.plan)


def follows(replay: Replay, lo: int, hi: int, before: Sequence[Tensor], after: Sequence[Tensor]) -> bool:
    """Whether the values live at cut hi follow from those live at cut lo, bit for bit, given the log in them.

    An honest trainer's always do: devices agree on what is not logged, signs of zeros included, and obey its
    entries. Implausible entries are not obeyed.
    """
    held = dict(zip(replay.graph.live(hi), after, strict=True))
    node = replay.log_node
    log = None if node is None else held.get(replay.graph.nodes[node].outputs[0])
    try:
        own = replay.advance(lo, before, hi, log=log, refuse_implausible=False)
    except (ReplayError, LogError):
        return False  # no honest run has such a log, or values on which an operator has no result
    pairs = zip(own, after, strict=True)
    return all(mine is theirs or same_bits(mine, theirs) for mine, theirs in pairs)


def differs(replay: Replay, node: int, before: Sequence[Tensor], outputs: Sequence[Tensor]) -> bool:
    """Whether a node's claimed outputs are others than on every conforming device, provably or not.

    before, outputs: as for `find_proof`.
    """
    graph = replay.graph
    held = dict(zip(graph.live(node), before, strict=True))
    held |= dict(zip(graph.nodes[node].outputs, outputs, strict=True))
    return not follows(replay, node, node + 1, before, [held[value] for value in graph.live(node + 1)])


def same_bits(mine: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors of one type and shape are equal bit for bit, or are NaN where they are not: processors
    make different NaN."""
    if mine.dtype != torch.float32:
        return torch.equal(mine, theirs)
    equal = mine.contiguous().view(torch.int32) == theirs.contiguous().view(torch.int32)
    return bool((equal | (mine.isnan() & theirs.isnan())).all())


def find_implausible(
    replay: Replay,
    bundle: ModelBundle,
    state: Sequence[Tensor],
    log: Tensor,
    step: int,
    corrections: Sequence[Correction],
) -> Correction | None:
    """A correction that no conforming device needs: the exact value and its bound exclude what was logged.

    state: before the step. Looks at the first CHECKED corrections, in exact arithmetic.
    """
    chosen = corrections[:CHECKED]
    states: dict[int, list[Tensor]] = {}
    if chosen:
        end, cuts = max(c.node for c in chosen) + 1, {c.node for c in chosen} | {c.node + 1 for c in chosen}
        replay.advance(0, state, end, keep=states.__setitem__, log=log, step=step, cuts=cuts)
    for correction in chosen:
        outputs = of_outputs(bundle.graph, correction.node, states[correction.node + 1])
        zone = proofs.zone(
            Leaf.of(bundle, correction.node, states[correction.node], outputs), correction.element
        )
        (bits,) = struct.unpack(">I", struct.pack(">f", correction.logged))
        if zone is not None and zone.excludes(bits):
            return correction
    return None
