"""Convolutions and pooling as node records state them (docs/protocol.md, section 2), written out plainly, and
proofs of one of their elements.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from eth_abi import encode

from support.encoding import Map, Operand, Record, Tensor, Type, merkle_path, merkle_root
from support.proofs import OPERAND, OUTPUT

PLAIN, ALONG_Y, ALONG_X = range(3)
UNUSED_AXIS = (1, 1, 0, 1)
LIVE = 3
"""Values before the node: the input is number 1."""
DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
DRAWS = 120 if DEEP else 12
"""Convolutions or poolings drawn for each kind of numbers."""
GAS = 1_000_000_000
LARGEST_TRANSACTION = 128 * 1024
KINDS = ("normal", "rectified", "wide", "integers", "tiny", "subnormal")
NON_FINITE = tuple(np.array([0x7F800000, 0xFF800000, 0x7FC00000], np.uint32).view(np.float32))


@dataclass(frozen=True)
class Window:
    """Words and maps as in the record; layout: "first" or "last", where committed arrays have channels."""

    attributes: tuple[int, ...]
    a: Map
    b: Map | None
    reduction: int
    layout: str

    def commit(self, logical: np.ndarray) -> np.ndarray:
        """The array as it is committed: [N, C, (Y,) X], or with the channels last."""
        return np.ascontiguousarray(np.moveaxis(logical, 1, -1) if self.layout == "last" else logical)

    def runs(self, output: Sequence[int], element: int) -> list[tuple[int, int, int]]:
        """(position in a, position in b, length) of each run not wholly padding, by trying every lane."""
        words = self.attributes
        o = [int(c) for c in np.unravel_index(element, output)]
        sizes, a_strides, b_strides = words[2:11:3], words[3:11:3], words[4:11:3]
        found = []
        for outer, inner in product(range(sizes[0]), range(sizes[1])):
            places = []
            for lane in range(sizes[2]):
                lanes, coordinates = (outer, inner, lane), []
                for level in range(3):
                    if role := words[11] >> 2 * level & 3:
                        extent, stride, padding, dilation = words[8 + 4 * role : 12 + 4 * role]
                        at = o[role - 3] * stride + lanes[level] * dilation - padding
                        coordinates.append(at if 0 <= at < extent else None)
                    else:
                        coordinates.append(lanes[level])
                if None not in coordinates:
                    a = self.a.offset + o[0] * self.a.strides[0] + o[1] // words[0] * words[1]
                    a += sum(c * s for c, s in zip(coordinates, a_strides, strict=True))
                    b = o[1] * self.b.strides[1] + self.b.offset if self.b else 0
                    b += sum(c * s for c, s in zip(lanes, b_strides, strict=True))
                    places.append((a, b))
            if places:
                assert places[-1][0] - places[0][0] == len(places) - 1, "what remains of a run is contiguous"
                found.append((*places[0], len(places)))
        return found


def convolution(
    x: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    layout: str,
) -> Window:
    """Of an input [N, C, (Y,) X] with a kernel [O, C / groups, (Y,) X]; the other figures are per axis.

    ValueError where runs along a dilated X would be needed: such a kernel must have its channels last.
    """
    _, all_channels, *extents = x
    _, channels, *kernel = weight
    roles = (ALONG_X,) if len(kernel) == 1 else (ALONG_Y, ALONG_X)
    # Elements from one place of an axis to the next, the last axis innermost.
    inner = (all_channels, channels) if layout == "last" else (1, 1)
    along_axes = []
    for axis in reversed(range(len(kernel))):
        along_axes.insert(0, (kernel[axis], *inner, roles[axis]))
        inner = inner[0] * extents[axis], inner[1] * kernel[axis]
    if layout == "last":
        levels = [*along_axes, (channels, 1, 1, PLAIN)]
    else:
        levels = [(channels, *inner, PLAIN), *along_axes]
        if dilation[-1] != 1:
            # Runs of one element; a single channel needs no level.
            levels = [*levels[channels == 1 :], (1, 1, 1, PLAIN)]
    if len(levels) > 3:
        raise ValueError("runs along a dilated axis are not contiguous")
    levels = [(1, 0, 0, PLAIN)] * (3 - len(levels)) + levels
    axes = list(zip(extents, stride, padding, dilation, strict=True))
    words = (
        weight[0] // groups,
        channels * (1 if layout == "last" else int(np.prod(extents))),
        *(word for size, a, b, _ in levels for word in (size, a, b)),
        sum(role << 2 * level for level, (*_, role) in enumerate(levels)),
        *(word for axis in [UNUSED_AXIS] * (2 - len(axes)) + axes for word in axis),
    )
    none = (0,) * len(kernel)
    a = Map((int(np.prod(x[1:])), 0, *none), 1)
    b = Map((0, int(np.prod(weight[1:])), *none), 1)
    return Window(words, a, b, channels * int(np.prod(kernel)), layout)


def pooling(
    x: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    layout: str,
) -> Window:
    """Of an input [N, C, Y, X], each channel by itself: a convolution that has no operand b."""
    window = convolution(x, (x[1], 1, *kernel), stride, padding, dilation, x[1], layout)
    words = list(window.attributes)
    words[4:11:3] = 0, 0, 0
    return replace(window, attributes=tuple(words), b=None)


@dataclass(frozen=True)
class Case:
    """A node of one operator: the input is live, kernel and bias are parameters 0 and 1 of three."""

    operator: str
    window: Window
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, operator: str, window: Window, x: np.ndarray, *parameters: np.ndarray) -> Case:
        """x and the kernel in the order of the call, the bias [O]."""
        kernel = [window.commit(parameter) for parameter in parameters[:1]]
        arrays = (window.commit(x), *kernel, *parameters[1:])
        return cls(operator, window, tuple(Tensor(array) for array in arrays))

    @property
    def weights(self) -> list[bytes]:
        return [tensor.commitment for tensor in self.tensors[1:]] + [b"\1" * 32] * (4 - len(self.tensors))

    def leaf(self, output: Tensor) -> tuple:
        rank = len(output.type.shape)
        maps = [self.window.a, self.window.b, Map((0, 1, *(0,) * (rank - 2)))]
        operands = [
            Operand(i > 0, i - 1 if i else 1, tensor.type, maps[i]) for i, tensor in enumerate(self.tensors)
        ]
        record = Record(
            self.operator,
            bytes(32),
            (Type.of(output.array),),
            tuple(operands),
            self.window.reduction,
            LIVE,
            (0x8000,),
            self.window.attributes,
        )
        state = [b"\2" * 32, self.tensors[0].commitment, b"\3" * 32]
        return record.packed, state, [output.commitment], merkle_root(self.weights), len(self.weights)

    def proof(self, output: Tensor, element: int, window: int | None = None, hint: int = 0) -> bytes:
        """`window`: the window exponent of a convolution's sum; `hint`: that of a pooling, which has no kernel."""
        runs = self.window.runs(output.type.shape, element)
        a = [(*self.tensors[0].open(start, length)[1:], []) for start, _, length in runs]
        _, *opened = output.open(element)
        if window is None:
            return encode([f"(uint256,uint256,{OPERAND}[],{OUTPUT})"], [(element, hint, a, tuple(opened))])
        kernel_path, bias_path = (merkle_path(self.weights, index) for index in (0, 1))
        b = [(*self.tensors[1].open(start, length)[1:], kernel_path) for _, start, length in runs]
        channel = int(np.unravel_index(element, output.type.shape)[1])
        bias = [(*tensor.open(channel)[1:], bias_path) for tensor in self.tensors[2:]]
        values = (element, window, a, b, bias, tuple(opened))
        return encode([f"(uint256,uint256,{OPERAND}[],{OPERAND}[],{OPERAND}[],{OUTPUT})"], [values])


