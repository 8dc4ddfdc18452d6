"""Undoing what a test does must not undo its failure."""

import re
from pathlib import Path

import pytest

from support.isolation import isolated

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
BANNED = re.compile(r"\bchain\.isolate\s*\(")
UPSTREAM = "chain" + ".isolate("


def test_our_isolation_lets_exceptions_through_and_undoes_the_chain(chain, wire):
    block = chain.blocks.height
    with pytest.raises(ZeroDivisionError), isolated(chain):
        chain.mine(2)
        raise ZeroDivisionError
    assert chain.blocks.height == block


def test_ape_still_swallows_exceptions_in_its_own_isolation(chain):
    """Fails when Ape mends it: then `support.isolation` can go, and the ban below with it."""
    survived = False
    with getattr(chain, "isolate")():  # noqa: B009
        raise ZeroDivisionError
    survived = True
    assert survived


def test_apes_own_isolation_is_used_nowhere():
    sources = [path for folder in (TESTS, ROOT / "agents", ROOT / "scripts") for path in folder.rglob("*.py")]
    assert len(sources) > 20
    used = [path for path in sources if path != Path(__file__) and BANNED.search(path.read_text())]
    assert not used, f"{UPSTREAM} hides the failures of its body; use support.isolation.isolated: {used}"
