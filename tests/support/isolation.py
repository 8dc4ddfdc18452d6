"""Snapshots that let exceptions through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def isolated(chain: Any) -> Iterator[None]:
    """Undo on the way out what the body did to the chain, an `ape` chain or a `Wire`.

    Ape's own context manager of this purpose swallows every exception of its body.
    """
    snapshot = chain.snapshot()
    try:
        yield
    finally:
        chain.restore(snapshot)
