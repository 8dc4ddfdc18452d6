"""Training recorded on one kernel variant and audited on others: is it equal bit for bit, and what does it cost?

Each device is a process of its own. A recorded step, a plain one in float32 and a plain one in float64
alternate, so that their ratios are of the same minutes; memory is the peak resident set of fresh processes.
The published method (Srivastava, Arora and Boneh, "Optimistic Verifiable Training by Controlling Hardware
Nondeterminism", 2024) is re-implemented on the same graphs; `published_log_bytes_per_step` is its own figure
for the large models and the re-implementation's for others.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from tao.numerics import variants

RECORDED = "native"
AUDITED = ("mkl-compatible", "baseline")
"""Kernel variants that audit: another code path of the vendor's library, and the oldest instruction set."""


def work(task: str, name: str, variant: str, folder: str) -> dict[str, Any]:
    """Run one process of the benchmark. Raises CalledProcessError, with what it said, where it fails."""
    command = [sys.executable, "-m", "benchmarks.training.worker", task, name, variant, folder]
    done = subprocess.run(command, capture_output=True, text=True, env=variants.environment(variant))
    if done.returncode:
        raise RuntimeError(f"{task} of {name} on {variant} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_model(name: str, folder: str, progress: Callable[[str], None]) -> dict[str, Any]:
    """Record, audit, and compare one model."""
    from benchmarks.training.subjects import (
        SUBJECTS,  # torch, which a worker loads once its kernels are chosen
    )

    subject = SUBJECTS[name]
    work("save", name, RECORDED, folder)
    progress(f"{name}: {subject.steps} steps recorded, beside plain ones in float32 and float64")
    recorded = work("record", name, RECORDED, folder)
    audits = {}
    for variant in AUDITED:
        progress(f"{name}: audited on {variant}")
        audits[variant] = work("audit", name, variant, folder)
    progress(f"{name}: memory, and the published method")
    plain, own = (work(f"memory-{kind}", name, RECORDED, folder) for kind in ("plain", "recorded"))
    published = work("published", name, RECORDED, folder)
    seconds = recorded["seconds"]
    return {
        "steps": subject.steps,
        "nodes": recorded["nodes"],
        "devices": [RECORDED, *AUDITED],
        "replay_equal": all(audit["equal"] for audit in audits.values()),
        "equal_without_log": all(audit["equal_without_log"] for audit in audits.values()),
        "audits": {
            variant: {k: v for k, v in audit.items() if k != "seconds"} for variant, audit in audits.items()
        },
        "log_entries_per_step": statistics.mean(recorded["entries"]),
        "log_bytes_per_step": statistics.mean(recorded["log_bytes"]),
        "published_log_bytes_per_step": subject.published or published["log_bytes"],
        "time_ratio": _ratio(seconds["recorded"], seconds["float32"]),
        "time_ratio_fp64": _ratio(seconds["recorded"], seconds["float64"]),
        "float64_ratio": _ratio(seconds["float64"], seconds["float32"]),
        "rounding_share": _share(seconds["rounding"], seconds["recorded"]),
        "commitment_share": _share(seconds["commit"], seconds["recorded"]),
        "seconds_recorded": statistics.median(seconds["recorded"]),
        "audit_ratio": statistics.median(
            statistics.median(audit["seconds"]) / statistics.median(seconds["recorded"])
            for audit in audits.values()
        ),
        "memory_ratio": own["peak_bytes"] / plain["peak_bytes"],
        "published": published,
        "loss_first_last": [recorded["losses"][0], recorded["losses"][-1]],
    }


def _ratio(over: list[float], under: list[float]) -> float:
    """The median of paired ratios, the first pair left out: it pays for what is set up once."""
    pairs = list(zip(over, under, strict=True))
    return statistics.median(a / b for a, b in pairs[1:] or pairs)


def _share(part: list[float], whole: list[float]) -> float:
    return sum(part) / sum(whole)


def measure(progress: Callable[[str], None]) -> dict[str, Any]:
    """Every model, and the false mismatches of all audits."""
    from benchmarks.training.subjects import SUBJECTS

    with tempfile.TemporaryDirectory() as folder:
        models = {name: measure_model(name, folder, progress) for name in SUBJECTS}
    audits = [audit for model in models.values() for audit in model["audits"].values()]
    return {
        "models": models,
        "false_mismatches": {
            "steps": sum(audit["steps"] for audit in audits),
            "count": sum(not audit["equal"] for audit in audits),
        },
    }
