"""The checkpoints of a training run: what is committed at each step boundary, and where it is kept.

A checkpoint is the state at a boundary: the commitments of the step counter, the seed, weights, moments and
buffers, and the batch and the rounding log of the step before it. Its leaf is the hash of that state, as at
any other cut of the graph; the tree over the leaves of all boundaries is what a claim commits to.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tao.errors import ModelError, StoreError
from tao.graph.literals import canonical_json
from tao.tensors import merkle, state_hash
from tao.tensors.keccak import keccak
from tao.tensors.store import TensorStore
from tao.untrusted import parse_json

FORMAT = "tao.checkpoint.v1"
_DIGITS = 10
"""Of the largest number of steps that a run can have, below 2^32."""


@dataclass(frozen=True)
class Checkpoint:
    """The boundary after `step` steps.

    values: tensor commitments in the order of the graph's inputs. log: keccak of the file of the last step's
    rounding log, None at the start. loss: of that step. is_held: whether the store has the tensors
    themselves.
    """

    step: int
    values: tuple[bytes, ...]
    log: bytes | None
    loss: float | None
    is_held: bool

    @property
    def leaf(self) -> bytes:
        """The state hash, leaf `step` of the checkpoint tree."""
        return state_hash(self.values)

    def to_json(self) -> bytes:
        return canonical_json(
            {
                "format": FORMAT,
                "step": self.step,
                "values": [value.hex() for value in self.values],
                "log": None if self.log is None else self.log.hex(),
                "loss": None if self.loss is None else self.loss.hex(),
                "held": self.is_held,
            }
        )

    @classmethod
    def from_json(cls, data: bytes, step: int) -> Checkpoint:
        """Read what anybody may have written. Raises ModelError where it is no checkpoint of this step."""
        try:
            record = parse_json(data)
            if (record["format"], record["step"]) != (FORMAT, step):
                raise ValueError(f"it is {record['format']!r} of step {record['step']}")
            loss = None if record["loss"] is None else float.fromhex(record["loss"])
            if loss is not None and not math.isfinite(loss):
                raise ValueError("its loss is not finite")
            values = tuple(bytes.fromhex(value) for value in record["values"])
            log = None if record["log"] is None else bytes.fromhex(record["log"])
            if (log is None) != (step == 0):
                raise ValueError("every step but the first boundary has a log")
            if not values:
                raise ValueError("it has no values")
            if any(len(item) != 32 for item in (*values, *([log] if log else []))):
                raise ValueError("a commitment has not 32 bytes")
            return cls(step, values, log, loss, bool(record["held"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ModelError(f"the checkpoint of step {step} is malformed: {error}") from error


class Trail:
    """The checkpoints of one run in a store, written one by one; the last one written is its head.

    A run is named by its model, its first state and its owner, so another run's checkpoints are never taken
    for its own. Whoever has a key seals what it writes and takes nothing else for its own: others may write to the
    store, too, and a trainer would claim their states.
    """

    def __init__(
        self,
        store: TensorStore,
        model_id: bytes,
        first: Sequence[bytes],
        owner: str = "",
        key: bytes | None = None,
    ) -> None:
        """first: the commitments of the initial state. owner: the trainer's address, where there are several.
        key: secret, of the owner; None for those who read, and for a store that only its owner writes to."""
        self.store, self._key = store, key
        self.run_id = keccak(model_id + state_hash(first) + owner.encode())
        self._folder = f"runs/{self.run_id.hex()}"

    def append(self, checkpoint: Checkpoint) -> int:
        """Write a checkpoint whose log, and tensors if held, are in the store; it becomes the head.

        Returns the bytes by which the store grows where it has none of this step yet. Raises StoreError where it
        cannot be written; the head then is the one before.
        """
        step, data = checkpoint.step, checkpoint.to_json()
        self.store.put_named(self._name(step), data)
        seal = b"" if self._key is None else self._seal(step, data)
        if seal:
            self.store.put_named(self._seal_name(step), seal)
        self.store.put_named(f"{self._folder}/head", str(step).encode())
        replaced = len(str(step - 1)) if step else 0
        return len(data) + len(seal) + len(str(step)) - replaced

    @property
    def head(self) -> int | None:
        """The last step written, None before the first; its file may be damaged. Whoever has a key takes a head without
        a seal for nothing; else raises ModelError where the head is no number."""
        name = f"{self._folder}/head"
        if not self.store.has_named(name):
            return None
        data = self.store.get_named(name)
        is_step = data.isdigit() and len(data) <= _DIGITS
        if self._key is None:
            if not is_step:
                raise ModelError(f"the head of run 0x{self.run_id.hex()} is {data[:20]!r}, which is no step")
            return int(data)
        return int(data) if is_step and self.store.has_named(self._seal_name(int(data))) else None

    @property
    def is_begun(self) -> bool:
        """Whether the store has the run's first checkpoint."""
        return self.store.has_named(self._name(0))

    def read(self, step: int) -> Checkpoint:
        """The checkpoint of a step. Raises StoreError where it is missing, ModelError where it is malformed or has
        not the owner's seal."""
        data = self._data(step)
        if not self._is_sealed(step, data):
            raise ModelError(
                f"the checkpoint of step {step} of run 0x{self.run_id.hex()} is not the one that was written here; "
                "somebody else writes to the store"
            )
        return Checkpoint.from_json(data, step)

    def leaves(self, steps: int) -> list[bytes]:
        """The leaves of the boundaries 0 to `steps`."""
        return [self.read(step).leaf for step in range(steps + 1)]

    def root(self, steps: int) -> bytes:
        """The checkpoint root that a claim of `steps` steps commits to."""
        return root_of(self.leaves(steps))

    def _data(self, step: int) -> bytes:
        return self.store.get_named(self._name(step))

    def _is_sealed(self, step: int, data: bytes) -> bool:
        """Whether the owner wrote this; True without a key."""
        if self._key is None:
            return True
        name = self._seal_name(step)
        return self.store.has_named(name) and hmac.compare_digest(
            self.store.get_named(name), self._seal(step, data)
        )

    def _seal(self, step: int, data: bytes) -> bytes:
        """HMAC-SHA256 of the checkpoint, its step and its run."""
        return hmac.new(self._key, self.run_id + step.to_bytes(8, "big") + data, hashlib.sha256).digest()

    def _name(self, step: int) -> str:
        return f"{self._folder}/{step}.json"

    def _seal_name(self, step: int) -> str:
        return f"{self._folder}/{step}.seal"


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The checkpoint root over the leaves of all boundaries; zeros for a single step, which has no boundary that the
    claim itself does not hold."""
    return merkle.root(leaves) if len(leaves) > 2 else bytes(32)


class ClaimedTrail(Trail):
    """The checkpoints that a claim commits to, whatever their files hold when they are read once more."""

    def __init__(
        self,
        store: TensorStore,
        model_id: bytes,
        inputs: Sequence[bytes],
        outputs: Sequence[bytes],
        root: bytes,
        steps: int,
        owner: str = "",
    ) -> None:
        """inputs, outputs, root: as claimed of a run of `steps` steps. Raises as `leaves` does, and StoreError where
        the store has other checkpoints than those claimed."""
        super().__init__(store, model_id, inputs, owner)
        self._leaves: list[bytes] | None = None
        leaves = self.leaves(steps)
        if root_of(leaves) != root or (leaves[0], leaves[-1]) != (state_hash(inputs), state_hash(outputs)):
            raise self._other()
        self._leaves = leaves

    def read(self, step: int) -> Checkpoint:
        """The claimed checkpoint of a step. Raises StoreError where the file is another one, too."""
        checkpoint = super().read(step)
        if self._leaves is not None and checkpoint.leaf != self._leaves[step]:
            raise self._other()
        return checkpoint

    def _other(self) -> StoreError:
        return StoreError(
            f"the checkpoints in the store {self.store.url} are not those claimed; ask the trainer to publish those"
        )
