"""A network that sums, and the moves of the sum game on it: exact sums in integers, pieces and recorded proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from eth_abi import encode

from game.stories import Story, false_output
from support.encoding import Map, Tensor, keccak, tag
from support.graphs import Network, Node, Read
from support.play import Play
from support.proofs import OPERAND, OUTPUT
from support.raises import refused
from support.wire import Receipt

LANES, ROWS = 150, 2
RANGE = "(uint256,uint256,bytes32,uint256,bytes32,uint256)"
RECORDED = keccak(b"TAO.recorded.v1")
NOTHING = (b"", [], [])

Triple = tuple[int, int, int]


def one_sum(rows: int = ROWS, lanes: int = LANES) -> Network:
    """Sums of the rows of x, whose chunks hold 64 lanes each; `i` are integers that another node passes on."""
    x = np.random.default_rng(12).normal(0, 9, (rows, lanes)).astype(np.float32)
    return Network(
        {"x": x, "i": np.arange(4)},
        {},
        [Node("aten.sum.dim_IntList", "y", (Read("x", Map((lanes,), 1)),), lambda a: a.sum(1), lanes)],
        ["y", "i"],
    )


def story() -> Story:
    """Element 1 of the sums is false."""
    return false_output(one_sum(), 0)


def exact(numbers: np.ndarray, window: int) -> Triple:
    """The sums of IPartialSums: of positive numbers, of negative ones and of subnormal ones, as magnitudes in units of
    2^(window - 150)."""
    positive = negative = subnormal = 0
    for bits in numbers.view(np.uint32).tolist():
        exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
        e, m = max(exponent, 1), fraction | (exponent > 0) << 23
        if e < window:
            continue
        term = m << e - window
        positive, negative = (positive, negative + term) if bits >> 31 else (positive + term, negative)
        subnormal += term if exponent == 0 else 0
    return positive, negative, subnormal


@dataclass(frozen=True)
class Row:
    """Row `index` of the sums' operand, and what is said of its lanes."""

    story: Story
    index: int = 1
    window: int = 72  # below the largest lanes by less than 64 binades

    @property
    def tensor(self) -> Tensor:
        return self.story.states[0][0]

    @property
    def first(self) -> int:
        return self.index * LANES

    @property
    def name(self) -> bytes:
        return keccak(tag("sums") + self.tensor.commitment + self.tensor.type.packed)

    @property
    def range(self) -> tuple:
        return self.window, LANES, self.name, self.first, bytes(32), 0

    @property
    def key(self) -> bytes:
        return keccak(encode(["bytes32", RANGE], [tag("sums"), self.range]))

    def sums(self, lo: int = 0, hi: int = LANES) -> Triple:
        return exact(self.tensor.array[self.index, lo:hi], self.window)

    def piece(self, lo: int, hi: int) -> tuple:
        """IPartialSums.Piece over lanes [lo, hi)."""
        _, data, path = self.tensor.open(self.first + lo, hi - lo)
        return self.window, hi - lo, [(self.tensor.type.packed, self.first + lo, data, path)]

    def proof(self, lanes: Sequence[int] = (LANES,), element: int | None = None) -> bytes:
        """A recorded proof about the element that the row is summed to."""
        element = self.index if element is None else element
        _, data, path = self.story.states[1][0].open(element)
        own = encode(
            [f"(uint256,uint256,{OPERAND}[],{OUTPUT})"], [(element, self.window, [NOTHING], (data, path))]
        )
        types = f"(uint256[],(bytes32,bytes32[])[],{OPERAND}[],bytes)"
        values = (list(lanes), [(self.tensor.commitment, [])], [], own)
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
        tensors = other("tensors", [(row.tensor.commitment, [])])
        firsts, lanes = other("firsts", [row.first]), other("lanes", LANES)
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
        return self.play.send(self.play.stranger, "reduction", "post", list(pieces))

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


def lied(sums: Triple, is_false: bool = True) -> Triple:
    return (sums[0] + 1, *sums[1:]) if is_false else sums


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
