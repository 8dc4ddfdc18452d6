"""Training as a claim: steps replayed in float64 on the float32 grid, with a log of roundings in doubt."""
