"""How a segment of operators is cut into children: the mirror of the contracts' Partition library.

A segment is dealt out in units, which are whole steps while it is longer than one and single operators from
then on; `unit` is the number of operators of one.
"""


def unit_of(lo: int, hi: int, node_count: int) -> int:
    """Operators of a unit of the segment [lo, hi) of a run whose steps have `node_count` each."""
    return node_count if hi - lo > node_count else 1


def degree(lo: int, hi: int, fan_out: int, unit: int = 1) -> int:
    """Number of children of the segment [lo, hi): min(fan_out, (hi - lo) / unit)."""
    if not 0 <= lo < hi:
        raise ValueError(f"segment [{lo}, {hi}) is empty or negative")
    if fan_out < 2:
        raise ValueError(f"fan_out {fan_out} cannot partition; it must be at least 2")
    if (hi - lo) % unit:
        raise ValueError(f"segment [{lo}, {hi}) is no whole number of units of {unit}")
    return min(fan_out, (hi - lo) // unit)


def cuts(lo: int, hi: int, fan_out: int, unit: int = 1) -> tuple[int, ...]:
    """The degree + 1 cuts of the segment, both ends included.

    With q, r = divmod((hi - lo) / unit, degree), the first r children have q + 1 units and the others q.
    """
    children = degree(lo, hi, fan_out, unit)
    quotient, remainder = divmod((hi - lo) // unit, children)
    return tuple(lo + (child * quotient + min(child, remainder)) * unit for child in range(children + 1))


def inner_cuts(lo: int, hi: int, fan_out: int, unit: int = 1) -> tuple[int, ...]:
    """The cuts whose states the prover reveals."""
    return cuts(lo, hi, fan_out, unit)[1:-1]


def child(lo: int, hi: int, fan_out: int, index: int, unit: int = 1) -> tuple[int, int]:
    """The segment of child `index`."""
    bounds = cuts(lo, hi, fan_out, unit)
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
