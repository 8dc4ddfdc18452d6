"""Clocks: the mirror of the contracts' Clock library, in seconds. A deadline is the last second in time."""


def deadline(start: int, left: int) -> int:
    """Last second at which a turn that began at `start` with `left` seconds may be played."""
    return start + left


def is_expired(now: int, start: int, left: int) -> bool:
    """True from the second after the deadline on."""
    return now > deadline(start, left)
