"""Judges a case: re-executes an operator or a segment from the prover's values, and says how to vote.

What is run and read here was made by strangers: members let a process of its own do it (`tao.roles.examiner`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tao.errors import StoreError, TaoError
from tao.graph.states import is_consistent
from tao.model import ModelBundle
from tao.numerics.measure import measure, measure_segment
from tao.numerics.statistics import VoteStatistics
from tao.protocol.views import Vote
from tao.roles.bits import fetch_around
from tao.roles.question import Question, Verdict, accept, reject
from tao.roles.states import fetch_segment
from tao.tensors.store import TensorStore

if TYPE_CHECKING:
    from tao.training.replay import Replay

MOST_MODELS = 3
"""Models that are held at a time; the one that was used longest ago makes room."""


class Examination:
    """Answers questions with this process's kernels.

    device: how they are called in the statistics. bundles: models at hand by id; others are loaded from the store.
    """

    def __init__(
        self, store: TensorStore, device: str = "", bundles: Mapping[bytes, ModelBundle] | None = None
    ) -> None:
        self.store, self.device = store, device
        self._bundles = dict(bundles or {})
        self._replays: dict[bytes, Replay] = {}

    def verdict(self, question: Question) -> Verdict:
        """How to vote. Raises StoreError where the store lacks the model or a value, or has something else in its
        place, and ModelError or whatever else ends a computation that this machine cannot do."""
        bundle, lo, hi = self.bundle(question.model_id), question.lo, question.hi
        before, after = question.before, question.after
        if bundle.steps > 1:
            return self._replayed(bundle, question)
        if bundle.profile is None:
            return reject((), self.device)  # nobody can tell what is tolerable, and everybody knew before
        grid = bundle.profile.grid
        if not is_consistent(bundle.graph, lo, before, hi, after):
            return reject(grid, self.device)
        start, end = fetch_segment(self.store, bundle.graph, lo, before, hi, after)
        if hi - lo > 1:
            found = measure_segment(bundle, lo, start, hi, end)
            figures = [(tensor.elements, tensor.rows) for tensor in found.statistics]
        else:
            found = measure(bundle, lo, start, end)
            figures = [(output.absolute, output.relative) for output in found.statistics]
        if math.isinf(found.exceedance) and not figures:
            return reject(grid, self.device)
        vote = Vote.REJECT if found.exceedance > 1 else Vote.ACCEPT
        return vote, self._statistics(grid, figures, found.exceedance)

    def bundle(self, model_id: bytes) -> ModelBundle:
        """A model, loaded unless it is at hand. Raises StoreError where the store has no such model; what it has
        instead makes no difference."""
        if model_id not in self._bundles:
            while len(self._bundles) >= MOST_MODELS:
                oldest = next(iter(self._bundles))
                del self._bundles[oldest]
                self._replays.pop(oldest, None)
            try:
                self._bundles[model_id] = ModelBundle.load(self.store, model_id)
            except TaoError as error:
                raise StoreError(f"the model 0x{model_id.hex()} cannot be read: {error}") from error
        self._bundles[model_id] = self._bundles.pop(model_id)
        return self._bundles[model_id]

    def _replayed(self, bundle: ModelBundle, question: Question) -> Verdict:
        """Replays of training give the same bits: nothing is measured."""
        from tao.training.examine import follows  # takes a while, and few cases are about training
        from tao.training.replay import Replay

        graph, lo, hi = bundle.graph, question.lo, question.hi
        if not is_consistent(graph, lo, question.before, hi, question.after):
            return reject((), self.device)
        states = fetch_around(self.store, graph, lo, question.before, hi, question.after)
        if bundle.model_id not in self._replays:
            self._replays[bundle.model_id] = Replay(graph, bundle.parameters, refuse_stray=False)
        is_right = follows(self._replays[bundle.model_id], lo, hi, *states)
        return accept(self.device) if is_right else reject((), self.device)

    def _statistics(
        self, grid: tuple[float, ...], figures: Sequence[tuple[Sequence[float], ...]], exceedance: float
    ) -> bytes:
        """The worst figure of any tensor, percentile by percentile; zeros where nothing was compared."""
        nothing = (0.0,) * len(grid)
        first, second = zip((nothing, nothing), *figures, strict=True)
        absolute, relative = (tuple(map(max, zip(*kind, strict=True))) for kind in (first, second))
        return VoteStatistics(grid, absolute, relative, exceedance, self.device).encode()
