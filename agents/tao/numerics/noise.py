"""What rounding does to a segment: replays in float64 with random errors of the size that float32 kernels make.

Monte Carlo arithmetic (Parker, "Monte Carlo arithmetic: exploiting randomness in floating-point arithmetic", 1997):
every operator's result is rounded up or down at random, and terms of sums are off before by what the partial sums that
they are part of may be rounded by. Results that are numbers of their type stay: what no kernel rounds is exact.
All of it follows from the segment's start, so that all judges draw the same errors and nobody finds a start for which
they are small but by trying; replays are the CPU's.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property

import numpy as np
import torch
from numba import njit
from torch import Tensor

from tao.errors import NoResult
from tao.execution.replay import restore
from tao.execution.run import Disturbance, Executor, Override
from tao.graph.canonical import Graph, Node
from tao.graph.operators import COPY, POINTWISE, overloads
from tao.graph.windows import CONVOLUTIONS
from tao.numerics.bounds import EXACT
from tao.numerics.jumps import Outcomes, differ, held, jumping
from tao.tensors import commit
from tao.tensors.keccak import keccak

DRAWS = 8
"""Replays with errors, before a segment's end is rejected: the noise of few numbers may be small by chance in one."""
LANES = (1, 4, 16)
"""Sums that kernels carry side by side, by draw: products of matrices go along a row one by one, reductions in vectors.
Powers of two."""
BLOCK = 256
"""Terms of a lane after which kernels begin a new partial sum. A power of two."""
TYPICAL = 1 / math.sqrt(2)
"""Largest error of a rounding, in unit roundoffs, that would make uniform errors as large as roundings' in the mean."""
LARGE = 16
"""Times by which errors are larger in replays that look for ties. They come in pairs of opposite errors: whichever
way a tie that honest kernels break either way has to be pushed, one of nearly every pair does."""
TURNS = 16
"""Such replays: a segment may have hundreds of ties at once, and each of them has to turn in one."""
_MANTISSA = 52
_EXPONENT = np.uint64(0x7FF0000000000000)
_STRIDE = 1 << 36
"""Errors of one value, and so the most elements that none repeats another's in."""
_REDUCTIONS = overloads("sum.dim_IntList mean.dim cumsum")
_PRODUCTS = overloads("addcmul addcdiv lerp.Scalar lerp.Tensor")