# ---- drawn cases and their verdicts


def numbers(random: np.random.Generator, kind: str, shape: Sequence[int]) -> np.ndarray:
    values = random.normal(0, 1, shape)
    if kind == "rectified":
        values = np.maximum(values, 0)
    elif kind == "wide":
        values *= 2.0 ** random.integers(-60, 60, shape)
    elif kind == "integers":
        values = random.integers(-9, 10, shape)
    elif kind == "tiny":
        values *= 2.0 ** random.integers(-75, -55, shape)
    elif kind == "subnormal":
        values *= 2.0 ** random.choice([-130, -127, 0], shape)
    return values.astype(np.float32)


def below(random: np.random.Generator, limits: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(random.integers(limit)) for limit in limits)


def some_elements(random: np.random.Generator, shape: Sequence[int], count: int) -> set[int]:
    """Corners, where most is padding, and others."""
    corners = [tuple(int(random.integers(2)) * (size - 1) for size in shape) for _ in range(count)]
    corners += [below(random, shape) for _ in range(count)]
    return {int(np.ravel_multi_index(corner, shape)) for corner in corners}


def refutes(adjudicator, wire, case: Case, y: np.ndarray, element: int, window: int | None = None) -> bool:
    """The verdict on an element of a claimed output; window: as for `Case.proof`."""
    output = Tensor(y)
    arguments = case.leaf(output), case.proof(output, element, window)
    return wire.call(adjudicator, "refutes", *arguments, gas=GAS)


def cost(contract, wire, people, arguments: tuple, limit: int) -> None:
    """A refutation in one transaction of no more gas."""
    assert wire.call(contract, "refutes", *arguments, gas=GAS)
    size = len(contract.data("refutes", *arguments)) // 2 - 1
    gas = wire.send(people[0], contract, "refutes", *arguments).gas_used
    assert size < LARGEST_TRANSACTION and gas < limit, (gas, size)
