"""What a prover may say about a run: the states at all cuts, honest or with one lie at a known operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from support.encoding import OUTPUT_FLAG, Tensor, keccak, state_hash
from support.graphs import Network, one_contraction, one_vote, seven_operators


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
    """`states[i]` at cut i; `lie` is the operator after which the states stop following, None if they
    follow.
    """

    name: str
    network: Network
    states: tuple[tuple[Value, ...], ...]
    lie: int | None

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


def tell(name: str, network: Network, lie: int, after: State) -> Story:
    """Honest up to operator `lie`, whose state after is `after`; computed honestly from there."""
    states = [tuple(state) for state in network.run(network.example)[: lie + 1]]
    states.append(tuple(after))
    for index in range(lie + 1, len(network.nodes)):
        states.append(tuple(network.step(index, states[-1])))
    return Story(name, network, tuple(states), lie)


def honest(network: Network) -> Story:
    return Story("honest", network, tuple(tuple(state) for state in network.run(network.example)), None)


def false_output(network: Network, lie: int) -> Story:
    states = network.run(network.example)
    slot = network.records[lie].after.index(OUTPUT_FLAG)
    output = spoiled(states[lie + 1][slot], lie + 1)
    return tell(f"false output of {lie}", network, lie, network.step(lie, states[lie], output))


def false_pass_through(network: Network, lie: int) -> Story:
    """A value that operator `lie` does not touch is another one behind it."""
    after = network.run(network.example)[lie + 1]
    slot = next(i for i, entry in enumerate(network.records[lie].after) if entry < OUTPUT_FLAG)
    after[slot] = spoiled(after[slot], lie + 1)
    return tell(f"false pass-through at {lie}", network, lie, after)


def missing_value(network: Network, lie: int) -> Story:
    """The state behind operator `lie` lacks its last value, only there."""
    told = honest(network)
    states = list(told.states)
    states[lie + 1] = states[lie + 1][:-1]
    return Story(f"missing value behind {lie}", network, tuple(states), lie)


def ghost_output(network: Network, lie: int) -> Story:
    """From operator `lie` on, every output is a commitment to nothing."""
    states: list[tuple[Value, ...]] = [tuple(state) for state in network.run(network.example)[: lie + 1]]
    for index in range(lie, len(network.nodes)):
        ghost = Ghost(keccak(f"nothing behind {index}".encode()))
        entries = network.records[index].after
        states.append(tuple(ghost if entry >= OUTPUT_FLAG else states[-1][entry] for entry in entries))
    return Story(f"ghost output of {lie}", network, tuple(states), lie)


@cache
def networks() -> dict[str, Network]:
    return {"seven": seven_operators(), "contraction": one_contraction(), "vote": one_vote()}


@cache
def stories() -> tuple[Story, ...]:
    """The stories the machines choose from; those of the long model first."""
    seven, contraction, vote = networks().values()
    return (
        honest(seven),
        *(false_output(seven, lie) for lie in range(7)),
        *(false_pass_through(seven, lie) for lie in (0, 1, 3, 5)),
        *(missing_value(seven, lie) for lie in (0, 2, 4)),
        ghost_output(seven, 4),
        honest(contraction),
        false_output(contraction, 0),
        honest(vote),
        false_output(vote, 0),
    )
