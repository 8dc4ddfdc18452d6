"""Tiny models: a few operators on small tensors, evaluated with numpy, committed as docs/protocol.md says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from support.encoding import (
    OUTPUT_FLAG,
    Map,
    Operand,
    Record,
    Tensor,
    Type,
    keccak,
    merkle_path,
    merkle_root,
    tolerance_leaf,
)

Arrays = Sequence[np.ndarray]
VOTE_ONLY, EMBEDDING = "aten.mish.default", "aten.embedding.default"
CALIBRATED = "test.calibrated"
SUM = "aten.sum.dim_IntList"
THETAS = {"contraction": 3 << 16, "copy": 1 << 16, VOTE_ONLY: 1 << 16, CALIBRATED: 5 << 15}
"""Thresholds of operators in units of 2^-16; others have none."""
SEGMENTS = keccak(b"tolerances of segments")


@dataclass(frozen=True)
class Read:
    """A node's use of a value: "x" a value, "*w" a parameter; `map` as in the record."""

    value: str
    map: Map | None = None

    @property
    def is_parameter(self) -> bool:
        return self.value.startswith("*")


@dataclass(frozen=True)
class Node:
    operator: str
    output: str
    reads: tuple[Read, ...]
    run: Callable[..., np.ndarray]
    reduction: int = 0
    attributes: tuple[int, ...] = ()


class Network:
    """A straight program over named values, each node with one output; a run repeats it `steps` times.

    Methods count operators through the whole run; `records` and `nodes` are those of one step.
    """

    def __init__(
        self,
        inputs: dict[str, np.ndarray],
        parameters: dict[str, np.ndarray],
        nodes: Sequence[Node],
        outputs: Sequence[str],
        steps: int = 1,
    ):
        self.nodes = tuple(nodes)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.steps = steps
        self.parameter_names = tuple(parameters)
        self.parameters = tuple(Tensor(array) for array in parameters.values())
        self.example = tuple(inputs.values())
        self.records = self._records()
        self.leaves = [record.leaf for record in self.records]
        self.weights = [parameter.commitment for parameter in self.parameters]
        weights_root = merkle_root(self.weights) if self.weights else bytes(32)
        self.tolerances = [
            tolerance_leaf(self.theta(i), self.tolerance_hash(i)) for i in range(len(self.nodes))
        ]
        self.commitment = (
            weights_root,
            merkle_root(self.leaves),
            keccak(merkle_root(self.tolerances) + SEGMENTS),
            len(self.nodes),
            len(self.parameters),
            len(self.inputs),
            len(self.outputs),
            steps,
        )

    @cached_property
    def live(self) -> list[tuple[str, ...]]:
        """Names of the values live at each cut: what later nodes or the outputs still need, older ones
        first.
        """
        cuts = [self.outputs]
        needed = set(self.outputs)
        made = [*self.inputs, *(node.output for node in self.nodes)]
        for index in range(len(self.nodes) - 1, 0, -1):
            node = self.nodes[index]
            needed = (needed - {node.output}) | {read.value for read in node.reads if not read.is_parameter}
            cuts.append(tuple(name for name in made if name in needed))
        return [self.inputs, *reversed(cuts)]

    @property
    def length(self) -> int:
        """Operators of a whole run."""
        return self.steps * len(self.nodes)

    def node(self, index: int) -> int:
        return index % len(self.nodes)

    def record(self, index: int) -> Record:
        return self.records[self.node(index)]

    def path(self, index: int) -> list[bytes]:
        return merkle_path(self.leaves, self.node(index))

    def theta(self, index: int) -> int:
        return THETAS.get(self.nodes[self.node(index)].operator, 0)

    def tolerance_hash(self, index: int) -> bytes:
        return keccak(f"other tolerances of {self.node(index)}".encode())

    def tolerance_path(self, index: int) -> list[bytes]:
        return [*merkle_path(self.tolerances, self.node(index)), SEGMENTS]

    def weight_path(self, index: int) -> list[bytes]:
        return merkle_path(self.weights, index)

    def operands(self, index: int, before: Sequence[Tensor]) -> list[Tensor]:
        """The committed tensors that operator `index` reads."""
        return [
            self.parameters[operand.position] if operand.is_parameter else before[operand.position]
            for operand in self.record(index).operands
        ]

    def step(self, index: int, before: Sequence[Tensor], output: Tensor | None = None) -> list[Tensor]:
        """The state after operator `index`; `output` replaces what it computes."""
        if output is None:
            arrays = [operand.array for operand in self.operands(index, before)]
            output = Tensor(np.ascontiguousarray(self.nodes[self.node(index)].run(*arrays)))
        return [output if source >= OUTPUT_FLAG else before[source] for source in self.record(index).after]

    def run(self, inputs: Arrays) -> list[list[Tensor]]:
        """The states at all cuts."""
        states = [[Tensor(array) for array in inputs]]
        for index in range(self.length):
            states.append(self.step(index, states[-1]))
        return states

    def _records(self) -> tuple[Record, ...]:
        types = dict(zip(self.inputs, map(Type.of, self.example), strict=True))
        arrays = dict(zip(self.inputs, self.example, strict=True))
        records = []
        for index, node in enumerate(self.nodes):
            before, after = self.live[index], self.live[index + 1]
            operands, values = [], []
            for read in node.reads:
                if read.is_parameter:
                    position = self.parameter_names.index(read.value[1:])
                    values.append(self.parameters[position].array)
                else:
                    position = before.index(read.value)
                    values.append(arrays[read.value])
                operands.append(Operand(read.is_parameter, position, Type.of(values[-1]), read.map))
            arrays[node.output] = np.ascontiguousarray(node.run(*values))
            types[node.output] = Type.of(arrays[node.output])
            entries = tuple(OUTPUT_FLAG if name == node.output else before.index(name) for name in after)
            records.append(
                Record(
                    node.operator,
                    keccak(node.operator.encode()),
                    (types[node.output],),
                    tuple(operands),
                    node.reduction,
                    len(before),
                    entries,
                    node.attributes,
                )
            )
        return tuple(records)


