"""Measurements. `make bench NAME=<name>` runs one and writes results/<name>.json."""
