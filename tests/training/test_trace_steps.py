"""The graph of a step gives what the eager loop gives: losses, parameters, moments and running statistics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tao.errors import ModelError
from tao.training import describe, prepare, schedules, trace_step
from training.cases import BATCH, CASES, SEED, Case, cnn, eager_steps, gpt2, graph_steps, mlp, traced

STEPS = 4
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-6}
"""Of the largest element. In double precision the graph's constants, held as float32, are what remains."""


def tensors(case: Case) -> dict[str, Tensor]:
    """All that a training loop keeps, by name."""
    held = {**dict(case.module.named_parameters()), **dict(case.module.named_buffers())}
    result = {name: tensor.detach() for name, tensor in held.items()}
    for name, parameter in case.module.named_parameters():
        kept = case.optimizer.state[parameter]
        result |= {f"{name}.{key}": torch.as_tensor(value) for key, value in kept.items()}
    return result


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_steps_agree_with_the_eager_loop(name: str, dtype: torch.dtype) -> None:
    step_graph, ours = traced(name), CASES[name]()
    state = step_graph.pack(ours.module, ours.optimizer, SEED)
    wide = dtype if dtype is torch.float64 else None
    state, losses = graph_steps(step_graph, state, STEPS, wide)
    theirs = CASES[name]() if wide is None else CASES[name]().double()
    ours = ours if wide is None else ours.double()
    expected = eager_steps(theirs, STEPS)
    step_graph.unpack(state, ours.module, ours.optimizer)
    assert losses == pytest.approx(expected, rel=TOLERANCE[dtype])
    mine, other = tensors(ours), tensors(theirs)
    assert mine.keys() == other.keys() and len(mine) > len(list(theirs.module.parameters()))
    moved, first = 0, tensors(CASES[name]())
    for key, tensor in other.items():
        scale = float(tensor.abs().max().clamp(min=1e-3))
        assert float((mine[key] - tensor).abs().max()) <= TOLERANCE[dtype] * scale, key
        moved += key in first and not torch.equal(tensor, first[key])
    assert int(state[0]) == STEPS and state[1].tolist() == list(SEED)
    assert moved


def test_training_goes_on_from_what_an_optimizer_holds() -> None:
    case, step_graph = CASES["gpt2"](), traced("gpt2")
    eager_steps(case, 2)
    rates = [0.01, 0.01]
    for group, rate in zip(case.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    resumed, _ = graph_steps(step_graph, step_graph.pack(case.module, case.optimizer, SEED, step=2), 1)
    whole = CASES["gpt2"]()
    straight, _ = graph_steps(step_graph, step_graph.pack(whole.module, whole.optimizer, SEED), 3)
    for name, a, b in zip(step_graph.names, resumed, straight, strict=True):
        assert torch.allclose(a.double(), b.double(), atol=1e-4), name


def test_an_optimizer_at_another_step_is_refused() -> None:
    case = CASES["gpt2"]()
    eager_steps(case, 2)
    with pytest.raises(ModelError, match="has taken 2 steps with parameter .*, not 5"):
        traced("gpt2").pack(case.module, case.optimizer, SEED, step=5)


def test_the_batch_that_was_drawn_and_the_log_are_in_the_state() -> None:
    case, step_graph = CASES["mlp"](), traced("mlp")
    state, _ = graph_steps(step_graph, step_graph.pack(case.module, case.optimizer, SEED), 1)
    indices = torch.ops.tao.sample(torch.tensor([0]), torch.tensor(SEED), 10, BATCH)
    named = dict(zip(step_graph.names, state, strict=True))
    assert torch.equal(named["batch.0"], case.dataset[0][indices])
    assert torch.equal(named["batch.1"], case.dataset[1][indices])
    assert torch.equal(named["log"], torch.ops.tao.log(32))


def test_what_dropout_drops_gets_no_gradient() -> None:
    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(40, 5))

        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(self.weight, 0.3).tanh().sum() + x.sum() * 0

    module = Dropped()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    step_graph = trace_step(module, lambda m, x: m(x), describe(optimizer), (torch.zeros(3, 1),), 1)
    state = step_graph.pack(module, optimizer, SEED)
    after, _ = graph_steps(step_graph, state, 1)
    mask = torch.ops.tao.keep(torch.tensor([0]), torch.tensor(SEED), [40, 5], 0x80000000, round(0.3 * 2**32))
    gradient = (state[2] - after[2]).reshape(40, 5)
    assert 0 < int((~mask).sum()) < mask.numel()
    assert torch.equal(gradient == 0, ~mask)


