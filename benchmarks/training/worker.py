"""One process of the training benchmark: `python -m benchmarks.training.worker TASK MODEL VARIANT FOLDER`.

Prints one JSON object. The kernel variant is chosen before torch is loaded.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from tao.numerics import variants

RUNS = "runs"


def record(name: str, folder: Path) -> dict[str, Any]:
    """Record the steps; beside each of them one plain step in float32 and one in float64."""
    from benchmarks.training.plain import Plain
    from benchmarks.training.timing import rounding_timed
    from tao.training.record import Recording

    job = _job(name, folder)
    plain = {"float32": Plain(name, folder, double=False), "float64": Plain(name, folder, double=True)}
    seconds: dict[str, list[float]] = {
        "float32": [],
        "float64": [],
        "recorded": [],
        "rounding": [],
        "commit": [],
    }
    entries, sizes, losses = [], [], []
    with rounding_timed() as rounding:
        recording = Recording(job, _store(folder, name))
        for step in recording:
            for kind, training in plain.items():
                seconds[kind].append(training.step())
            seconds["recorded"].append(step.seconds)
            seconds["commit"].append(step.commit_seconds)
            seconds["rounding"].append(rounding.take())
            entries.append(step.entries)
            sizes.append(step.log_bytes)
            losses.append(step.loss)
    graph = job.step_graph.graph
    return {
        "seconds": seconds,
        "entries": entries,
        "log_bytes": sizes,
        "losses": losses,
        "plain_losses": plain["float32"].losses,
        "nodes": len(graph),
        "root": recording.claim().checkpoint_root.hex(),
    }


def audit(name: str, folder: Path) -> dict[str, Any]:
    """Replay the recorded steps with their logs, and once without."""
    from tao.training.audit import audit

    job = _job(name, folder)
    report = audit(job, _store(folder, name))
    return {
        "equal": report.is_equal,
        "steps": report.steps,
        "difference": str(report.difference) if report.difference else None,
        "corrections": sum(map(len, report.corrections)),
        "seconds": report.seconds,
        "equal_without_log": _equal_without_log(job, folder, name),
    }


def _equal_without_log(job: Any, folder: Path, name: str) -> bool:
    """Whether a replay that rounds to nearest everywhere has the recorded weights after the last step."""
    import torch

    from tao.tensors import commit
    from tao.training.checkpoints import Trail
    from tao.training.log import END
    from tao.training.replay import Replay

    trail = Trail(_store(folder, name), job.bundle.model_id, job.first)
    replay, state = Replay(job.bundle.graph, job.bundle.parameters), job.initial
    empty = torch.tensor([[END], [0]]).repeat(1, job.step_graph.layout.log_capacity)
    for position in range(job.steps):
        state, _ = replay.replay(state, empty, position)
        expected = trail.read(position + 1).values
        if any(commit(tensor) != value for tensor, value in zip(state[:-1], expected[:-1], strict=True)):
            return False
    return True


def published(name: str, folder: Path) -> dict[str, Any]:
    """Two steps by the published method and by ours in turn, on one graph."""
    from tao.training.published import PublishedReplay
    from tao.training.replay import Replay

    job = _job(name, folder)
    graph, parameters = job.bundle.graph, job.bundle.parameters
    ours, theirs = Replay(graph, parameters), PublishedReplay(graph, parameters)
    seconds: dict[str, list[float]] = {"ours": [], "record": [], "replay": []}
    state, equal, size = job.initial, True, 0
    for position in range(2):
        start = time.monotonic()
        outputs, trits = theirs.record_trits(state)
        recorded = time.monotonic()
        again = theirs.replay_trits(state, trits)
        replayed = time.monotonic()
        state, _ = ours.record(state, position)
        for kind, spent in (
            ("record", recorded - start),
            ("replay", replayed - recorded),
            ("ours", time.monotonic() - replayed),
        ):
            seconds[kind].append(spent)
        equal &= all(bool((a == b).all()) for a, b in zip(outputs, again, strict=True))
        size = sum(map(len, trits.values()))
    return {
        "log_bytes": size,
        "record_over_ours": seconds["record"][-1] / seconds["ours"][-1],
        "replay_over_ours": seconds["replay"][-1] / seconds["ours"][-1],
        "replay_equal_here": equal,
    }


def memory(name: str, folder: Path, recorded: bool) -> dict[str, Any]:
    """Peak resident memory of two steps, plain in float32 or recorded."""
    if recorded:
        from tao.training.replay import Replay

        job = _job(name, folder)
        replay, state = Replay(job.bundle.graph, job.bundle.parameters), job.initial
        vars(job)["initial"] = ()
        for position in range(2):
            state, _ = replay.record(state, position)
    else:
        from benchmarks.training.plain import Plain

        plain = Plain(name, folder, double=False)
        plain.step(), plain.step()
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _store(folder: Path, name: str) -> Any:
    from tao.tensors.store import TensorStore

    return TensorStore(folder / RUNS / name)


def _job(name: str, folder: Path) -> Any:
    from benchmarks.training.subjects import SUBJECTS, load
    from tao.training.job import prepare

    subject = SUBJECTS[name]
    module, optimizer, data = load(name, folder)
    return prepare(
        module,
        optimizer,
        data,
        subject.loss,
        steps=subject.steps,
        batch_size=subject.batch_size,
        clip_norm=subject.clip_norm,
        log_capacity=subject.log_capacity,
    )


def main(task: str, name: str, variant: str, folder: str) -> None:
    variants.apply(variant)
    variants.configure_torch(variant)
    start = time.monotonic()
    path = Path(folder)
    if task == "save":
        from benchmarks.training.subjects import save

        result: dict[str, Any] = {}
        save(name, path)
    elif task in ("memory-plain", "memory-recorded"):
        result = memory(name, path, task == "memory-recorded")
    else:
        result = {"record": record, "audit": audit, "published": published}[task](name, path)
    print(json.dumps(result | {"total_seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
