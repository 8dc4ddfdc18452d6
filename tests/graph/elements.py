"""What an output element is made of, read from a record by hand as docs/protocol.md, section 2, says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from graph.records import OperandField, Record, parse
from tao.execution import Executor
from tao.graph import Graph, Node
from tao.graph.literals import Slot
from tao.graph.operators import resolve

LOOKUPS = {
    "aten.embedding.default",
    "aten.gather.default",
    "aten.index.Tensor",
    "aten.index_select.default",
}
WINDOWS = {
    "aten.conv1d.default",
    "aten.conv2d.default",
    "aten.convolution.default",
    "aten.max_pool2d.default",
}
REDUCTIONS = {
    "aten.sum.default": torch.sum,
    "aten.sum.dim_IntList": torch.sum,
    "aten.mean.default": torch.mean,
    "aten.mean.dim": torch.mean,
    "aten.amax.default": torch.amax,
    "aten.linalg_vector_norm.default": torch.linalg.vector_norm,
}
ROWS = {
    "aten.softmax.int": lambda row: row.softmax(0),
    "aten.log_softmax.int": lambda row: row.log_softmax(0),
    "aten.layer_norm.default": None,
    "aten.group_norm.default": None,
}


def number(word: int) -> float:
    """The float32 that an attribute word encodes."""
    return struct.unpack(">f", struct.pack(">I", word))[0]


def first(operand: OperandField, position: tuple[int, ...]) -> int:
    """The element at lane 0."""
    assert operand.strides is not None and len(operand.strides) == len(position)
    return operand.offset + sum(o * s for o, s in zip(position, operand.strides, strict=True))


def read(values: Tensor, operand: OperandField, position: tuple[int, ...], lanes: Tensor) -> Tensor:
    """The elements that an output element reads, by the map alone."""
    return values.reshape(-1)[first(operand, position) + lanes * operand.lane_stride]


def element(values: Tensor, operand: OperandField, position: tuple[int, ...]) -> Tensor:
    """The only element that an output element reads."""
    assert operand.lane_stride == 0
    return read(values, operand, position, torch.tensor(0))


def looked_up(record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """The element of the table that the indices name."""
    place = first(record.operands[0], position)
    sides = list(zip(record.attributes[::2], record.attributes[1::2], strict=True))
    assert len(sides) == len(values) - 1
    for (stride, size), index, operand in zip(sides, values[1:], record.operands[1:], strict=True):
        place += int(element(index, operand, position)) % size * stride
    return values[0].reshape(-1)[place]


def joined(record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """cat: the operand that the coordinate along the axis belongs to, counted from its start."""
    axis, *starts = record.attributes
    index = sum(position[axis] >= start for start in starts)
    begin = [0, *starts][index]
    inside = tuple(o - begin * (d == axis) for d, o in enumerate(position))
    return element(values[index], record.operands[index], inside)


def padded(record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """pad: the element, or the number around."""
    value, *sides = record.attributes
    inside = tuple(o - before for o, before in zip(position, sides[::2], strict=True))
    if any(not 0 <= i < size for i, size in zip(inside, sides[1::2], strict=True)):
        return torch.tensor(number(value))
    return element(values[0], record.operands[0], inside)


def upsampled(record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """upsample_nearest2d: the element under the coordinates divided by the factors."""
    inside = tuple(o // factor for o, factor in zip(position, record.attributes, strict=True))
    return element(values[0], record.operands[0], inside)


MOVES = {
    "copy": lambda record, values, position: element(values[0], record.operands[0], position),
    "aten.cat.default": joined,
    "aten.pad.default": padded,
    "aten.upsample_nearest2d.vec": upsampled,
}


def on_row(node: Node, record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """The result for one row of the first operand, which is contiguous and inside a row of its value."""
    shape, n = record.outputs[0][1], record.reduction
    operand, width = record.operands[0], record.operands[0].type[1][-1]
    flat = sum(o * prod(shape[d + 1 :]) for d, o in enumerate(position))
    reduces = node.operator in REDUCTIONS
    lane = 0 if reduces else flat % n
    start = first(operand, position) - lane
    assert operand.lane_stride == 1 and start // width == (start + n - 1) // width
    row = values[0].reshape(-1)[start : start + n]
    if reduces:
        return REDUCTIONS[node.operator](row)
    if (function := ROWS[node.operator]) is not None:
        return function(row)[lane]
    scale = (row.var(correction=0) + number(record.attributes[0])).rsqrt()
    result = (row[lane] - row.mean()) * scale
    for apply, value, field in zip((Tensor.mul, Tensor.add), values[1:], record.operands[1:], strict=False):
        result = apply(result, element(value, field, position))
    return result


def windowed(node: Node, record: Record, values: list[Tensor], position: tuple[int, ...]) -> Tensor:
    """A convolution's sum, or a pooling's maximum, over the lanes inside the input."""
    words = list(record.attributes)
    per_group, group_stride = words[:2]
    levels = [words[2 + 3 * i : 5 + 3 * i] for i in range(3)]
    roles = [words[11] >> 2 * i & 3 for i in range(3)]
    axes = {1: words[12:16], 2: words[16:20]}
    places = {1: position[-2], 2: position[-1]}
    assert levels[2][1] == 1 and prod(size for size, _, _ in levels) == record.reduction
    a = first(record.operands[0], position) + position[1] // per_group * group_stride
    pools = len(record.operands) == 1
    b = 0 if pools else first(record.operands[1], position)
    products, seen = [], []
    for lane in torch.cartesian_prod(*(torch.arange(size) for size, _, _ in levels)).tolist():
        x, y, inside = a, b, True
        for i, (_, a_stride, b_stride), role in zip(lane, levels, roles, strict=True):
            coordinate = i
            if role:
                extent, stride, padding, dilation = axes[role]
                coordinate = places[role] * stride + i * dilation - padding
                inside &= 0 <= coordinate < extent
            x += coordinate * a_stride
            y += i * b_stride
        if inside:
            seen.append(values[0].reshape(-1)[x])
            products.append(seen[-1] if pools else seen[-1] * values[1].reshape(-1)[y])
    if pools:
        return torch.stack(products).amax()
    bias = element(values[2], record.operands[2], position) if len(values) == 3 else 0.0
    return torch.stack(products).sum() + bias


def check_node(
    graph: Graph,
    index: int,
    state: list[Tensor],
    parameters: Sequence[Tensor],
    outputs: tuple[Tensor, ...],
) -> bool:
    """Whether the node has maps; if so, outputs at a few positions must follow from what the maps read."""
    node, record = graph.nodes[index], parse(graph.record(index))
    if any(o.strides is None for o in record.operands):
        return False
    values = [state[o.index] if o.source == 0 else parameters[o.index] for o in record.operands]
    shape = tuple(outputs[0].shape)
    for flat in range(0, outputs[0].numel(), max(1, outputs[0].numel() // 7)):
        position = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), shape)) if shape else ()
        check_element(node, record, values, position, outputs[0][position])
    return True


def check_element(
    node: Node, record: Record, values: list[Tensor], position: tuple[int, ...], output: Tensor
) -> None:
    if node.operator in LOOKUPS:
        assert output == looked_up(record, values, position)
    elif node.operator in MOVES:
        assert output == MOVES[node.operator](record, values, position)
    elif node.operator in WINDOWS:
        torch.testing.assert_close(output, windowed(node, record, values, position), rtol=1e-4, atol=1e-5)
    elif node.operator in ROWS or node.operator in REDUCTIONS:
        torch.testing.assert_close(output, on_row(node, record, values, position), rtol=1e-4, atol=1e-5)
    elif node.operator == "contraction":
        lanes = torch.arange(record.reduction)
        runs = [read(v, o, position, lanes) for v, o in zip(values[:2], record.operands[:2], strict=True)]
        for operand in record.operands[:2]:
            row, start = operand.type[1][-1], first(operand, position)
            assert operand.lane_stride == 1 and start // row == (start + record.reduction - 1) // row
        expected = (runs[0].double() * runs[1].double()).sum()
        if len(values) == 3:
            expected += element(values[2], record.operands[2], position)
        torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    elif "batch_norm" in node.operator:
        x, weight, bias, mean, var = (
            element(v, o, position) for v, o in zip(values, record.operands, strict=True)
        )
        expected = (x - mean) * (var + number(record.attributes[0])).rsqrt() * weight + bias
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    else:
        elements = [element(v, o, position) for v, o in zip(values, record.operands, strict=True)]
        args = [elements[arg.index] if isinstance(arg, Slot) else arg for arg in node.args]
        expected = resolve(node.target)(*args, **node.kwargs)
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)


def check_maps(graph: Graph, parameters: Sequence[Tensor], inputs: Sequence[Tensor]) -> set[str]:
    """Run the graph and check a few output elements of every node that has maps; the operators of those."""
    mapped: set[str] = set()
    states: list[list[Tensor]] = []

    def check(index: int, node: Node, operands: Sequence[Tensor], outputs: tuple[Tensor, ...]) -> tuple:
        if check_node(graph, index, states[-1], parameters, outputs):
            mapped.add(node.operator)
        return outputs

    keep = lambda cut, values: states.append(values)  # noqa: E731
    Executor(graph, parameters).advance(0, inputs, len(graph), override=check, keep=keep)
    return mapped
