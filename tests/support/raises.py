"""`with refused("WrongPhase"):` the body's transaction reverts with that custom error and these arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.wire import Reverted


@contextmanager
def refused(error: str, *values: Any) -> Iterator[None]:
    """`values`, where given, are the error's arguments in order."""
    with pytest.raises(Reverted) as caught:
        yield
    assert caught.value.error == error, f"expected {error}, got {caught.value}"
    if values:
        assert caught.value.values == values
