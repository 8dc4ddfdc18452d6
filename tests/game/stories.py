"""What a prover may say about a run: the states at all cuts, honest or with one lie at a known operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from support.encoding import OUTPUT_FLAG, ZERO, Tensor, keccak, merkle_path, merkle_root, state_hash
from support.graphs import (
    Network,
    four_steps,
    one_calibrated,
    one_contraction,
    one_sum,
    one_vote,
    seven_operators,
)


@dataclass(frozen=True)
class Ghost:
    """A commitment that nobody can open."""

    commitment: bytes


Value = Tensor | Ghost
State = Sequence[Value]


def hash_of(state: State) -> bytes:
    return state_hash([value.commitment for value in state])


@dataclass(frozen=True)
class Story:
    """`states[i]` at cut i of the run; `lie` is the operator after which the states stop following, None if
    they follow; `inconsistent` if the two states around it do not even fit the operator's record.
    `committed` is what the prover put under its checkpoint root where that is not the states.
    """

    name: str
    network: Network
    states: tuple[tuple[Value, ...], ...]
    lie: int | None
    inconsistent: bool = False
    committed: tuple[bytes, ...] | None = None

    @property
    def checkpoints(self) -> tuple[bytes, ...]:
        """Leaves of the checkpoint tree: by default the state hashes at the ends of the steps."""
        return self.committed or tuple(hash_of(state) for state in self.states[:: len(self.network.nodes)])

    @property
    def checkpoint_root(self) -> bytes:
        return ZERO if self.network.steps == 1 else merkle_root(self.checkpoints)

    def paths(self, cuts: Sequence[int]) -> list[list[bytes]]:
        """What a reveal of the partition `cuts` has to carry: none inside a step."""
        step = len(self.network.nodes)
        if cuts[-1] - cuts[0] <= step:
            return []
        return [merkle_path(self.checkpoints, cut // step) for cut in cuts[1:-1]]

    @property
    def inputs(self) -> list[bytes]:
        return [value.commitment for value in self.states[0]]

    @property
    def outputs(self) -> list[bytes]:
        return [value.commitment for value in self.states[-1]]

    @property
    def false_element(self) -> int:
        """The element that a lie about a tensor is about."""
        return 0 if self.lie is None else self.lie + 1

    def first_false_child(self, cuts: Sequence[int]) -> int | None:
        """Child of the partition `cuts` in which the lie is."""
        if self.lie is None or not cuts[0] <= self.lie < cuts[-1]:
            return None
        return next(i for i in range(len(cuts) - 1) if self.lie < cuts[i + 1])


def spoiled(tensor: Tensor, element: int) -> Tensor:
    """The tensor with one element far away from where it was."""
    array = tensor.array.copy()
    array.ravel()[element] = abs(array.ravel()[element]) * np.float32(2) + np.float32(1)
    return Tensor(array)


def tell(name: str, network: Network, lie: int, after: State, inconsistent: bool = False) -> Story:
    """Honest up to operator `lie`, whose state after is `after`; computed honestly from there."""
    states = [tuple(state) for state in network.run(network.example)[: lie + 1]]
    states.append(tuple(after))
    for index in range(lie + 1, network.length):
        states.append(tuple(network.step(index, states[-1])))
    return Story(name, network, tuple(states), lie, inconsistent)


def honest(network: Network) -> Story:
    return Story("honest", network, tuple(tuple(state) for state in network.run(network.example)), None)


def false_output(network: Network, lie: int) -> Story:
    states = network.run(network.example)
    slot = network.record(lie).after.index(OUTPUT_FLAG)
    output = spoiled(states[lie + 1][slot], lie + 1)
    return tell(f"false output of {lie}", network, lie, network.step(lie, states[lie], output))


def false_pass_through(network: Network, lie: int) -> Story:
    """A value that operator `lie` does not touch is another one behind it."""
    after = network.run(network.example)[lie + 1]
    slot = next(i for i, entry in enumerate(network.record(lie).after) if entry < OUTPUT_FLAG)
    after[slot] = spoiled(after[slot], lie + 1)
    return tell(f"false pass-through at {lie}", network, lie, after, inconsistent=True)


def missing_value(network: Network, lie: int) -> Story:
    """The state behind operator `lie` lacks its last value, only there."""
    told = honest(network)
    states = list(told.states)
    states[lie + 1] = states[lie + 1][:-1]
    return Story(f"missing value behind {lie}", network, tuple(states), lie, inconsistent=True)


def ghost_output(network: Network, lie: int) -> Story:
    """From operator `lie` on, every output is a commitment to nothing."""
    states: list[tuple[Value, ...]] = [tuple(state) for state in network.run(network.example)[: lie + 1]]
    for index in range(lie, network.length):
        ghost = Ghost(keccak(f"nothing behind {index}".encode()))
        entries = network.record(index).after
        states.append(tuple(ghost if entry >= OUTPUT_FLAG else states[-1][entry] for entry in entries))
    return Story(f"ghost output of {lie}", network, tuple(states), lie)


def other_ends(network: Network, lie: int) -> Story:
    """A false output, and a checkpoint tree whose first and last leaf are not the ends of the run."""
    told = false_output(network, lie)
    committed = (keccak(b"another beginning"), *told.checkpoints[1:-1], keccak(b"another end"))
    return replace(told, name=f"other ends around {lie}", committed=committed)


@cache
def networks() -> dict[str, Network]:
    return {
        "seven": seven_operators(),
        "contraction": one_contraction(),
        "sum": one_sum(lanes=5),
        "vote": one_vote(),
        "calibrated": one_calibrated(),
        "steps": four_steps(),
    }


@cache
def stories() -> tuple[Story, ...]:
    """The stories the machines choose from; those of the long model first."""
    seven, contraction, summed, vote, calibrated, steps = networks().values()
    return (
        honest(seven),
        *(false_output(seven, lie) for lie in range(7)),
        *(false_pass_through(seven, lie) for lie in (0, 1, 3, 5)),
        *(missing_value(seven, lie) for lie in (0, 2, 4)),
        ghost_output(seven, 4),
        honest(contraction),
        false_output(contraction, 0),
        honest(summed),
        false_output(summed, 0),
        honest(vote),
        false_output(vote, 0),
        honest(calibrated),
        false_output(calibrated, 0),
        honest(steps),
        *(false_output(steps, lie) for lie in (0, 2, 3, 7, 11)),
        *(false_pass_through(steps, lie) for lie in (1, 5, 8)),
        missing_value(steps, 4),
        other_ends(steps, 6),
    )