class NoisySegment:
    """Replays of the segment [lo, hi) in float64, each the values live at `hi`, contiguous. Operators that jump
    (`tao.numerics.jumps`) choose alike in all of them but those of `turned`."""

    def __init__(
        self, graph: Graph, parameters: Sequence[Tensor], lo: int, start: Sequence[Tensor], hi: int
    ) -> None:
        """start: the values live at `lo`. Raises as `tao.execution.replay` does."""
        self.graph, self.lo, self.hi = graph, lo, hi
        self._parameters, self._state = parameters, restore(graph, lo, start)
        self._executor = Executor(graph, parameters, torch.float64)
        self._jumping = jumping(graph, lo, hi)

    @cached_property
    def computed(self) -> list[int]:
        """Places in these states of the values that are not live at `lo` already."""
        before = set(self.graph.live(self.lo))
        return [place for place, value in enumerate(self.graph.live(self.hi)) if value not in before]

    @cached_property
    def narrowest(self) -> int:
        """The fewest floating-point numbers live at any cut behind `lo`, of those with some: all that follows hangs on
        these."""
        sizes = []
        for cut in range(self.lo + 1, self.hi + 1):
            kinds = (self.graph.types[value] for value in self.graph.live(cut))
            sizes.append(sum(math.prod(kind.shape) for kind in kinds if kind.dtype.torch.is_floating_point))
        return min((size for size in sizes if size), default=0)

    @cached_property
    def exact(self) -> tuple[Tensor, ...]:
        """Without errors. Where that has no result by a choice of its own, with the choices of single precision, or of
        large errors. Raises NoResult where none of these has one."""
        self._choices = Outcomes()
        with suppress(NoResult):
            return self._end(self._kept(self._choices))
        self._choices = Outcomes()
        with suppress(NoResult):
            executor = Executor(self.graph, self._parameters)
            executor.advance(self.lo, self._state, self.hi, self._kept(self._choices))
            return self._end(held(self._choices))
        for choices in self._turns():
            self._choices = choices
            with suppress(NoResult):
                return self._end(held(choices))
        raise NoResult(f"operators {self.lo} to {self.hi - 1} have no result on these values")

    @cached_property
    def flushed(self) -> tuple[tuple[Tensor, ...], ...]:
        """In single precision with subnormal numbers flushed to zero, as kernels may; none where that has no result."""
        _ = self.exact
        executor = Executor(self.graph, self._parameters)
        with suppress(NoResult), _flushing():
            end = executor.advance(self.lo, self._state, self.hi, held(self._choices))
            return (tuple(value.contiguous() for value in end),)
        return ()

    def drawn(self) -> Iterator[tuple[Tensor, ...]]:
        """With errors; at most DRAWS, as those without a result are left out."""
        _ = self.exact
        choices = held(self._choices)
        for draw in range(DRAWS):
            errors = Errors(self.graph, self._seed, draw)
            with suppress(NoResult):
                yield self._end(_both(choices, errors.rounded), errors.disturbed)

    def turned(self) -> Iterator[tuple[Tensor, ...]]:
        """Without errors, but with ties broken as replays with large errors break them, once each other way."""
        _ = self.exact
        known = [self._choices]
        for choices in self._turns():
            if all(differ(others, choices) for others in known):
                known.append(choices)
                with suppress(NoResult):
                    yield self._end(held(choices))

    def _turns(self) -> Iterator[Outcomes]:
        """How large errors let operators choose."""
        for draw in range(TURNS if self._jumping else 0):
            errors = Errors(self.graph, self._seed, DRAWS + draw // 2, LARGE * (-1) ** draw)
            found = Outcomes()
            with suppress(NoResult):
                self._end(_both(self._kept(found), errors.rounded), errors.disturbed, self._jumping[-1] + 1)
                yield found

    @cached_property
    def _seed(self) -> int:
        return int.from_bytes(keccak(b"".join(map(commit, self._state)))[:8])

    def _end(
        self, override: Override, disturb: Disturbance | None = None, stop: int | None = None
    ) -> tuple[Tensor, ...]:
        end = self._executor.advance(
            self.lo, self._state, self.hi if stop is None else stop, override, disturb=disturb
        )
        return tuple(value.contiguous() for value in end)

    def _kept(self, outcomes: Outcomes) -> Override:
        def override(index, node, operands, outputs):
            if index in self._jumping:
                outcomes[index] = tuple(outputs)
            return outputs

        return override


@contextmanager
def _flushing() -> Iterator[None]:
    """One thread, as others do not take the setting over."""
    threads, before = torch.get_num_threads(), not torch.full((1,), 2.0**-140).mul(1.0).any()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
        torch.set_num_threads(threads)


def _both(first: Override, second: Override) -> Override:
    return lambda index, node, operands, outputs: second(
        index, node, operands, first(index, node, operands, outputs)
    )


class Errors:
    """The random errors of one replay, the `draw`th of those with a seed; so many `times` as large as roundings are."""

    def __init__(self, graph: Graph, seed: int, draw: int, times: int = 1) -> None:
        self._graph, self._seed, self._draw, self._times = graph, seed, draw, times

    def rounded(
        self, index: int, node: Node, operands: Sequence[Tensor], outputs: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """What an operator computed, rounded at random to numbers of the type that it has in the graph."""
        if node.target == COPY:
            return outputs
        return [
            round_at_random(y, self._type(value), self._counter(value), self._times)
            if y.is_floating_point()
            else y
            for value, y in zip(node.outputs, outputs, strict=True)
        ]

    def disturbed(self, index: int, node: Node, operands: list[Tensor]) -> list[Tensor]:
        """The operands of an operator that sums, those that are no parameters with errors of its partial sums.

        One that a view repeats stays as it is: copied out, it may fill the memory.
        """
        if not _sums(node):
            return operands
        found, lanes, dim = [], LANES[self._draw % len(LANES)], _dimension(node)
        for place, (operand, x) in enumerate(zip(node.operands, operands, strict=True)):
            is_row = x.is_floating_point() and x.dim() > max(dim, 0) and not _is_repeated(x)
            if is_row and self._graph.parameter_of(operand.value) is None:
                unit = TYPICAL * self._times * torch.finfo(self._type(operand.value)).eps / 2
                x = disturb(x, unit, lanes, self._counter(node.outputs[0], 1 + place % 15), dim)
            found.append(x)
        return found

    def _type(self, value: int) -> torch.dtype:
        return self._graph.types[value].dtype.torch

    def _counter(self, value: int, purpose: int = 0) -> int:
        return (self._seed + (purpose << 60 | (self._draw << 20 | value) * _STRIDE)) % (1 << 64)


def _is_repeated(x: Tensor) -> bool:
    return any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True))


def _sums(node: Node) -> bool:
    """Whether an operator rounds inside, by which it may lose what its result does not show."""
    return node.target in _PRODUCTS or node.target not in POINTWISE | EXACT | {COPY}


