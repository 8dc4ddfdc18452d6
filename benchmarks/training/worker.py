"""One process of the training benchmark: `python -m benchmarks.training.worker TASK MODEL VARIANT FOLDER`.

Prints what it does, and as the last line one JSON object. The kernel variant is chosen before torch is loaded.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tao.numerics import variants

RUNS = "runs"
SPOKEN_OF = 8
"""Steps of a long run."""


def record(name: str, folder: Path) -> dict[str, Any]:
    """Record the steps, beside each of them one plain step in float32 and one in float64; then audit them."""
    from benchmarks.training.plain import Plain
    from benchmarks.training.timing import log_timed, rounding_timed
    from tao.training.audit import audit
    from tao.training.record import Recording

    job = _job(name, folder)
    plain = {"float32": Plain(name, folder, double=False), "float64": Plain(name, folder, double=True)}
    kinds = ("float32", "float64", "recorded", "rounding", "log", "commit")
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    say_some = sparsely(job.steps)
    entries, sizes, losses = [], [], []
    with rounding_timed() as rounding, log_timed() as log:
        recording = Recording(job, _store(folder, name))
        log.take()  # what stored the model
        for step in recording:
            for kind, training in plain.items():
                seconds[kind].append(training.step())
            seconds["recorded"].append(step.seconds)
            seconds["commit"].append(step.commit_seconds)
            seconds["rounding"].append(rounding.take())
            seconds["log"].append(log.take())
            entries.append(step.entries)
            sizes.append(step.log_bytes)
            losses.append(step.loss)
            say_some(f"step {step.index} recorded in {step.seconds:.2f} s")
    root, plain_losses = recording.claim().checkpoint_root.hex(), plain["float32"].losses
    del recording, plain, training  # there is no room for all models at once
    seconds["audited"] = audit(job, _store(folder, name), progress=sparsely(job.steps)).seconds
    graph = job.step_graph.graph
    return {
        "seconds": seconds,
        "entries": entries,
        "log_bytes": sizes,
        "losses": losses,
        "plain_losses": plain_losses,
        "nodes": len(graph),
        "root": root,
    }


def audit(name: str, folder: Path) -> dict[str, Any]:
    """Replay the recorded steps with their logs, and once without."""
    from tao.training.audit import audit

    job = _job(name, folder)
    report = audit(job, _store(folder, name), progress=sparsely(job.steps))
    say("again, without the log")
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

    from tao.graph import log_format
    from tao.tensors import commit
    from tao.training.checkpoints import Trail
    from tao.training.replay import Replay

    trail = Trail(_store(folder, name), job.bundle.model_id, job.first)
    replay, state = Replay(job.bundle.graph, job.bundle.parameters), job.initial
    empty = log_format.empty(job.log_capacity)
    for position in range(job.steps):
        state, _ = replay.replay(state, empty, position)
        expected = trail.read(position + 1).values
        if any(commit(tensor) != value for tensor, value in zip(state[:-1], expected[:-1], strict=True)):
            return False
    return True


def without(name: str, folder: Path) -> dict[str, Any]:
    """Run the steps without the method, as ordinary training in float32 and with every node's float64 result
    rounded as it comes. The first call in a folder writes down what it computes; later ones say after how
    many steps they first differ from that, None where they do not."""
    return {
        kind: _first_difference(run(name, folder), folder / f"{name}.{kind}.json")
        for kind, run in (("plain_fp32", _plain_digests), ("rounded_fp64", _rounded_digests))
    }


def _first_difference(digests: Iterator[str], path: Path) -> int | None:
    if not path.exists():
        path.write_text(json.dumps(list(digests)))
        return None
    expected = json.loads(path.read_text())
    return next((i for i, (a, b) in enumerate(zip(expected, digests, strict=True), 1) if a != b), None)


def _plain_digests(name: str, folder: Path) -> Iterator[str]:
    from benchmarks.training.plain import Plain
    from benchmarks.training.subjects import SUBJECTS

    plain, steps = Plain(name, folder, double=False, dropout=False), SUBJECTS[name].steps
    say_some = sparsely(steps)
    for step in range(steps):
        plain.step()
        say_some(f"step {step} in float32")
        yield plain.digest()


def _rounded_digests(name: str, folder: Path) -> Iterator[str]:
    from tao.tensors import commit, state_hash
    from tao.training import sums
    from tao.training.replay import Replay
    from tao.training.rounding import round_to_grid

    job = _job(name, folder)
    replay, state = Replay(job.bundle.graph, job.bundle.parameters), job.initial
    say_some = sparsely(job.steps)
    correctly = sums.settle
    sums.settle = lambda piece, bits, out: round_to_grid(piece.f, None, bits, out).finite
    try:
        for position in range(job.steps):
            state, _ = replay.record(state, position)
            say_some(f"step {position} in float64, rounded as it comes")
            yield state_hash([commit(tensor) for tensor in state[:-1]]).hex()
    finally:
        sums.settle = correctly


def published(name: str, folder: Path) -> dict[str, Any]:
    """Two steps by the published method with its lowest threshold and by ours in turn, on one graph; writes down the
    first step's log for `published_there`."""
    from benchmarks.training.published import PublishedReplay

    job = _job(name, folder)
    theirs = PublishedReplay(job.bundle.graph, job.bundle.parameters)
    _, trits = theirs.record_trits(job.initial)
    path = _trits_folder(name, folder)
    path.mkdir()
    for index, data in trits.items():
        (path / str(index)).write_bytes(data)
    return _compared(job, theirs)


