"""Rows of lanes and the moves of the sum game on them: exact sums in integers, pieces and recorded proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
from eth_abi import encode

from game.stories import Story, false_output
from support.encoding import OUTPUT_FLAG, ZERO, Record, Tensor, keccak, tag
from support.graphs import SUM, one_sum
from support.play import Play
from support.proofs import OPERAND, Proof, first_element, prove
from support.raises import refused
from support.wire import Receipt

LANES = 150
SUMMED = {"contraction": ("contraction", 2), SUM: ("reduction", 1)}
"""Operators with partial sums: who records them, and the operands that their lanes lie in."""
RECORDED = keccak(b"TAO.recorded.v1")
NOTHING = (b"", [], [])

Triple = tuple[int, int, int]


class Range(NamedTuple):
    """IPartialSums.Range."""

    hint: int
    lanes: int
    tensor: bytes
    first: int
    other_tensor: bytes = ZERO
    other_first: int = 0

    @property
    def key(self) -> bytes:
        types = ["bytes32", "(uint256,uint256,bytes32,uint256,bytes32,uint256)"]
        return keccak(encode(types, [tag("sums"), self]))

    def part(self, lo: int, hi: int) -> Range:
        """Its lanes [lo, hi)."""
        other_first = self.other_first + lo * (self.other_tensor != ZERO)
        return self._replace(lanes=hi - lo, first=self.first + lo, other_first=other_first)


def story() -> Story:
    """Element 1 of the sums is false."""
    return false_output(one_sum(), 0)


def exact(runs: Sequence[np.ndarray], window: int) -> Triple:
    """The sums of IPartialSums over numbers, or products of two: of positive ones, of negative ones and of those with a
    subnormal factor, as magnitudes in units of 2^(window - 150), or of 2^(window - 300)."""
    positive = negative = subnormal = 0
    for factors in zip(*(run.view(np.uint32).tolist() for run in runs), strict=True):
        exponents = [bits >> 23 & 0xFF for bits in factors]
        exponent = sum(max(e, 1) for e in exponents)
        if exponent < window:
            continue
        mantissas = [b & 0x7FFFFF | (e > 0) << 23 for b, e in zip(factors, exponents, strict=True)]
        term = prod(mantissas) << exponent - window
        is_negative = sum(bits >> 31 for bits in factors) % 2
        positive, negative = (positive, negative + term) if is_negative else (positive + term, negative)
        subnormal += 0 if all(exponents) else term
    return positive, negative, subnormal


@dataclass(frozen=True)
class Row:
    """The lanes that element `index` of what operator `operator` gives is made of, and what is said of them."""

    story: Story
    index: int = 1
    window: int = 72  # below the largest lanes by less than 64 binades
    operator: int = 0

    @classmethod
    def of(cls, story: Story, operator: int, index: int) -> Row:
        """With the lowest window that no lane is above."""
        return cls(story, index, cls(story, index, 0, operator).opening().window, operator)

    @property
    def is_false(self) -> bool:
        """Whether the element is the one that the story lies about."""
        return (self.operator, self.index) == (self.story.lie, self.story.false_element)

    @property
    def record(self) -> Record:
        return self.story.network.record(self.operator)

    @property
    def adjudicator(self) -> str:
        return SUMMED[self.record.operator][0]

    @property
    def lanes(self) -> int:
        return self.record.reduction

    @property
    def output(self) -> Tensor:
        return self.story.states[self.operator + 1][self.record.after.index(OUTPUT_FLAG)]

    @cached_property
    def runs(self) -> list[tuple[Tensor, int]]:
        """The tensors that the lanes lie in, and where they begin."""
        network, node = self.story.network, self.story.network.node(self.operator)
        tensors = network.operands(node, self.story.states[self.operator])[: SUMMED[self.record.operator][1]]
        shape = self.output.array.shape
        return [(t, first_element(network, node, i, self.index, shape)) for i, t in enumerate(tensors)]

    @property
    def tensor(self) -> Tensor:
        return self.runs[0][0]

    @property
    def firsts(self) -> list[int]:
        return [first for _, first in self.runs]

    @property
    def first(self) -> int:
        return self.firsts[0]

    @property
    def sources(self) -> list[tuple[bytes, list[bytes]]]:
        """The tensors' commitments, and their paths in the weights tree."""
        return [
            (
                tensor.commitment,
                self.story.network.weight_path(operand.position) if operand.is_parameter else [],
            )
            for (tensor, _), operand in zip(self.runs, self.record.operands, strict=False)
        ]

    @cached_property
    def range(self) -> Range:
        names = [(keccak(tag("sums") + t.commitment + t.type.packed), first) for t, first in self.runs]
        return Range(self.window, self.lanes, *(part for name in names for part in name))

    @property
    def key(self) -> bytes:
        return self.range.key

    def sums(self, lo: int = 0, hi: int | None = None) -> Triple:
        hi = self.lanes if hi is None else hi
        return exact([t.array.ravel()[first + lo : first + hi] for t, first in self.runs], self.window)

    def piece(self, lo: int, hi: int) -> tuple:
        """IPartialSums.Piece over lanes [lo, hi)."""
        opened = []
        for tensor, first in self.runs:
            _, data, path = tensor.open(first + lo, hi - lo)
            opened.append((tensor.type.packed, first + lo, data, path))
        return self.window, hi - lo, opened

    def opening(self, element: int | None = None) -> Proof:
        """A proof about the element that opens the lanes."""
        network, before = self.story.network, list(self.story.states[self.operator])
        element = self.index if element is None else element
        return prove(network, network.node(self.operator), before, self.output, element)

    def proof(self, lanes: Sequence[int] | None = None, element: int | None = None) -> bytes:
        """A recorded proof about the element that the row is summed to."""
        whole, count = self.opening(element), len(self.runs)
        operands = (*[NOTHING] * count, *whole.operands[count:])
        own = replace(whole, operands=operands, window=self.window).encoded
        types = f"(uint256[],(bytes32,bytes32[])[],{OPERAND}[],bytes)"
        values = (list(lanes or [self.lanes]), self.sources, [], own)
        return encode(["bytes32", types], [RECORDED, values])


