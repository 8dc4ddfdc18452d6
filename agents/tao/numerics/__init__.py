"""What an operator may deviate by: proven bounds, calibrated profiles, kernel variants.

This file imports nothing: `tao.numerics.variants` must be usable before torch is imported.
"""
