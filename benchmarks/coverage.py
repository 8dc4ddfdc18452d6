"""How much of real networks has a bound, an acceptance rule, a calibration statistic and an adjudicator.

The networks are built from their published configurations, without weights, and exported whole.
"""

from collections import Counter
from collections.abc import Callable

import torch

from benchmarks.networks import NETWORKS, build
from tao.graph import Graph, Node, export
from tao.numerics.bounds import is_supported
from tao.numerics.statistics import deviation_statistics
from tao.proofs import transactions
from tao.proofs.leaf import Leaf
from tao.proofs.search import EXACT, is_decided


def has_bound(node: Node) -> bool:
    """Whether the worst-case bound of the node's call is known."""
    return is_supported(node.target)


def has_rule(node: Node) -> bool:
    """Whether it is known what an acceptable output is: the same bits, or within a bound."""
    return node.operator in EXACT or has_bound(node)


def has_statistic(graph: Graph, node: Node) -> bool:
    """Whether committee members have a statistic for every output: percentiles of its deviations, or equality
    where it is not a number that rounds."""
    samples = [torch.zeros(2, dtype=graph.types[value].dtype.torch) for value in node.outputs]
    try:
        return all(deviation_statistics(sample, sample).absolute for sample in samples)
    except (TypeError, RuntimeError):
        return False


def transactions_of(graph: Graph, node: Node) -> int | None:
    """In how many transactions a contract decides an element in the middle of the output: it knows the
    operator, the record says what it reads, and that is opened in one or posted piece by piece. None where no
    contract does."""
    if not is_decided(node):
        return None
    if not node.reduction:
        return 1
    *operands, output = (
        torch.empty(graph.types[value].shape, dtype=graph.types[value].dtype.torch, device="meta")
        for value in (*(operand.value for operand in node.operands), node.outputs[0])
    )
    leaf = Leaf(None, node, tuple(operands), (None,) * len(operands), output)
    middle = sum(size // 2 * stride for size, stride in zip(output.shape, output.stride(), strict=True))
    return transactions(leaf, middle)


def shares(graph: Graph) -> dict:
    """Nodes, distinct operators, the share of the nodes that has each of the four, the nodes by the number of
    transactions that decide an element, and those that no contract decides, by operator."""
    count = len(graph)
    needed = [transactions_of(graph, node) for node in graph.nodes]
    undecided = Counter(
        node.operator for node, number in zip(graph.nodes, needed, strict=True) if number is None
    )
    decided = Counter(number for number in needed if number is not None)
    return {
        "nodes": count,
        "operators": len({node.operator for node in graph.nodes}),
        "bound": sum(map(has_bound, graph.nodes)) / count,
        "rule": sum(map(has_rule, graph.nodes)) / count,
        "calibration": sum(has_statistic(graph, node) for node in graph.nodes) / count,
        "adjudicator": decided.total() / count,
        "transactions": {str(number): decided[number] for number in sorted(decided)},
        "undecided": dict(undecided),
    }


def measure(progress: Callable[[str], None]) -> dict:
    """Coverage of every network."""
    models = {}
    for name in NETWORKS:
        progress(f"{name}: exporting")
        network = build(name)
        models[name] = shares(export(network.module, network.args)[0])
        found = models[name]
        progress(
            f"{name}: {found['nodes']} nodes, {found['operators']} operators, bound {found['bound']:.1%}, "
            f"adjudicator {found['adjudicator']:.1%}"
        )
    return {"models": models}
