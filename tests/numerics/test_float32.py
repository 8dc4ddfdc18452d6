"""Float32 encodings against IEEE 754 as numpy has it."""

from fractions import Fraction

import numpy as np

from support import rounded_cases as cases
from tao.numerics import float32


def numbers(seed: int, count: int):
    """Rationals with and without ties, of all sizes."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        significand = int(random.integers(1, 2**24)) << 29
        significand |= int(random.choice([0, 1 << 28, (1 << 28) + 1, (1 << 28) - 1, random.integers(2**29)]))
        exponent = int(random.integers(-215, 85))
        yield int(random.choice([-1, 1])) * significand * Fraction(2) ** exponent


def test_nearest_is_numpys_cast_from_float64():
    for x in numbers(1, 20_000):
        with np.errstate(over="ignore"):
            expected = int(np.float32(float(x)).view(np.uint32))
        assert float32.nearest(x) == float32.order(expected), x
    assert float32.nearest(Fraction(0)) == 0


def test_nearest_of_float32_numbers_is_themselves_and_order_is_theirs():
    bits = sorted(cases.bits_of([0.0, 2.0**-149, 1.5, 3.4e38])) + [0x007FFFFF, 0x00800000, 0x7F7FFFFF]
    for x in (*bits, *(b | float32.SIGN for b in bits)):
        assert float32.nearest(float32.value(x)) == float32.order(x)
        assert float32.encoding(float32.order(x)) in (x, x ^ float32.SIGN)
    orders = sorted(map(float32.order, bits))
    assert orders == [float32.order(b) for b in sorted(bits, key=lambda b: float(float32.value(b)))]
