"""The published method of replicating training on other hardware, to compare ours with.

"Optimistic Verifiable Training by Controlling Hardware Nondeterminism" (Srivastava, Arora, Boneh, NeurIPS
2024): every result has an entry, a trit, that says whether the trainer rounded a value near a midpoint up or
down. Near is what a threshold says, one for each layer, found by trying two devices. An auditor obeys every
entry.

Nothing bounds how far two devices may differ, so that a replay may fail; that the threshold holds is
measured, not proven. Here the exponent is binary; the results that are logged are those of our sums and logged
nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tao.graph import log_format
from tao.training import kernels
from tao.training.kernels import Piece
from tao.training.log import LogError
from tao.training.replay import Replay
from tao.training.rounding import nearest

DOWN, NONE, UP = 0, 1, 2
TRITS = 5
"""To a byte: 3^5 = 243."""
SPACING = 2.0**-23
"""Of float32 numbers between 1 and 2. Nothing is further from its rounded value than half of it."""
LOWEST, HIGHEST = SPACING / 4, SPACING / 2
_POWERS = np.array([81, 27, 9, 3, 1], np.uint8)
_SEARCH_STEPS = 20


def pack(trits: np.ndarray) -> bytes:
    """uint8[n] of 0, 1, 2, five to a byte."""
    padded = np.full(-(-trits.size // TRITS) * TRITS, NONE, np.uint8)
    padded[: trits.size] = trits
    return (padded.reshape(-1, TRITS) * _POWERS).sum(1, dtype=np.uint8).tobytes()


def unpack(data: bytes, count: int) -> np.ndarray:
    """The inverse of `pack`. Raises LogError where the bytes are not those of `count` trits."""
    packed = np.frombuffer(data, np.uint8)
    if packed.size != -(-count // TRITS) or (packed >= 3**TRITS).any():
        raise LogError(f"{packed.size} bytes are not {count} trits")
    return (packed[:, None] // _POWERS % 3).reshape(-1)[:count]


def entries(log: Mapping[int, bytes]) -> int:
    """Results that a log says anything of."""
    return sum(int((unpack(data, TRITS * len(data)) != NONE).sum()) for data in log.values())


def directions(f: Tensor, rounded: Tensor, threshold: float) -> Tensor:
    """uint8 of f's shape: where f is further than the threshold from its rounded value, relative to its
    binary exponent, whether it was rounded up or down."""
    error = rounded.double() - f
    scale = torch.ldexp(torch.ones_like(f), torch.frexp(f).exponent - 1)
    way = torch.where(error > 0, UP, DOWN)
    return torch.where(error.abs() > scale * threshold, way, NONE).to(torch.uint8)


def obey(f: Tensor, trits: Tensor) -> Tensor:
    """float32: f rounded as the trits say."""
    own = nearest(f)
    away = own.double() - f
    up = (trits == UP) & (away < 0)
    down = (trits == DOWN) & (away > 0)
    target = torch.where(up, torch.inf, -torch.inf).float()
    return torch.where(up | down, torch.nextafter(own, target), own)


def threshold(a: Tensor, b: Tensor) -> float:
    """The largest threshold with which the log of either of two devices makes the other round alike, by
    binary search. a, b: one layer's results on both, float64.

    Gives `LOWEST`, which may not do, where no threshold does.
    """
    # Two results on one side of their nearest number are rounded alike, whatever the threshold.
    x, y = nearest(a), nearest(b)
    may_part = (x != y) | ((x.double() - a) * (y.double() - b) < 0)
    a, b = a[may_part], b[may_part]
    low, high = LOWEST, HIGHEST
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _agree(a, b, middle) else (low, middle)
    return low


def _agree(a: Tensor, b: Tensor, at: float) -> bool:
    pairs = ((a, b), (b, a))
    return all(torch.equal(obey(y, directions(x, nearest(x), at)), nearest(x)) for x, y in pairs)


class _Recorder:
    def __init__(self, replay: PublishedReplay) -> None:
        self._replay = replay
        self.trits: dict[int, np.ndarray] = {}

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        rounded = nearest(piece.f)
        out.view(-1).copy_(rounded.view(-1))
        trits = directions(piece.f, rounded, self._replay.threshold_of(index)).flatten().cpu().numpy()
        held = self.trits.setdefault(index, np.full(self._replay.count(index), NONE, np.uint8))
        held[_elements(piece)] = trits
        return bool(rounded.isfinite().all())


class _Follower:
    def __init__(self, replay: PublishedReplay, log: Mapping[int, bytes]) -> None:
        self._trits = {index: unpack(data, replay.count(index)) for index, data in log.items()}

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        trits = torch.from_numpy(self._trits[index][_elements(piece)]).to(out.device)
        rounded = obey(piece.f, trits.view(piece.f.shape))
        out.view(-1).copy_(rounded.view(-1))
        return bool(rounded.isfinite().all())


class Results(Mapping[int, Tensor]):
    """Float64 results by node, in a folder: those of a large model are larger than its memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def add(self, index: int, part: Tensor) -> None:
        """Append to what is held of a node."""
        with self._path(index).open("ab") as file:
            part.contiguous().numpy().tofile(file)

    def __getitem__(self, index: int) -> Tensor:
        if not self._path(index).exists():
            raise KeyError(index)
        return torch.from_numpy(np.fromfile(self._path(index), np.float64))

    def __iter__(self) -> Iterator[int]:
        return (int(path.name) for path in self._folder.iterdir())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, index: int) -> Path:
        return self._folder / str(index)


