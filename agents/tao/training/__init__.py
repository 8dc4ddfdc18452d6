"""Replayable training: a step as one graph, its numerics, its rounding log."""
