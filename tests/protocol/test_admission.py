"""Which models a prover takes on: those whose states fit the transactions that reveal them."""

from types import SimpleNamespace

import pytest
from eth_abi import encode

from tao.errors import ModelError
from tao.roles.admission import (
    MAX_REVEALED,
    MAX_VALUES,
    require_inference,
    require_short_reveals,
    revealed_bytes,
)

REVEAL = ["bytes32", "uint32", "uint32", "bytes32[][]", "bytes32[][]"]


class Graph:
    """As long as it is told, with so many values live at every cut."""

    def __init__(self, operators, values):
        self.operators, self.values = operators, values

    def __len__(self):
        return self.operators

    def live(self, cut):
        return range(self.values)


def bundle(operators, values, steps=1):
    return SimpleNamespace(graph=Graph(operators, values), steps=steps)


@pytest.mark.parametrize("height", [0, 7])
def test_a_reveals_size_is_that_of_its_call(height):
    word = b"w" * 32
    values = [3, 0, 17]
    states = [[word] * count for count in values]
    paths = [[word] * height for _ in values] if height else []
    call = b"four" + encode(REVEAL, [word, 1, 2, states, paths])
    assert revealed_bytes(values, height) == len(call)


def test_states_that_fit_one_by_one_and_not_together_are_refused():
    values = MAX_REVEALED // 32 // 15
    require_short_reveals(bundle(100, values - 4), 16)
    with pytest.raises(
        ModelError, match=r"states of operators 0 to 99 take 13\d,\d+ bytes.*fan-out below 16"
    ):
        require_short_reveals(bundle(100, values + 4), 16)
    require_short_reveals(bundle(100, values + 4), 8)


def test_a_run_of_many_steps_reveals_the_states_between_them():
    require_short_reveals(bundle(1, 250), 16)
    require_short_reveals(bundle(1, 250, steps=8), 16)
    with pytest.raises(ModelError, match="states of 1000 steps take"):
        require_short_reveals(bundle(1, 265, steps=1000), 16)


def test_a_state_longer_than_the_contract_takes_is_refused_by_the_operator():
    with pytest.raises(ModelError, match=f"{MAX_VALUES + 1} values are live before operator 0"):
        require_short_reveals(bundle(1, MAX_VALUES + 1), 2)


def test_who_takes_a_training_job_for_a_model_is_told_which_roles_play_it():
    require_inference(bundle(3, 1))
    job = SimpleNamespace(model_id=bytes(32), steps=8)
    with pytest.raises(ModelError, match=r"is a training job of 8 steps; use `tao trainer` or `tao auditor`"):
        require_inference(job)
