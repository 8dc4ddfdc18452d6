"""Whole small runs drawn at random: what one device records another replays, and any fault is found and proven."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Any

import pytest
import torch
from eth_abi import decode
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from tao.graph.operators import LOG
from tao.graph.rounding import Kind, kind
from tao.model import ModelBundle
from tao.proofs import ADJUDICATED
from tao.proofs.leaf import Leaf
from tao.protocol import actions, challenger, partition
from tao.protocol.views import ClaimView, DisputeView, Outcome, Phase, Status
from tao.roles.audit_judge import AuditJudge
from tao.roles.states import ends
from tao.tensors.store import TensorStore
from tao.training import TrainingJob, audit, kernels, prepare, proofs, schedules
from tao.training.record import Recording
from tao.training.replay import Replay
from training.faults import FAULTS, KEEP_EVERY
from training.orders import ORDERS, compute_in

CLASSES = 3
FAN_OUT = 4
AGES = 10**9

ACTIVATIONS = {"tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
SCHEDULES = {
    "none": None,
    "linear": schedules.linear(0, 10),
    "cosine": schedules.cosine(0, 10, 0.1),
    "table": schedules.table((1.0, 0.5)),
}


@dataclass(frozen=True)
class Drawn:
    """A run to be recorded by one device and audited by another. at: the step of the fault."""

    network: str
    activation: str
    norm: bool
    dropout: float
    optimizer: str
    rate: float
    momentum: float
    decay: float
    clip_norm: float | None
    schedule: str
    batch: int
    steps: int
    seed: int
    devices: tuple[str, str]
    fault: str
    at: int

    def job(self, factor: float = 1.0) -> TrainingJob:
        """factor: of the learning rate."""
        torch.manual_seed(self.seed)
        module, inputs = self._network()
        rate = self.rate * factor
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                module.parameters(), rate, momentum=self.momentum, weight_decay=self.decay
            )
        else:
            optimizer = torch.optim.AdamW(module.parameters(), rate, eps=1e-6, weight_decay=self.decay)
        data = (inputs, torch.randint(CLASSES, (len(inputs),)))
        return prepare(
            module.train(),
            optimizer,
            data,
            classified,
            steps=self.steps,
            batch_size=self.batch,
            clip_norm=self.clip_norm,
            schedule=SCHEDULES[self.schedule],
            log_capacity=1024,
            seed=(self.seed, 5),
        )

    def _network(self) -> tuple[nn.Module, Tensor]:
        first: list[nn.Module]
        if self.network == "linear":
            inputs, first = torch.randn(9, 5), [nn.Linear(5, 8)]
        elif self.network == "conv":
            convolution = nn.Conv2d(1, 2, 3, stride=2)
            norm = [nn.BatchNorm2d(2)] if self.norm else []
            inputs, first = torch.randn(8, 1, 5, 5), [convolution, *norm, nn.Flatten()]
        elif self.network == "grouped":
            back = nn.ConvTranspose2d(4, 2, 2, groups=2)
            inputs, first = torch.randn(8, 2, 3, 3), [nn.Conv2d(2, 4, 3, groups=2), back, nn.Flatten()]
        else:
            inputs, first = torch.randint(7, (10, 2)), [nn.Embedding(7, 4), nn.Flatten()]
        norm = [nn.LayerNorm(8)] if self.norm else []
        dropout = [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(
            *first, ACTIVATIONS[self.activation](), *norm, *dropout, nn.Linear(8, CLASSES)
        ), inputs


def classified(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(module(x), y)


@contextmanager
def device(order: str, seed: int) -> Iterator[None]:
    """This process as a device that adds in an order and whose functions are off by a float64 ulp at times,
    always at the same arguments."""

    def apply(name: str, x: Tensor) -> Tensor:
        ulps = ((x.double().view(torch.int64) * 0x9E3779B97F4A7C15 + seed) >> 41) % 3 - 1
        return getattr(torch, name)(x) * (1 + ulps.double() * 2.0**-52)

    with pytest.MonkeyPatch.context() as patch:
        compute_in(patch, ORDERS[order])
        patch.setattr(kernels, "apply", apply)
        yield


class Game:
    """A dispute by the rules alone: the auditor's judge decides, and the trainer's recording answers."""

    def __init__(self, job: TrainingJob, recording: Recording, store: TensorStore, drawn: Drawn) -> None:
        self.bundle, self.recording, self.store, self.drawn = job.bundle, recording, store, drawn
        self.size = len(job.bundle.graph)
        stated = recording.claim()
        self.claim = ClaimView(
            bytes(32), stated.model_id, bytes(32), "", stated.inputs, stated.outputs,
            stated.checkpoint_root, 0, AGES, Status.PENDING, 0,
        )  # fmt: skip
        self.judge = AuditJudge(job.bundle, store, 60)
        self.states = {0: stated.inputs, self.size * job.steps: stated.outputs}

    def play(self) -> tuple[DisputeView, actions.Action] | None:
        """Where the dispute ends, and by what; None where the auditor has nothing against the claim."""
        with device(self.drawn.devices[1], 2):
            if not self.judge.suspicious(self.claim, self.claim.claimed_at):
                return None
        lo, hi = 0, max(self.states)
        while True:
            phase = Phase.LEAF if hi - lo == 1 else Phase.SELECT
            if phase is Phase.SELECT:
                with device(self.drawn.devices[0], 1):
                    self._reveal(lo, hi)
            ends = (b"", b"")
            dispute = DisputeView(
                bytes(32), self.claim, "0x1", phase, Outcome.OPEN, FAN_OUT, self.size, lo, hi, *ends,
                self.states, (), 4, None, AGES, AGES, 0,
            )  # fmt: skip
            with device(self.drawn.devices[1], 2):
                action = challenger.pursue(dispute, self.judge, 1, 1)
            if not isinstance(action, actions.Select):
                return dispute, action
            lo, hi = partition.child(lo, hi, FAN_OUT, action.child, partition.unit_of(lo, hi, self.size))

    def _reveal(self, lo: int, hi: int) -> None:
        unit = partition.unit_of(lo, hi, self.size)
        cuts = [cut for cut in partition.cuts(lo, hi, FAN_OUT, unit) if cut not in self.states]
        if unit > 1:
            for cut in cuts:
                self.states[cut] = self.recording.trail.read(cut // self.size).values
        elif cuts:
            held = self.recording.capture(
                lo // self.size, [cut - lo // self.size * self.size for cut in cuts]
            )
            for cut in cuts:
                values = held[cut - lo // self.size * self.size]
                self.states[cut] = tuple(self.store.put_tensor(value) for value in values)


def is_refuted(bundle: ModelBundle, before: list[Tensor], output: Tensor, node: int, proof: bytes) -> bool:
    """The verdict of the rules in rationals, or for what is exact in bits, on a proof about an element."""
    operator, leaf = bundle.graph.nodes[node].operator, Leaf.of(bundle, node, before, [output])
    assert operator != LOG
    (element,) = decode(["uint256"], proof[32:64])
    if operator in proofs.ROUNDED:
        rule, slot, _ = decode([ROUNDED_PROOF], proof)[0][-1]
        encoding = int(output.flatten()[element].view(torch.int32)) & 0xFFFFFFFF
        if rule == proofs.VALUE:
            return proofs.zone(leaf, element).excludes(encoding)
        keys, values = proofs.log_of(leaf)
        _, found = proofs.slot_of(keys, proofs.key(leaf, element))
        if rule == proofs.CONTRADICTION:
            return found and int(keys[slot]) == proofs.key(leaf, element) and int(values[slot]) != encoding
        return not found and proofs.zone(leaf, element).is_split
    assert operator in ADJUDICATED | proofs.DRAWS and kind(operator) is Kind.EXACT
    live = bundle.graph.live(node + 1)
    own = Replay(bundle.graph, bundle.parameters).advance(node, before, node + 1)
    mine = own[live.index(bundle.graph.nodes[node].outputs[0])]
    return bool(mine.flatten()[element] != output.flatten()[element])


_OPENING = "(bytes,bytes32[],bytes32[])"
ROUNDED_PROOF = f"(uint256,uint256,{_OPENING}[],(bytes,bytes32[]),(uint256,uint256,{_OPENING}[]))"


def check(drawn: Drawn) -> str | None:
    """Record, audit and dispute a drawn run; the operator that the fault was proven of."""
    job = drawn.job()
    with tempfile.TemporaryDirectory() as folder:
        store = TensorStore(folder)
        if drawn.fault == "none":
            recording = Recording(job, store, KEEP_EVERY)
        else:
            recording = FAULTS[drawn.fault](job, store, drawn.at, drawn.job)
        with device(drawn.devices[0], 1):
            assert len(list(recording)) == drawn.steps
        with device(drawn.devices[1], 2):
            report = audit(job, store, recording.claim())
        game = Game(job, recording, store, drawn)
        ended = game.play()
        if drawn.fault == "none":
            assert report.is_equal and report.steps == drawn.steps and ended is None
            return None
        assert report.difference.step == drawn.at
        dispute, action = ended
        assert dispute.lo // dispute.node_count == drawn.at and dispute.node in recording.nodes()
        assert isinstance(action, actions.Prove), (action, job.bundle.graph.nodes[dispute.node].operator)
        before = [store.get_tensor(value) for value in dispute.states[dispute.lo]]
        after = dict(zip(job.bundle.graph.live(dispute.node + 1), dispute.states[dispute.hi], strict=True))
        (value,) = job.bundle.graph.nodes[dispute.node].outputs
        element, plan = game.judge.plans[ends(dispute, dispute.lo, dispute.hi)]
        assert element == action.element
        assert is_refuted(job.bundle, before, store.get_tensor(after[value]), dispute.node, plan.proof)
        return job.bundle.graph.nodes[dispute.node].operator


KINDS = {
    "fault": ("none", *FAULTS),
    "network": ("linear", "conv", "grouped", "embedding"),
    "activation": tuple(ACTIVATIONS),
    "norm": (True, False),
    "dropout": (0.0, 0.25),
    "optimizer": ("sgd", "adamw"),
    "momentum": (0.0, 0.9),
    "decay": (0.0, 0.01),
    "clip_norm": (None, 0.5),
    "schedule": tuple(SCHEDULES),
    "order": tuple(ORDERS),
}
COUNT = 16
"""Plans: every kind occurs equally often, beside others by chance."""


def plans() -> list[dict[str, Any]]:
    """What is drawn of each kind, by run."""
    columns = {}
    for number, (name, values) in enumerate(KINDS.items()):
        columns[name] = [value for value, _ in zip(cycle(values), range(COUNT), strict=False)]
        Random(number).shuffle(columns[name])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def draw(plan: dict[str, Any], number: int) -> Drawn:
    """A run of this plan; what else there is of it follows from the number."""
    chance = Random(f"{sorted(plan.items(), key=str)} {number}")
    steps = chance.randint(2, 3)
    return Drawn(
        **{name: value for name, value in plan.items() if name != "order"},
        rate=chance.choice((0.01, 0.1, 0.3)),
        batch=chance.randint(2, 4),
        steps=steps,
        seed=chance.getrandbits(32),
        devices=(plan["order"], chance.choice([order for order in ORDERS if order != plan["order"]])),
        at=chance.randrange(steps),
    )


def test_a_drawn_run_is_equal_on_another_device_and_any_fault_in_it_is_proven():
    seen: Counter = Counter()
    examples = max(settings.default.max_examples // 100, 1)

    @settings(max_examples=examples, phases=(Stage.generate,))
    @given(st.integers(0, 2**32 - 1))
    def holds(number: int) -> None:
        for plan in plans():
            seen["proven", check(draw(plan, number))] += 1
            seen.update(plan.items())

    holds()
    assert all(seen[kind, value] >= 2 for kind, values in KINDS.items() for value in values), seen
    assert len([key for key in seen if key[0] == "proven" and key[1] is not None]) >= 5, seen
