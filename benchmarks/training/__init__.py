"""Training recorded on one kernel variant and audited on others: is it equal bit for bit, and what does it cost?

Each device is a process of its own. A recorded step, a plain one in float32 and a plain one in float64
alternate, so that their ratios are of the same minutes, and the same process audits what it recorded. Memory is
the peak resident set of fresh processes.
Beside the replay, with the log and without it, stand two runs without the method on the same devices: ordinary
training in float32, and every node computed in float64 and rounded in whatever order its kernel adds.
Models are written to the results one by one, each with its sources, versions and machine; what was measured of the
same is not measured again unless that is asked for.
The published method (Srivastava, Arora and Boneh, "Optimistic Verifiable Training by Controlling Hardware
Nondeterminism", 2024) is re-implemented on the same graphs; `published_log_bytes_per_step` is its own figure
for the large models and the re-implementation's for others. `published` is with its lowest threshold everywhere,
`published_adapted` with those that it finds for each layer by the results of two devices.
"""

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import environment, read_result, write_result
from tao.numerics import variants

MODELS = ("small_cnn", "small_gpt2", "resnet50", "gpt2")
RECORDED = "native"
AUDITED = ("mkl-compatible", "baseline")
"""Kernel variants that audit: another code path of the vendor's library, and the oldest instruction set."""


_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (
    "benchmarks/training",
    *(f"agents/tao/{part}" for part in ("training", "graph", "execution", "numerics", "tensors")),
)
Progress = Callable[[str], None]


def work(task: str, name: str, variant: str, folder: str, progress: Progress) -> dict[str, Any]:
    """Run one process of the benchmark. Raises RuntimeError, with what it said last, where it fails."""
    command = [sys.executable, "-m", "benchmarks.training.worker", task, name, variant, folder]
    result: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=variants.environment(variant)
        ) as process,
    ):
        for line in process.stdout:
            if line.startswith("{"):
                result = json.loads(line)
            else:
                progress(f"{name} on {variant}: {line.strip()}")
        if process.wait():
            errors.seek(0)
            said = errors.read().strip().splitlines() or ["nothing"]
            raise RuntimeError(f"{task} of {name} on {variant} failed and said last: {said[-1]}")
    return result


def measure_model(name: str, folder: str, progress: Progress) -> dict[str, Any]:
    """Record, audit, and compare one model."""
    from benchmarks.training.subjects import (
        SUBJECTS,  # torch, which a worker loads once its kernels are chosen
    )

    subject = SUBJECTS[name]

    def run(task: str, variant: str = RECORDED) -> dict[str, Any]:
        progress(f"{name} on {variant}: {task}")
        return work(task, name, variant, folder, progress)

    run("save")
    recorded = run("record")
    audits = {variant: run("audit", variant) for variant in AUDITED}
    plain, own = run("memory-plain"), run("memory-recorded")
    published = run("published")
    run("published-there", AUDITED[0])
    adapted = run("published-adapted")
    run("without")  # first of the variant that others are compared with
    without = {variant: run("without", variant) for variant in AUDITED}
    seconds = recorded["seconds"]
    return {
        "steps": subject.steps,
        "nodes": recorded["nodes"],
        "devices": [RECORDED, *AUDITED],
        "replay_equal": all(audit["equal"] for audit in audits.values()),
        "equal_without_log": all(audit["equal_without_log"] for audit in audits.values()),
        **{
            key: value
            for kind in ("plain_fp32", "rounded_fp64")
            for key, value in _without(kind, [found[kind] for found in without.values()]).items()
        },
        "audits": {
            variant: {k: v for k, v in audit.items() if k != "seconds"}
            | {"seconds_per_step": statistics.median(audit["seconds"])}
            for variant, audit in audits.items()
        },
        "log_entries_per_step": statistics.mean(recorded["entries"]),
        "log_bytes_per_step": statistics.mean(recorded["log_bytes"]),
        "published_log_bytes_per_step": subject.published or published["log_bytes"],
        "time_ratio": _ratio(seconds["recorded"], seconds["float32"]),
        "time_ratio_fp64": _ratio(seconds["recorded"], seconds["float64"]),
        "float64_ratio": _ratio(seconds["float64"], seconds["float32"]),
        "rounding_share": _share(seconds["rounding"], seconds["recorded"]),
        "log_share": _share(seconds["log"], seconds["recorded"]),
        "commitment_share": _share(seconds["commit"], seconds["recorded"]),
        "seconds_recorded": statistics.median(seconds["recorded"]),
        "audit_ratio": _ratio(seconds["audited"], seconds["recorded"]),
        "memory_ratio": own["peak_bytes"] / plain["peak_bytes"],
        "published": published,
        "published_adapted": adapted,
        "loss_first_last": [recorded["losses"][0], recorded["losses"][-1]],
    }


def _ratio(over: list[float], under: list[float]) -> float:
    """The median of paired ratios, the first pair left out: it pays for what is set up once."""
    pairs = list(zip(over, under, strict=True))
    return statistics.median(a / b for a, b in pairs[1:] or pairs)


def _share(part: list[float], whole: list[float]) -> float:
    return sum(part) / sum(whole)


def _without(kind: str, differs_at: Sequence[int | None]) -> dict[str, Any]:
    """Of a run without the method: whether no device's differs, and the first step after which one's does."""
    known = [step for step in differs_at if step is not None]
    return {f"equal_{kind}": not known, f"{kind}_differs_at": min(known, default=None)}


def origin() -> dict[str, Any]:
    """What a measurement is of: a digest of the sources, versions of packages, and the machine."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _SOURCES for path in (_ROOT / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes() + b"\0")
    held = environment()
    return {
        "source": digest.hexdigest()[:16],
        "versions": held["versions"],
        "machine": held["machine"],
    }


def summary(models: dict[str, Any]) -> dict[str, Any]:
    """The models measured so far, and the false mismatches of all their audits."""
    audits = [audit for model in models.values() for audit in model["audits"].values()]
    return {
        "models": models,
        "false_mismatches": {
            "steps": sum(audit["steps"] for audit in audits),
            "count": sum(not audit["equal"] for audit in audits),
        },
    }


def measure(progress: Progress, again: bool = False, names: Sequence[str] = MODELS) -> dict[str, Any]:
    """Every model that was not measured as it stands, or all of them `again`. Each is written when it is done, beside
    those of earlier sources, which a run that ends early leaves as they were."""
    held = read_result("training").get("models", {})
    of = origin()
    models = {} if again else {name: held[name] for name in names if held.get(name, {}).get("origin") == of}
    for name in models:
        progress(f"{name}: measured already, by the same sources on this machine")
    for name in names:
        if name not in models:
            with tempfile.TemporaryDirectory() as folder:
                models[name] = measure_model(name, folder, progress) | {"origin": of}
            held[name] = models[name]
            write_result("training", summary(held))
            progress(f"{name}: written")
    return summary({name: models[name] for name in names})