def _dimension(node: Node) -> int:
    """Along which the terms of an operator are taken to follow one another, the last one unless it says otherwise."""
    if node.operator in CONVOLUTIONS:
        return 1
    dims = node.args[1] if node.target in _REDUCTIONS and len(node.args) > 1 else -1
    return dims if isinstance(dims, int) else dims[-1] if dims else -1


def round_at_random(values: Tensor, dtype: torch.dtype, counter: int, times: int = 1) -> Tensor:
    """float64 `values` on one of the two neighbours in `dtype`, each as likely as it is near; those that are numbers
    of `dtype`, infinities and NaN stay. counter: element i draws number counter + i of SplitMix64. times: factor of
    what that adds, which ends on a number of `dtype`, too.

    Below the smallest normal number of `dtype` the draw is finer than its grid, to which the result is then rounded.
    """
    spare = _MANTISSA + round(math.log2(torch.finfo(dtype).eps))
    if spare == 0:
        return values
    values = values.contiguous()
    rounded = torch.empty_like(values)
    source, target = (x.view(-1).numpy().view(np.uint64) for x in (values, rounded))
    normal = np.array([torch.finfo(dtype).smallest_normal, torch.finfo(dtype).max]).view(np.uint64)
    is_normal = _round(source, target, spare, normal, counter)
    if times != 1:
        rounded = torch.where(rounded == values, values, values + times * (rounded - values))
    return rounded if is_normal and times == 1 else rounded.copy_(rounded.to(dtype))


def disturb(values: Tensor, unit: float, lanes: int, counter: int, dim: int = -1) -> Tensor:
    """float64 `values` with relative errors as if rows along `dim` were summed in so many `lanes`.

    A partial sum that is rounded by the factor 1 + e has the same error as if each of its terms had been. So a term
    has the error of its own product and of all partial sums that it is part of: those of its lane from it on to the
    end of a block, those of the lane's blocks from its own on, and those of halves of the lanes folded together.
    e: uniform within `unit` either way. counter: as above.
    """
    rows = values.movedim(dim, -1).contiguous()
    found = torch.empty_like(rows)
    if rows.numel():
        source, target = (x.view(-1, x.shape[-1]).numpy() for x in (rows, found))
        _disturb(source, target, unit, lanes, BLOCK, counter)
    return found.movedim(-1, dim)


@njit(inline="always")
def _random(counter: np.uint64, i: int) -> np.uint64:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014."""
    z = (counter + np.uint64(i)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def _either_way(word: np.uint64) -> float:
    """Uniform between -1 and 1, by the lower half of a random word."""
    return np.float64(np.int64(word & np.uint64(0xFFFFFFFF)) - 2**31) * 2.0**-31


@njit("boolean(uint64[::1], uint64[::1], uint64, uint64[::1], uint64)", nogil=True, cache=True)
def _round(source: np.ndarray, target: np.ndarray, spare: int, normal: np.ndarray, counter: int) -> bool:
    """Add a random number to the bits below the grid, which carries into the exponent where it must, and cut off what
    remains. Whether all finite results are zero or within `normal`, the smallest and the largest magnitude."""
    below, sign = (np.uint64(1) << spare) - np.uint64(1), np.uint64(1) << np.uint64(63)
    low, high = normal
    outside = 0
    for i in range(source.size):
        rounded = (source[i] + (_random(counter, i) & below)) & ~below
        is_finite = source[i] & _EXPONENT != _EXPONENT
        size = rounded & ~sign
        outside += is_finite & (size != 0) & ((size < low) | (size > high))
        target[i] = rounded if is_finite else source[i]
    return outside == 0


@njit("void(float64[:, ::1], float64[:, ::1], float64, int64, int64, uint64)", nogil=True, cache=True)
def _disturb(
    source: np.ndarray, target: np.ndarray, unit: float, lanes: int, block: int, counter: int
) -> None:
    rows, terms = source.shape
    of_block, of_term = np.empty(lanes), np.empty(lanes)
    for row in range(rows):
        of_block[:] = 0.0
        first, half = row * (2 * terms + lanes), lanes // 2
        while half:
            for lane in range(lanes):
                of_block[lane] += unit * _either_way(_random(counter, first + 2 * terms + half + lane % half))
            half //= 2
        for term in range(terms - 1, -1, -1):
            lane = term & (lanes - 1)
            # The last term of a lane's block.
            if term + lanes >= terms or term & (lanes * block - 1) >= lanes * (block - 1):
                of_block[lane] += unit * _either_way(_random(counter, first + terms + term))
                of_term[lane] = of_block[lane]
            word = _random(counter, first + term)
            of_term[lane] += unit * _either_way(word)
            error = of_term[lane] + unit * _either_way(word >> np.uint64(32))
            target[row, term] = source[row, term] * (1 + error)  # so that infinities stay
