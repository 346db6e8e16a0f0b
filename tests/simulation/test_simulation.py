"""The simulation itself: one seed is one run, whatever ran before, and what is wrong is found."""

from __future__ import annotations

from tests.simulation import plants, runner

#: Many more than it takes: which of them shows it changes with every step that the engine takes more or less.
SEEDS = range(1000, 1100)


def test_a_seed_is_one_run_whatever_ran_before() -> None:
    """Story for story, also after other runs in the same process."""
    alone = runner.play(42)
    runner.play(7)
    again = runner.play(42)
    assert alone.violations == again.violations == []
    assert alone.story == again.story
    assert (alone.counts, alone.places) == (again.counts, again.places)


def test_seeds_differ() -> None:
    assert runner.play(1).story != runner.play(2).story


def test_some_seeds_of_each_kind_of_run_hold() -> None:
    assert [result.violations for result in map(runner.play, range(100, 110)) if result.violations] == []


def test_a_planted_fault_is_found() -> None:
    with plants.planted("a hold is not given back"):
        assert any(runner.play(seed).violations for seed in SEEDS)
