"""Crash tests: every flow dies at each crashpoint it passes, starts again, and must end as if nothing had been.

`python -m tests.faults --list` shows what there is, `docs/faults.md` how it works.
"""
