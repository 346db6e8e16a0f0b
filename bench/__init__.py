"""Measured figures, each beside its limit taken in the same run: `python -m bench` (docs/bench.md)."""
