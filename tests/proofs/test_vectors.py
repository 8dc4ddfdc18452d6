"""The vectors of the Solidity tests, and the Python mirror of the contract on them."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from struct import unpack_from

from tao.numerics.dot import accusable, exceeds, refuted, violates, window_exponent

FORGE = Path(__file__).resolve().parents[1] / "forge"
spec = importlib.util.spec_from_file_location("generate_vectors", FORGE / "generate_vectors.py")
vectors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(vectors)


def cases(data: bytes, calibrated: bool = False):
    at = 0
    while at < len(data):
        window, lanes, has_bias, expected, y, bias = unpack_from(">HHBBII", data, at)
        at += 14
        theta = unpack_from(">I", data, at) if calibrated else ()
        at += 4 * len(theta)
        words = unpack_from(f">{2 * lanes}I", data, at)
        at += 8 * lanes
        yield (
            window,
            expected,
            y,
            bias if has_bias else None,
            list(words[:lanes]),
            list(words[lanes:]),
            *theta,
        )


def test_the_committed_vectors_are_the_generators():
    assert vectors.PATH.read_bytes() == vectors.generate(1, 2600)
    calibrated = vectors.generate(1, 2600, vectors.Generator.calibrated_case)
    assert vectors.THETA_PATH.read_bytes() == calibrated


def test_the_mirror_gives_every_expected_verdict():
    seen = Counter()
    for window, expected, y, bias, a, b in cases(vectors.PATH.read_bytes()):
        verdict = refuted(y, a, b, bias, window)
        assert verdict == (expected == vectors.REFUTE)
        assert violates(y, a, b, bias) == (expected == vectors.REFUTE)
        if expected in (vectors.ACCEPT, vectors.REFUTE):
            assert window == window_exponent(a, b, bias)
        seen[expected] += 1
    assert min(seen[expected] for expected in range(4)) > 20


def test_the_mirror_gives_every_expected_verdict_of_theta():
    seen = Counter()
    for window, expected, y, bias, a, b, theta in cases(vectors.THETA_PATH.read_bytes(), calibrated=True):
        beyond = expected == vectors.REFUTE
        assert accusable(y, a, b, bias, window, theta) == beyond
        assert exceeds(y, a, b, bias, theta) == beyond
        seen[expected] += 1
    assert min(seen[expected] for expected in range(4)) > 20
