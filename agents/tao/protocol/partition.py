"""How a segment of operators is cut into children: the mirror of the contracts' Partition library."""


def degree(lo: int, hi: int, fan_out: int) -> int:
    """Number of children of the segment [lo, hi): min(fan_out, hi - lo)."""
    if not 0 <= lo < hi:
        raise ValueError(f"segment [{lo}, {hi}) is empty or negative")
    if fan_out < 2:
        raise ValueError(f"fan_out {fan_out} cannot partition; it must be at least 2")
    return min(fan_out, hi - lo)


def cuts(lo: int, hi: int, fan_out: int) -> tuple[int, ...]:
    """The degree + 1 cuts of the segment, both ends included.

    With q, r = divmod(hi - lo, degree), the first r children have q + 1 operators and the others q.
    """
    children = degree(lo, hi, fan_out)
    quotient, remainder = divmod(hi - lo, children)
    return tuple(lo + child * quotient + min(child, remainder) for child in range(children + 1))


def inner_cuts(lo: int, hi: int, fan_out: int) -> tuple[int, ...]:
    """The cuts whose states the prover reveals."""
    return cuts(lo, hi, fan_out)[1:-1]


def child(lo: int, hi: int, fan_out: int, index: int) -> tuple[int, int]:
    """The segment of child `index`."""
    bounds = cuts(lo, hi, fan_out)
    if not 0 <= index < len(bounds) - 1:
        raise ValueError(f"child {index} of [{lo}, {hi}) is out of range: there are {len(bounds) - 1}")
    return bounds[index], bounds[index + 1]


def segments(count: int, fan_out: int) -> tuple[tuple[int, int], ...]:
    """Every segment of two or more operators that a dispute about `count` operators can stand at.

    The whole graph, its children and so on down, in ascending order of (lo, -hi).
    """
    found, open_segments = [], [(0, count)]
    while open_segments:
        lo, hi = open_segments.pop()
        if hi - lo > 1:
            found.append((lo, hi))
            open_segments += [child(lo, hi, fan_out, index) for index in range(degree(lo, hi, fan_out))]
    return tuple(sorted(found, key=lambda segment: (segment[0], -segment[1])))
