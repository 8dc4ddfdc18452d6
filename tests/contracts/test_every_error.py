"""Every custom error that a contract can answer with is met by name in some test."""

import re
from pathlib import Path

from support.deployment import FAMILIES, adjudicator

TESTS = Path(__file__).parent.parent
# A timestamp beyond 64 bits: no block can have it.
UNREACHABLE = {"SafeCastOverflowedUintDowncast"}
CONTRACTS = (
    "BondVault",
    "ModelRegistry",
    "ClaimRegistry",
    "DisputeGame",
    "SumGame",
    "OperatorCommittee",
    *(adjudicator(family) for family in FAMILIES),
)


def test_every_custom_error_has_a_test(project):
    text = "\n".join(
        path.read_text()
        for suffix in ("*.py", "*.sol")
        for path in TESTS.rglob(suffix)
        if "mocks" not in path.parts
    )
    words = set(re.findall(r"\w+", text))
    errors = {
        (name, error.name) for name in CONTRACTS for error in getattr(project, name).contract_type.errors
    }
    assert len(errors) > 60
    untested = sorted(f"{contract}.{error}" for contract, error in errors if error not in words | UNREACHABLE)
    assert not untested, f"no test names these errors: {untested}"
