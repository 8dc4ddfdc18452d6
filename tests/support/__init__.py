"""Helpers of the tests: the protocol written a second time, and a thin wire to the test chain."""
