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
from tao.proofs import ADJUDICATED, MAX_OPENED
from tao.proofs.search import EXACT

FLOAT32 = 4


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


def has_adjudicator(node: Node) -> bool:
    """Whether a contract decides an element: it knows the operator, the record says what it reads, and that
    fits a transaction."""
    rows = 2 if len(node.operands) > 1 and node.maps[1] and node.maps[1].lane_stride else 1
    fits = FLOAT32 * node.reduction * rows <= MAX_OPENED
    return node.operator in ADJUDICATED and None not in node.maps and fits


def shares(graph: Graph) -> dict:
    """Nodes, distinct operators, and the share of the nodes that has each of the four."""
    count = len(graph)
    undecided = Counter(node.operator for node in graph.nodes if not has_adjudicator(node))
    return {
        "nodes": count,
        "operators": len({node.operator for node in graph.nodes}),
        "bound": sum(map(has_bound, graph.nodes)) / count,
        "rule": sum(map(has_rule, graph.nodes)) / count,
        "calibration": sum(has_statistic(graph, node) for node in graph.nodes) / count,
        "adjudicator": sum(map(has_adjudicator, graph.nodes)) / count,
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