def test_bytes_are_converted_exactly_and_long_norms_are_summed_in_parts() -> None:
    def loss(module: nn.Module, images: Tensor) -> Tensor:
        return (module(images.to(module.weight.dtype) / 255) ** 2).mean()

    def build() -> Case:
        torch.manual_seed(1)
        module = nn.Linear(3, 2500)
        images = torch.randint(256, (9, 3), dtype=torch.uint8)
        return Case(module, torch.optim.SGD(module.parameters(), lr=1.0), loss, (images,), clip_norm=0.01)

    case, theirs = build(), build().double()
    step_graph = case.trace()
    lanes = {n.reduction for n in step_graph.graph.nodes if n.target == "aten.sum.dim_IntList"}
    assert 1024 in lanes and 5000 not in lanes
    state = step_graph.pack(case.module, case.optimizer, SEED)
    state, losses = graph_steps(step_graph, state, 2, torch.float64)
    assert losses == pytest.approx(eager_steps(theirs, 2), rel=1e-6)
    step_graph.unpack(state, case.module)
    for mine, other in zip(case.module.parameters(), theirs.module.parameters(), strict=True):
        assert torch.allclose(mine.double(), other, atol=1e-6)


def test_the_loss_is_a_value_of_its_own_even_as_part_of_another() -> None:
    module = nn.Linear(3, 2)
    optimizer = describe(torch.optim.SGD(module.parameters(), lr=0.1))
    step_graph = trace_step(module, lambda m, x: m(x)[0, 1], optimizer, (torch.ones(3, 3),), 2)
    assert step_graph.graph.types[step_graph.loss].numel == 1
    assert step_graph.loss not in step_graph.graph.outputs


def test_dropout_inside_fused_attention_is_drawn_like_any_other() -> None:
    step_graph = gpt2(attention="sdpa").trace()
    masks = [n for n in step_graph.graph.nodes if n.target == "tao.keep.default"]
    assert len(masks) == 7
    assert [n.attributes[0] for n in masks] == [0x80000000 + i for i in range(7)]


def test_fused_attention_without_dropout_agrees_with_the_eager_loop() -> None:
    case, theirs = gpt2(dropout=0.0, attention="sdpa"), gpt2(dropout=0.0).double()
    step_graph = case.trace()
    state = step_graph.pack(case.module, case.optimizer, SEED)
    _, losses = graph_steps(step_graph, state, STEPS, torch.float64)
    assert losses == pytest.approx(eager_steps(theirs, STEPS), rel=1e-6)


@pytest.mark.parametrize(
    "schedule, factors",
    [
        (schedules.linear(2, 6), [0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0]),
        (schedules.cosine(0, 4, 0.2), [1, 0.8828427, 0.6, 0.3171573, 0.2, 0.2]),
        (schedules.table([1.0, 0.5, 0.25]), [1, 0.5, 0.25, 0.25]),
    ],
)
def test_schedules_give_their_factors(schedule, factors: list[float]) -> None:
    given = [float(schedule(torch.tensor([step]))) for step in range(len(factors))]
    assert given == pytest.approx(factors, abs=1e-6)


def _prepared(schedule, steps: int = 4):
    case = mlp()
    return prepare(
        case.module,
        case.optimizer,
        case.dataset,
        case.loss,
        steps=steps,
        batch_size=BATCH,
        log_capacity=32,
        schedule=schedule,
    )


@pytest.mark.parametrize(
    "schedule",
    [
        lambda i: 0.5 ** (i // 2),
        lambda i: math.cos(math.pi * i / 20),
        lambda i: 1.0 if i < 3 else 0.1,
        lambda i: min(1, (i + 1) / 10),
        lambda i: [1, 1, 0.5, 0.25][i],
        lambda i: torch.tensor(0.9) ** i,
    ],
)
def test_a_schedule_of_python_numbers_is_committed_to_by_its_values(schedule) -> None:
    factors = [float(schedule(step)) for step in range(4)]
    model_id = _prepared(schedule).bundle.model_id
    assert model_id == _prepared(schedules.table(factors)).bundle.model_id
    assert model_id != _prepared(schedules.table([1.0] * 4)).bundle.model_id


def test_a_long_schedule_is_one_small_tensor() -> None:
    bundle = _prepared(lambda i: 0.9999**i, steps=100_000).bundle
    assert [p.numel() for p in bundle.parameters if p.dim() == 1 and p.is_floating_point()] == [100_000]


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (lambda i: None, r"fails at step 0 \(float\(\) argument"),
        (
            lambda i: [1, 1, 1][i],
            r"fails at step 3 \(list index out of range\); give a function from the step, an",
        ),
        (lambda i: i.float(), r"fails at step 0 \('int' object has no attribute 'float'\)"),
        ([1, 1, 1, 1], "fails at step 0 .*not callable"),
        (lambda i: math.inf if i == 2 else 1, "gives inf at step 2; give finite factors"),
        (lambda i: 1e300, r"gives 1e\+300 at step 0; give finite factors"),
    ],
)
def test_a_schedule_that_gives_no_factor_is_told_with_its_step(schedule, reason: str) -> None:
    with pytest.raises(ModelError, match=f"^schedule= {reason}") as caught:
        _prepared(schedule)
    assert "\n" not in str(caught.value)


def test_a_state_of_another_job_is_not_loaded() -> None:
    ours, theirs = mlp(), cnn()
    graph = ours.trace()
    state = theirs.trace().pack(theirs.module, theirs.optimizer, SEED)
    for other in (state, state[:2], []):
        with pytest.raises(ModelError, match="^the state is another job's"):
            graph.unpack(other, ours.module, ours.optimizer)