def children(lo: int, hi: int, fan_out: int) -> list[tuple[int, int]]:
    """The first children have one lane more."""
    degree = min(fan_out, hi - lo)
    quotient, remainder = divmod(hi - lo, degree)
    cuts = [lo + i * quotient + min(i, remainder) for i in range(degree + 1)]
    return list(zip(cuts, cuts[1:], strict=False))


def partials_hash(partials: Sequence[Triple]) -> bytes:
    return keccak(encode(["bytes32", "uint256[3][]"], [tag("partials"), list(partials)]))


@dataclass
class SumPlay:
    """The sum game of one dispute about a row, at its leaf."""

    play: Play
    row: Row = field(default_factory=lambda: Row(story()))
    asserted: Triple = (0, 0, 0)

    @cached_property
    def claim(self) -> bytes:
        return self.play.claim(self.row.story)

    @cached_property
    def dispute(self) -> bytes:
        return self.play.open(self.claim)

    @property
    def leaf(self) -> tuple:
        return self.play.leaf(self.row.story, 0)

    @property
    def phase(self) -> str:
        return self.play.dispute(self.dispute)["phase"]

    @property
    def key(self) -> bytes:
        return self.play.read("sums", "assertionOf", self.dispute)[0]

    @property
    def bounds(self) -> tuple[int, int]:
        *_, lo, hi, _ = self.play.read("sums", "assertionOf", self.dispute)
        return lo, hi

    def send(self, sender: str, method: str, *args: Any, **options: Any) -> Receipt:
        return self.play.send(sender, "sums", method, self.dispute, *args, **options)

    def assert_sum(self, sums: Triple | None = None, **options: Any) -> Receipt:
        """Parts of the statement may be given otherwise: tensors, firsts, lanes, hint, leaf, sender."""
        row, other = self.row, options.pop
        tensors = other("tensors", row.sources)
        firsts, lanes = other("firsts", row.firsts), other("lanes", row.lanes)
        hint, leaf = other("hint", row.window), other("leaf", self.leaf)
        sender, sums = other("sender", self.play.challenger), row.sums() if sums is None else sums
        self.asserted = sums
        return self.send(sender, "assertSum", leaf, tensors, firsts, lanes, hint, sums, **options)

    def accept(self, sums: Triple | None = None, **options: Any) -> Receipt:
        """What was asserted last, unless other sums or another `key` are given."""
        key, sender = options.pop("key", self.key), options.pop("sender", self.play.prover)
        return self.send(sender, "accept", key, self.asserted if sums is None else sums, **options)

    def doubt(self, partials: Sequence[Triple], child: int, **options: Any) -> Receipt:
        """Of the lanes in dispute, unless other `lanes` are given."""
        key, sender = options.pop("key", self.key), options.pop("sender", self.play.prover)
        lanes = options.pop("lanes", None) or self.bounds
        return self.send(sender, "doubt", key, *lanes, list(partials), child, **options)

    def split(self, sums: Triple, partials: Sequence[Triple], **options: Any) -> Receipt:
        """Of the lanes in dispute, unless other `lanes` are given."""
        sender, lanes = options.pop("sender", self.play.challenger), options.pop("lanes", None) or self.bounds
        return self.send(sender, "split", *lanes, sums, list(partials), **options)

    def post(self, *pieces: tuple) -> Receipt:
        return self.play.send(self.play.stranger, self.row.adjudicator, "post", list(pieces))

    def settle(
        self, sums: Triple, lanes: Sequence[int], sender: str | None = None, **options: Any
    ) -> Receipt:
        return self.send(
            sender or self.play.challenger,
            "settle",
            options.pop("range", self.row.range),
            sums,
            list(lanes),
            **options,
        )

    def prove(self, sums: Triple | None = None, proof: bytes | None = None, **options: Any) -> Receipt:
        sums, proof = self.row.sums() if sums is None else sums, proof or self.row.proof()
        return self.send(self.play.challenger, "prove", self.leaf, proof, sums, **options)

    def revealed(self, lie: int | None = None) -> list[Triple]:
        """The sums over the children of the present range; one unit too many of the lane `lie`."""
        lo, hi = self.bounds
        return [
            lied(self.row.sums(a, b), lie is not None and a <= lie < b)
            for a, b in children(lo, hi, self.play.rules.fan_out)
        ]


