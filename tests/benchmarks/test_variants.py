"""Results of kernel variants as the benchmark of the bounds' soundness judges them."""

import pytest
import torch

from benchmarks.variants import Call, Suite, check
from tao.numerics.bounds import Exact
from tao.numerics.bounds.rule import Bound


def test_variants_stay_inside_the_bounds_and_compute_other_values():
    records = check(["native", "split-4"], ["contraction", "exact"], 1000)
    native, split = records["native"], records["split-4"]
    assert native["violations"] == split["violations"] == 0
    assert 0 < split["families"]["contraction"]["worst_ratio"] <= 1
    assert native["different"] == split["families"]["exact"]["different"] == 0
    assert split["families"]["contraction"]["different"] > 0
    assert split["elements"] == sum(found["elements"] for found in split["families"].values())


@pytest.fixture
def bounded():
    value, tolerance = torch.zeros(4).double(), torch.tensor([1.0, 1.0, torch.inf, 1.0]).double()
    return Call("reductions", "sum", Bound(value, tolerance), torch.zeros(4))


def test_elements_outside_a_bound_are_counted_where_it_is_finite(bounded):
    found = bounded.judge(torch.tensor([0.5, 3.0, 9.0, torch.nan]), torch.tensor([0.5, 0.0, 9.0, torch.nan]))
    assert (found.elements, found.violations, found.worst_ratio) == (3, 2, torch.inf)
    assert found.different == 1


def test_an_exact_result_is_outside_where_another_way_gives_another_value():
    found = Call("exact", "max", Exact(), torch.tensor([1, 2])).judge(
        torch.tensor([1, 3]), torch.tensor([1, 3])
    )
    assert (found.elements, found.violations, found.different) == (2, 1, 0)


def test_records_add_up_over_the_calls_of_a_family(bounded):
    suite = Suite(bundle=None, calls=[bounded, bounded])
    y = torch.tensor([0.5, 0.0, 0.0, 0.25])
    found = suite.judge([y, 3 * y], [y, y])
    assert found["families"] == {
        "reductions": {"elements": 6, "violations": 1, "worst_ratio": 1.5, "different": 2},
    }
    assert found["worst_ratio"] == 1.5 and found["outside"] == {"sum": 1}
