"""What the adversary of `benchmarks.attack` reached, and what cheats met."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.evaluation.cells import Column, Result, count, figure, share, table, text

COMPARED = ("worst-case", "probabilistic", "empirical", "deployed")
"""The regions whose success is told apart by margins."""


def attack(result: Result) -> list[str]:
    cases, cheats = result.get("cases", []), result.get("cheats", [])
    return [
        "An adversary replaces every operator's output by any other that the region accepts, all at once, "
        "to change the prediction. Drift is the most by which the margins of honest devices differ on any "
        "sample.",
        "Regions: *worst-case* the proven bound; *probabilistic* its square-root form; *empirical* the "
        "calibrated percentiles; *deployed* bound, percentiles and the segments' thresholds.",
        "What the searches flipped of the samples whose margin is so many drifts, all models, inputs and goals "
        "together:",
        by_margin(cases),
        "By model; *without segments* is bound and percentiles, *xN* percentiles with the safety factor N. *Flipped "
        "beyond 3x drift* is the share among samples whose margin exceeds three times the drift; *reach* is how far "
        "the adversary moves a margin at most; *honest rejected* how often the region rejects operators of honest "
        "devices that were not calibrated on.",
        by_region(cases),
        "Of *minilm* the head that names a sentence's work is in the graph, of *minilm-neighbours* the index of "
        "sentences; of *minilm-embeddings* neither is: the client compares embeddings itself. There a segment's "
        "thresholds bound the elements and the length of the embedding's deviation, and one direction of its 384 can "
        "take all of it, while honest noise spreads over all. A service whose prediction matters registers what makes "
        "it, too; then the thresholds are of the margins themselves.",
        "What cheats in use meet: the share of claims that is caught, how, and in brackets the median drift ratio of "
        "their outputs, which is about 1 of honest ones.",
        by_cheat(cheats),
    ]


def by_region(cases: Iterable[Mapping[str, Any]]) -> str:
    """A row for each model and region: all inputs and goals together, of reach the largest."""
    columns = [
        Column("model", "model", text),
        Column("acceptance region", "region", text),
        Column("samples", "samples", count),
        Column("flipped", "flipped", share),
        Column("beyond 3x drift", "beyond", count),
        Column("flipped beyond 3x drift", "flipped_beyond", share),
        Column("reach / drift, largest", "reach"),
        Column("honest rejected", "honest_rejected", share),
    ]
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for case in cases:
        grouped.setdefault((case["model"], case["region"]), []).append(case)
    rows = []
    for (model, region), group in grouped.items():
        samples = sum(case["samples"] for case in group)
        beyond = sum(case["samples_beyond_3x_drift"] for case in group)
        row = {"model": model, "region": region, "samples": samples, "beyond": beyond}
        row["flipped"] = sum(case["success_rate"] * case["samples"] for case in group) / samples
        if beyond:
            row["flipped_beyond"] = sum(map(_flipped_beyond, group)) / beyond
        row["reach"] = max(case["reach_over_drift"]["max"] for case in group)
        row["honest_rejected"] = group[0]["honest_rejected"]
        rows.append(row)
    return table(columns, rows)


def _flipped_beyond(case: Mapping[str, Any]) -> float:
    """Samples flipped whose margin exceeds three times the drift; there is no rate where there are none such."""
    samples = case["samples_beyond_3x_drift"]
    return case["success_rate_beyond_3x_drift"] * samples if samples else 0.0


def by_cheat(cheats: Iterable[Mapping[str, Any]]) -> str:
    """A row for each cheat and size, a column for each model."""
    met: dict[str, dict[str, str]] = {}
    models: list[str] = []
    for cheat in cheats:
        name, model = cheat["cheat"].replace("_", " "), cheat["model"]
        if cheat["size"] is not None:
            name += f" {cheat['size']:.2g}"
        if model not in models:
            models.append(model)
        how = [share(cheat["detection_rate"]), *([cheat["route"]] if cheat["route"] else [])]
        met.setdefault(name, {})[model] = f"{', '.join(how)} ({figure(cheat['drift_ratio_median'])})"
    columns = [Column("cheat", "cheat", text), *(Column(model, model, text) for model in models)]
    return table(columns, [{"cheat": name, **row} for name, row in met.items()])


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