def lied(sums: Triple, excess: int = 1) -> Triple:
    """Overstated by some units."""
    return (sums[0] + excess, *sums[1:])


# ---- how it ended


def conserved(play) -> bool:
    totals = (play.read("vault", name) for name in ("totalLocked", "totalCredited", "totalBurned"))
    return play.wire.balance(play.deployment.vault.address) == sum(totals)


def won_by_challenger(game) -> bool:
    play, rules = game.play, game.play.rules
    gained = rules.challenger_bond + rules.prover_bond - rules.burned(rules.prover_bond)
    assert conserved(play) and play.status(game.claim) == "refuted"
    return play.credit(play.challenger) == gained and play.credit(play.prover) == 0


def won_by_prover(game) -> bool:
    play, bond = game.play, game.play.rules.challenger_bond
    assert conserved(play) and play.status(game.claim) == "pending"
    return play.credit(play.prover) == bond - play.rules.burned(bond) and play.credit(play.challenger) == 0


def end_on_time(game) -> None:
    """Nobody can end it in the last second of the side to move, and anyone a second later."""
    play, deadline = game.play, game.play.deadline(game.dispute)
    with refused("ClockRunning", game.dispute):
        play.send(play.stranger, "game", "timeout", game.dispute, at=deadline)
    play.send(play.stranger, "game", "timeout", game.dispute, at=deadline + 1)
