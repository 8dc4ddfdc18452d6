"""A dispute about a long row, for the attacks on its sums."""

from __future__ import annotations

import pytest

from support.sums import SumPlay


@pytest.fixture
def game(play) -> SumPlay:
    game = SumPlay(play)
    assert game.phase == "leaf" if game.dispute else False
    return game
