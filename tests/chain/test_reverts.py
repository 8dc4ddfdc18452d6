"""One selector has one meaning: a refusal that two contracts spell alike would be told wrongly."""

import pytest

from tao.chain.reverts import Errors


def abi(enum: str) -> list[dict]:
    stage = {"name": "stage", "type": "uint8", "internalType": f"enum {enum}"}
    return [{"type": "error", "name": "WrongStage", "inputs": [stage]}]


def test_an_error_that_two_contracts_read_differently_is_told_at_the_start():
    Errors([abi("IOperatorCommittee.Stage"), abi("IOperatorCommittee.Stage")])
    with pytest.raises(ValueError, match="WrongStage.uint8. means two things"):
        Errors([abi("IOperatorCommittee.Stage"), abi("ISumGame.Stage")])
