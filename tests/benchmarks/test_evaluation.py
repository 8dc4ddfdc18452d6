"""The page of measured figures is what its command makes of the results; its ratios are what it says."""

import json
import re

import pytest
import torch
from torch import nn

from benchmarks.__main__ import names
from benchmarks.evaluation import SECTIONS, operators, page, read_results
from benchmarks.evaluation.attack import by_cheat, by_region
from benchmarks.evaluation.cells import PAGE, Column, count, figure, share, table, text
from benchmarks.tightness import Judged, draw, ratios, tolerances
from tao.graph.operators import SUPPORTED, TRAINING
from tao.model import trace
from tao.numerics.profile import Device, NodeTolerance, Profile
from tao.numerics.statistics import GRID

RESULTS = read_results()
ATEN = {name.removesuffix(".default") for name in SUPPORTED - TRAINING}

TIGHTNESS = {
    "models": {"A": {"contraction": 40.0}, "B": {"contraction": 4.0, "softmax": 0.5}},
    "details": {
        "A": {
            "contraction": {"nodes": 2, "nodes_bit_equal": 1, "ratio_median": 40.0, "ratio_max": 50.0},
            "elementwise": {"nodes": 0, "nodes_bit_equal": 7, "ratio_median": None, "ratio_max": None},
        },
        "B": {
            "contraction": {"nodes": 3, "nodes_bit_equal": 0, "ratio_median": 4.0, "ratio_max": 9.0},
            "softmax": {"nodes": 1, "nodes_bit_equal": 0, "ratio_median": 0.5, "ratio_max": 0.5},
        },
    },
    "false_positive_rate": 0.0,
    "operator_runs": 12_000,
    "machine": {"processor": "P", "cores": 2, "system": "S"},
    "versions": {"torch": "1"},
    "date": "2000-01-02",
}


def test_committed_page_is_what_the_results_give():
    assert PAGE.read_text("utf-8") == page(RESULTS), "run python -m benchmarks.evaluation"


def test_committed_list_of_operators_is_what_the_tables_give():
    assert operators.PAGE.read_text("utf-8") == operators.page(), "run python -m benchmarks.evaluation"


def test_every_supported_operator_is_listed_once():
    served, _ = operators.page().removeprefix(operators.INTRODUCTION).split(operators.TRAINED)
    listed = [name for name in re.findall(r"`([^` ]+)`", served) if f"aten.{name}" in ATEN]
    assert sorted(f"aten.{name}" for name in listed) == sorted(ATEN)


def test_what_a_training_step_may_hold_is_listed_once():
    _, trained = operators.page().split(operators.TRAINED)
    listed = re.findall(r"`([^` ]+)`", trained)
    assert len(listed) == len(set(listed))
    assert {"mm", "bmm", "sum.dim_IntList", "sigmoid", "convolution", "native_layer_norm"} <= set(listed)
    assert not any("backward" in name or name.startswith("tao.") for name in listed)


def test_published_logs_stand_beside_ours_by_their_origin():
    made = page({"training": RESULTS["training"]})
    assert "| gpt2 | 106 | 42,100,000 | 73,678,767 |" in made
    assert "| small_cnn | 73 | – | 3,987 |" in made
    assert "Srivastava, Arora and Boneh" in made


def test_both_modes_of_the_published_method_and_the_share_of_the_log_stand_in_the_page():
    times = {"record_over_ours": 1.25, "replay_over_ours": 0.75, "replay_equal_here": True}
    fixed = times | {"log_bytes": 4000, "compressed_bytes": 3500, "entries": 9000}
    adapted = fixed | {"compressed_bytes": 60, "entries": 12, "record_over_ours": 1.125}
    model = {"published": fixed, "published_adapted": adapted, "log_share": 0.0213, "commitment_share": 0.1}
    made = page({"training": RESULTS["training"] | {"models": {"small_cnn": model}}})
    assert "| of it commitments | of it the log |" in made and "| 10.0 % | 2.1 % |" in made
    assert "| small_cnn | lowest | 9,000 | 4,000 | 3,500 | 1.250 | 0.750 | yes |" in made
    assert "| small_cnn | adapted | 12 | 4,000 | 60 | 1.125 | 0.750 | yes |" in made


def test_committing_stands_beside_plain_hashing():
    figures = dict.fromkeys(("blocks_gb_per_s", "blocks_one_core_gb_per_s", "library_one_core_gb_per_s"), 0.8)
    figures |= {"commit_gb_per_s": 0.7, "commit_transposed_gb_per_s": 0.5, "commit_4_kib_us": 30.0}
    origin = {"machine": TIGHTNESS["machine"], "versions": TIGHTNESS["versions"], "date": TIGHTNESS["date"]}
    result = origin | figures | {"mebibytes": 1024, "commit_over_blocks": 0.875, "memory_beyond_tensor": 0.4}
    made = page({"hashing": result})
    assert "1,024 MiB" in made and "| committing / hashing blocks | 0.875 |" in made


def test_threads_stand_beside_the_machine_where_they_are_known():
    assert "P, 2 cores, S, 1 thread · torch 1" in page({"tightness": TIGHTNESS | {"threads": 1}})


