"""What calibration does unless told otherwise.

Importing this loads no torch: a command line shows it before the kernels are chosen.
"""

import math

SAFETY = 3.0
"""Deviations are rejected beyond this many times the calibrated ones."""

SEGMENT_SAFETY = 2.0
"""The same for segments, whose thresholds already are in units of what rounding does there."""

FAN_OUT = 16
"""Children of a segment in a dispute: the deployment's parameter."""


def is_factor(safety: float) -> bool:
    """Whether thresholds may be multiplied by it: no device that was calibrated on is rejected then."""
    return math.isfinite(safety) and safety >= 1
