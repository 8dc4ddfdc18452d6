"""What the adversary of `benchmarks.attack` reached, and what cheats met."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.evaluation.cells import Column, Result, count, ratio, share, table, text

COMPARED = ("worst-case", "probabilistic", "empirical", "deployed")
"""The regions whose success is told apart by margins."""


def attack(result: Result) -> list[str]:
    cases = [
        {
            **case,
            "goal": "targeted" if case.get("targeted") else "untargeted",
            "reach": case.get("reach_over_drift", {}).get("max"),
        }
        for case in result.get("cases", [])
    ]
    searched = [
        Column("model", "model", text),
        Column("acceptance region", "region", text),
        Column("inputs", "inputs", text),
        Column("goal", "goal", text),
        Column("samples", "samples", count),
        Column("flipped", "success_rate", share),
        Column("flipped beyond 3x drift", "success_rate_beyond_3x_drift", share),
        Column("reach / drift, largest", "reach"),
        Column("margin consumed, median", "margin_consumed_median"),
        Column("largest excess", "largest_excess", ratio),
        Column("honest rejected", "honest_rejected", share),
    ]
    cheats = [
        Column("model", "model", text),
        Column("cheat", "cheat", text),
        Column("size", "size", text),
        Column("claims", "claims", count),
        Column("detected", "detection_rate", share),
        Column("by", "route", text),
        Column("drift ratio, median", "drift_ratio_median"),
        Column("predictions changed", "predictions_changed", share),
    ]
    return [
        "An adversary replaces every operator's output by any other that the region accepts, all at once, "
        "to change the prediction. Drift is the most by which the margins of honest devices differ on any "
        "sample; reach is how far the adversary moves a margin. Beside it: how often the region rejects "
        "honest operators.",
        "Regions: *worst-case* the proven bound; *probabilistic* its square-root form; *empirical* the "
        "calibrated percentiles (xN: with safety factor N); *without segments* bound and percentiles; "
        "*deployed* these and the segments' thresholds. *Flipped beyond 3x drift* is the share among samples "
        "whose margin exceeds three times the drift; *margin consumed* is reach over the clean margin; "
        "*largest excess* is the deviation of an operator over its limit (1: at the limit).",
        table(searched, cases),
        "What these searches flipped of the samples whose margin is so many drifts, all models and goals together:",
        by_margin(result.get("cases", [])),
        "Of *minilm* the head that names a sentence's work is in the graph, of *minilm-neighbours* the index of "
        "sentences; of *minilm-embeddings* neither is: the client compares embeddings itself. There a segment's "
        "thresholds bound the elements and the length of the embedding's deviation, and one direction of its 384 can "
        "take all of it, while honest noise spreads over all. A service whose prediction matters registers what makes "
        "it, too; then the thresholds are of the margins themselves.",
        "What cheats in use meet: the share of claims that is caught, and how.",
        table(cheats, result.get("cheats", [])),
    ]


def by_margin(cases: Iterable[Mapping[str, Any]]) -> str:
    """Flipped of all samples, by region and by the margin over the honest drift."""
    flipped, samples = Counter[tuple[str, float]](), Counter[tuple[str, float]]()
    for case in cases:
        for part in case["success_by_margin_over_drift"]:
            place = case["region"], part["from"]
            flipped[place] += part["flipped"]
            samples[place] += part["samples"]
    edges = sorted({edge for _, edge in samples})
    tops = [*(f" to {count(edge)}" for edge in edges[1:]), " and more"]
    names = [count(edge) + top for edge, top in zip(edges, tops, strict=False)]
    columns = [Column("acceptance region", "region", text), *(Column(name, name, str) for name in names)]
    rows = [
        {"region": region}
        | {
            name: f"{flipped[region, edge]} of {samples[region, edge]}"
            for edge, name in zip(edges, names, strict=True)
            if samples[region, edge]
        }
        for region in COMPARED
    ]
    return table(columns, rows)