# ---- the operators


def linear(
    output: str, x: str, weight: str, rows: int, columns: int, k: int, bias: str | None = None
) -> Node:
    """x[rows, k] @ weight[columns, k].T (+ bias[columns]), summed in float32 from left to right."""
    reads = [Read(x, Map((k, 0), 1)), Read(weight, Map((0, k), 1))]
    if bias is not None:
        reads.append(Read(bias, Map((0, 1), 0)))

    def run(a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
        total = np.zeros((rows, columns), np.float32)
        for lane in range(k):
            total += a[:, lane : lane + 1] * b[:, lane]
        return total if c is None else total + c

    return Node("contraction", output, tuple(reads), run, k)


def elementwise(operator: str, output: str, x: str, shape: tuple[int, ...], run: Callable) -> Node:
    strides = tuple(int(np.prod(shape[d + 1 :], dtype=int)) for d in range(len(shape)))
    return Node(operator, output, (Read(x, Map(strides)),), run)


def relu(output: str, x: str, shape: tuple[int, ...]) -> Node:
    return elementwise("aten.relu.default", output, x, shape, lambda a: np.maximum(a, np.float32(0)))


def negate(output: str, x: str, shape: tuple[int, ...]) -> Node:
    return elementwise("aten.neg.default", output, x, shape, lambda a: -a)


def transpose(output: str, x: str, rows: int, columns: int) -> Node:
    """x[rows, columns] laid out as [columns, rows]."""
    return Node("copy", output, (Read(x, Map((1, columns))),), lambda a: a.T)


def gelu(output: str, x: str) -> Node:
    """An operator that no adjudicator decides: only the committee can."""
    return Node(VOTE_ONLY, output, (Read(x),), lambda a: (a / (1 + np.exp(-1.702 * a))).astype(np.float32))


def doubled(output: str, x: str) -> Node:
    """An operator whose adjudicator measures and refutes nothing (support/solidity/Calibrated.sol)."""
    return Node(CALIBRATED, output, (Read(x),), lambda a: a + a)


def summed(output: str, x: str, lanes: int) -> Node:
    """The sum of each row of x[rows, lanes]."""
    return Node(SUM, output, (Read(x, Map((lanes,), 1)),), lambda a: a.sum(1), lanes)


def embedding(output: str, table: str, indices: str, rows: int, width: int) -> Node:
    """table[rows, width] at the indices."""
    reads = (Read(table, Map((0, 1))), Read(indices, Map((1, 0))))
    return Node(EMBEDDING, output, reads, lambda t, i: t[i], attributes=(width, rows))


# ---- the models of the tests


def seven_operators() -> Network:
    """Contractions, pointwise operators, a copy and a vote; rows of one, two and more chunks;
    pass-throughs.
    """
    random = np.random.default_rng(7)

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    return Network(
        {"x": draw(3, 72)},
        {"w": draw(5, 72), "b": draw(5), "u": draw(4, 5)},
        [
            linear("h", "x", "*w", 3, 5, 72, "*b"),
            relu("r", "h", (3, 5)),
            transpose("t", "x", 3, 72),
            gelu("g", "r"),
            negate("m", "g", (3, 5)),
            linear("q", "m", "*u", 3, 4, 5),
            relu("y", "t", (72, 3)),
        ],
        ["q", "y"],
    )


def four_steps() -> Network:
    """Four steps of three operators; the state is two matrices, and an operator writes one at most."""
    random = np.random.default_rng(4)

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    return Network(
        {"x": draw(4, 4), "s": draw(4, 4)},
        {"w": draw(4, 4)},
        [linear("h", "x", "*w", 4, 4, 4), negate("t", "s", (4, 4)), transpose("y", "h", 4, 4)],
        ["y", "t"],
        steps=4,
    )


def one_contraction(k: int = 8) -> Network:
    random = np.random.default_rng(1)
    x, w = random.standard_normal((2, k), dtype=np.float32), random.standard_normal((3, k), dtype=np.float32)
    return Network({"x": x}, {"w": w}, [linear("y", "x", "*w", 2, 3, k)], ["y"])


def one_sum(rows: int = 2, lanes: int = 150) -> Network:
    """Sums of the rows of x, whose chunks hold 64 lanes each; `i` are integers that another node passes on."""
    x = np.random.default_rng(12).normal(0, 9, (rows, lanes)).astype(np.float32)
    return Network({"x": x, "i": np.arange(4)}, {}, [summed("y", "x", lanes)], ["y", "i"])


def one_vote() -> Network:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    return Network({"x": x}, {}, [gelu("y", "x")], ["y"])


def one_calibrated() -> Network:
    x = np.linspace(1, 2, 6, dtype=np.float32).reshape(2, 3)
    return Network({"x": x}, {}, [doubled("y", "x")], ["y"])
