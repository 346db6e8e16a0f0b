"""The engine in one process with nothing left to chance but a seed: see docs/simulation.md."""