def published_there(name: str, folder: Path) -> dict[str, Any]:
    """The first step's float64 results on this device, which follows that log, for `published_adapted`."""
    from benchmarks.training.published import PublishedReplay, Results

    job = _job(name, folder)
    theirs = PublishedReplay(job.bundle.graph, job.bundle.parameters)
    theirs.keep_results(job.initial, _read_trits(name, folder), Results(folder / f"{name}.there"))
    return {}


def published_adapted(name: str, folder: Path) -> dict[str, Any]:
    """As `published`, with each node's threshold found by the first step's results on two devices."""
    from benchmarks.training.published import PublishedReplay, Results

    job = _job(name, folder)
    theirs = PublishedReplay(job.bundle.graph, job.bundle.parameters)
    here = Results(folder / f"{name}.here")
    theirs.keep_results(job.initial, _read_trits(name, folder), here)
    theirs.adapt(here, Results(folder / f"{name}.there"))
    return _compared(job, theirs)


def _trits_folder(name: str, folder: Path) -> Path:
    return folder / f"{name}.trits"


def _read_trits(name: str, folder: Path) -> dict[int, bytes]:
    return {int(path.name): path.read_bytes() for path in _trits_folder(name, folder).iterdir()}


def _compared(job: Any, theirs: Any) -> dict[str, Any]:
    """Two steps by the published method and by ours in turn; what is said of times is of the second."""
    import zstandard

    from benchmarks.training.published import entries
    from tao.training.replay import Replay

    ours = Replay(job.bundle.graph, job.bundle.parameters)
    seconds: dict[str, list[float]] = {"ours": [], "record": [], "replay": []}
    state, equal = job.initial, True
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
    return {
        "log_bytes": sum(map(len, trits.values())),
        "compressed_bytes": len(zstandard.compress(b"".join(trits.values()))),
        "entries": entries(trits),
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


def say(line: str) -> None:
    """Tell the process that waits for this one."""
    print(line, flush=True)


def sparsely(steps: int) -> Callable[[str], None]:
    """Tell it about some of that many steps, one line of each."""
    lines = iter(range(steps))
    return lambda line: say(line) if next(lines) % max(1, steps // SPOKEN_OF) == 0 else None


def save(name: str, folder: Path) -> dict[str, Any]:
    """Draw weights and data."""
    from benchmarks.training.subjects import save

    save(name, folder)
    return {}


TASKS: dict[str, Callable[[str, Path], dict[str, Any]]] = {
    "save": save,
    "record": record,
    "audit": audit,
    "without": without,
    "published": published,
    "published-there": published_there,
    "published-adapted": published_adapted,
    "memory-plain": lambda name, folder: memory(name, folder, recorded=False),
    "memory-recorded": lambda name, folder: memory(name, folder, recorded=True),
}


def main(task: str, name: str, variant: str, folder: str) -> None:
    variants.apply(variant)
    variants.configure_torch(variant)
    start = time.monotonic()
    result = TASKS[task](name, Path(folder))
    print(json.dumps(result | {"total_seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