class _Collector(_Follower):
    """Follows a log, and keeps the results before they are rounded."""

    def __init__(self, replay: PublishedReplay, log: Mapping[int, bytes], results: Results) -> None:
        super().__init__(replay, log)
        self._results = results

    def settle(self, index: int, piece: Piece, out: Tensor) -> bool:
        self._results.add(index, piece.f)
        return super().settle(index, piece, out)


class PublishedReplay(Replay):
    """The same executor with the published method's rounding."""

    thresholds: dict[int, float]
    """By node; `LOWEST` elsewhere."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.thresholds = {}

    def threshold_of(self, index: int) -> float:
        return self.thresholds.get(index, LOWEST)

    def count(self, index: int) -> int:
        """Elements of a node's output."""
        return self.graph.types[self.graph.nodes[index].outputs[0]].numel

    def record_trits(self, inputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[int, bytes]]:
        """The step's outputs, and its log by node."""
        recorder = _Recorder(self)
        outputs = self.run_with(recorder, inputs, self._no_log())
        return outputs, {index: pack(trits) for index, trits in recorder.trits.items()}

    def replay_trits(self, inputs: Sequence[Tensor], log: Mapping[int, bytes]) -> tuple[Tensor, ...]:
        """The step's outputs, rounded as a log says. Raises LogError for a log of another graph."""
        self._require_own(log)
        return self.run_with(_Follower(self, log), inputs, self._no_log())

    def keep_results(self, inputs: Sequence[Tensor], log: Mapping[int, bytes], results: Results) -> None:
        """Put the float64 results of every sum and logged node of a replay into `results`, for `adapt`: devices that
        follow one log compute from the same values. Raises LogError for a log of another graph."""
        self._require_own(log)
        self.run_with(_Collector(self, log, results), inputs, self._no_log())

    def _require_own(self, log: Mapping[int, bytes]) -> None:
        logged = [index for index, node in enumerate(self.graph.nodes) if kernels.comes_in_pieces(node)]
        if sorted(log) != logged:
            raise LogError(f"a log of {len(log)} nodes is not one of the graph's {len(logged)}")

    def adapt(self, here: Mapping[int, Tensor], there: Mapping[int, Tensor]) -> None:
        """Set every node's threshold by the results of two devices."""
        self.thresholds = {index: threshold(here[index], there[index]) for index in here}

    def _no_log(self) -> Tensor:
        return log_format.empty(self.capacity)


def _elements(piece: Piece) -> np.ndarray | slice:
    if piece.rows is None:
        return slice(piece.first, piece.first + piece.f.numel())
    return piece.elements(torch.arange(piece.f.numel(), device=piece.f.device)).cpu().numpy()
