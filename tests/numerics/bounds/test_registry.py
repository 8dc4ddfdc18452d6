"""Which calls have bounds, and how calls find them."""

import pytest
import torch

from tao.errors import UnsupportedOperator
from tao.graph.literals import Slot
from tao.graph.operators import SUPPORTED, resolve
from tao.numerics.bounds import EXACT, FAMILIES, Bound, Exact, bound, is_supported, tolerance

X = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))


def test_every_registered_target_is_an_operator_of_graphs_and_has_one_meaning():
    assert EXACT | set(FAMILIES) <= SUPPORTED
    assert not EXACT & set(FAMILIES)
    for target in EXACT | set(FAMILIES):
        resolve(target)


@pytest.mark.parametrize("target", ["aten.erfinv.default", "aten.svd.default", "aten.prod.default"])
def test_an_operator_without_a_bound_is_named(target):
    with pytest.raises(UnsupportedOperator, match=target):
        bound(target, [Slot(0)], {}, (X,))
    assert not is_supported(target)


@pytest.mark.parametrize("target", ["copy", "aten.relu.default", "aten.copy.default", "aten.argmax.default"])
def test_an_exact_operator_has_equality_for_its_bound(target):
    assert bound(target, [Slot(0)], {}, (X,)) == [Exact()] == tolerance(target, [Slot(0)], {}, (X,))


def test_an_exact_operator_of_two_outputs_has_two_bounds():
    call = [Slot(0), [2, 2]]
    assert bound("aten.max_pool2d_with_indices.default", call, {}, (X[None],)) == [Exact(), Exact()]


def test_integers_add_and_multiply_exactly():
    n = torch.arange(6)
    for target in ("aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor"):
        assert bound(target, [Slot(0), Slot(1)], {}, (n, n)) == [Exact()]
        assert isinstance(bound(target, [Slot(0), Slot(1)], {}, (n, X[0]))[0], Bound)
    assert bound("aten.sum.default", [Slot(0)], {}, (n,)) == [Exact()]


@pytest.mark.parametrize(
    "target, args, kwargs, operand",
    [
        ("aten.sum.default", [Slot(0)], {"dtype": torch.float64}, X),
        ("aten.exp.default", [Slot(0)], {}, X.double()),
        ("aten.exp.default", [Slot(0)], {}, X.half()),
        ("aten.linalg_vector_norm.default", [Slot(0), 3], {}, X),
    ],
)
def test_only_single_precision_and_known_arguments_have_bounds(target, args, kwargs, operand):
    with pytest.raises(UnsupportedOperator):
        bound(target, args, kwargs, (operand,))


def test_the_layer_norm_that_returns_statistics_bounds_all_three_outputs():
    outputs = torch.ops.aten.native_layer_norm(X, [6], None, None, 1e-5)
    found = bound("aten.native_layer_norm.default", [Slot(0), [6], None, None, 1e-5], {}, (X,))
    for limit, y in zip(found, outputs, strict=True):
        assert limit.tolerance.shape == y.shape and (limit.excess(y) <= 1).all()


def test_values_are_not_computed_unless_asked_for():
    found = bound("aten.exp.default", [Slot(0)], {}, (X,), with_value=False)[0]
    assert found.value is None
    with pytest.raises(ValueError, match="with_value"):
        found.excess(X)


def test_the_number_of_a_literal_is_its_single_precision_value():
    found = bound("aten.add.Tensor", [Slot(0), 0.1], {}, (torch.zeros(1),))[0]
    assert float(found.value) == float(torch.tensor(0.1))


def test_an_unknown_kind_and_an_impossible_probability_are_refused():
    with pytest.raises(ValueError, match="deterministic or probabilistic"):
        bound("aten.exp.default", [Slot(0)], {}, (X,), kind="likely")
    with pytest.raises(ValueError, match="between 0 and 1"):
        bound("aten.exp.default", [Slot(0)], {}, (X,), failure=0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bounds_on_an_accelerator_lie_there_and_hold():
    x, w = X.cuda(), torch.randn(5, 6).cuda()
    found = bound("aten.linear.default", [Slot(0), Slot(1)], {}, (x, w))[0]
    assert found.tolerance.is_cuda
    assert (found.excess(torch.nn.functional.linear(x, w)) <= 1).all()
