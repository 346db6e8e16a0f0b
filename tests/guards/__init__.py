"""Guards taken out of a copy of the code, one at a time: the tests named for each must then fail.

`python -m tests.guards` (or `make guards`) runs it and writes docs/guards.md.
"""