def test_page_has_a_section_for_every_result_and_none_for_the_others():
    made = page(RESULTS)
    assert [f"## {section.heading}\n" in made for section in SECTIONS] == [
        section.name in RESULTS for section in SECTIONS
    ]


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_missing_result_leaves_out_its_section_and_no_other(name):
    rest = {other: result for other, result in RESULTS.items() if other != name}
    headings = {section.name: f"## {section.heading}\n" for section in SECTIONS}
    made = page(rest)
    assert headings[name] not in made
    assert all(headings[other] in made for other in rest)


def test_page_of_no_results_has_no_section():
    assert "##" not in page({})


def test_section_names_command_machine_and_date_of_its_result():
    made = page({"tightness": TIGHTNESS})
    assert "`make bench NAME=tightness` · P, 2 cores, S · torch 1 · 2000-01-02" in made


def test_figures_of_a_result_stand_in_the_page():
    made = page({"tightness": TIGHTNESS})
    assert "| A | contraction | 2 | 1 | 40 | 50 | – |" in made
    assert "| A | elementwise | 0 | 7 | – | – | – |" in made
    assert "| runs of operators that round | 12,000 |" in made
    assert "| false-positive rate | 0.0 % |" in made


def test_results_are_read_from_the_folder_as_far_as_they_are_there(tmp_path):
    (tmp_path / "tightness.json").write_text(json.dumps(TIGHTNESS))
    (tmp_path / "other.json").write_text("{}")
    assert read_results(tmp_path) == {"tightness": TIGHTNESS}


def test_table_puts_a_dash_for_a_missing_figure_and_keeps_separators_out_of_cells():
    columns = [Column("name", "name", text), Column("value", "value", count)]
    made = table(columns, [{"name": "a|b", "value": 1234}, {"name": "c"}])
    assert made.splitlines() == [
        "| name | value |",
        "| --- | ---: |",
        r"| a\|b | 1,234 |",
        "| c | – |",
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.5, "50.0 %"), (1e-5, "0.001 %"), (0.99999, "100 %")],
)
def test_share_is_not_rounded_to_none(value, written):
    assert share(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (1.23456, "1.23"), (123456.0, "1.23e+05"), (1e-7, "1.00e-07"), (float("inf"), "∞")],
)
def test_figure_has_three_digits(value, written):
    assert figure(value) == written


def test_picture_is_drawn_of_families_that_only_some_models_have(tmp_path):
    path = tmp_path / "picture.png"
    draw(TIGHTNESS, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_benchmarks_are_the_modules_that_measure():
    listed = names()
    assert {"coverage", "gas", "honest", "overhead", "soundness", "tightness"} <= set(listed)
    assert not {"__main__", "environment", "evaluation", "networks"} & set(listed)


def test_nodes_without_deviation_are_counted_apart_and_not_divided_by():
    torch.manual_seed(1)
    module, inputs = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), (torch.randn(2, 8),)
    bundle = trace(module, inputs)
    linears = [i for i, node in enumerate(bundle.graph.nodes) if node.operator == "contraction"]
    median, largest = tolerances(bundle, inputs)[linears[1]]

    def tolerance(index: int) -> NodeTolerance:
        deviations = (median / 4 if index == linears[1] else 0.0,) * len(GRID)
        return NodeTolerance(deviations, deviations)

    nodes = tuple(map(tolerance, range(len(bundle.graph))))
    profile = Profile(bundle.graph_root, nodes, (Device("a", ""), Device("b", "")), samples=1)
    assert ratios(bundle, profile, inputs) == {
        "contraction": {
            "nodes": 1,
            "nodes_bit_equal": 1,
            "ratio_median": pytest.approx(4),
            "ratio_max": pytest.approx(4),
            "ratio_of_largest_median": pytest.approx(4 * largest / median),
        }
    }


def test_run_is_rejected_above_an_exceedance_of_one():
    judged = Judged()
    judged.exceedances["contraction"] += [0.0, 1.0, 1.5]
    judged.exceedances["softmax"] += [float("inf")]
    assert (judged.rejected, len(judged.all_exceedances)) == (2, 4)


def test_searches_of_one_region_are_added_up_and_their_largest_reach_stands_beside_them():
    case = {"model": "M", "region": "deployed", "honest_rejected": 0.0}
    flips = {
        "samples": 10,
        "success_rate": 0.5,
        "samples_beyond_3x_drift": 4,
        "success_rate_beyond_3x_drift": 0.25,
    }
    none = {
        "samples": 30,
        "success_rate": 0.0,
        "samples_beyond_3x_drift": 0,
        "success_rate_beyond_3x_drift": None,
    }
    made = by_region(
        [case | flips | {"reach_over_drift": {"max": 4.0}}, case | none | {"reach_over_drift": {"max": 2.0}}]
    )
    assert "| M | deployed | 40 | 12.5 % | 4 | 25.0 % | 4 | 0.0 % |" in made


def test_cheats_stand_in_a_row_for_each_size_and_a_column_for_each_model():
    caught = {
        "cheat": "head_pruned",
        "size": 0.25,
        "detection_rate": 1.0,
        "route": "vote",
        "drift_ratio_median": 30.0,
    }
    passed = caught | {"detection_rate": 0.0, "route": None, "drift_ratio_median": 1.0}
    made = by_cheat([caught | {"model": "A"}, passed | {"model": "B"}, caught | {"model": "B", "size": None}])
    assert "| cheat | A | B |" in made
    assert "| head pruned 0.25 | 100.0 %, vote (30) | 0.0 % (1) |" in made and "| head pruned | – |" in made
