"""What a deployed contract offers is what its interface says, where it is documented."""

import pytest

from tao.chain.build import ContractType, load_build
from tao.chain.deployment import ADJUDICATORS, CONTRACTS

OF_ADJUDICATORS = ("IAdjudicator", "ICalibratedAdjudicator", "IPartialSums")


def functions(contract: ContractType) -> set[tuple[str, ...]]:
    """Names, and types of what they take."""
    return {
        (entry["name"], *(given["type"] for given in entry["inputs"]))
        for entry in contract.abi
        if entry["type"] == "function"
    }


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_function_of_a_contract_is_one_of_its_interface(name: str) -> None:
    build = load_build()
    interfaces = OF_ADJUDICATORS if name in ADJUDICATORS else (f"I{name}",)
    documented = set().union(*(functions(build[interface]) for interface in interfaces))
    own = functions(build[name])
    assert own and own <= documented
