"""Rows on the same draws: a difference says no more than its patients can."""

from __future__ import annotations

import pytest

from whyray.jobs._weak_table import Table
from whyray.metrics._terms import mean_term


@pytest.mark.parametrize(
    ("patients", "n", "p"),
    [("aaaaaa", 6, "p 1"), ("aabbcc", 6, "p 0.25"), ("abcdef", 6, "p 0.031"), ("abcdef", 2, "p 0.5")],
)
def test_a_handful_of_patients_proves_nothing(patients: str, n: int, p: str) -> None:
    """Every picture speaks for the first: 2 of 2 ^ patients by luck; ``n`` rows have at most ``n`` patients."""
    table = Table(list(patients), 0, 2000)
    table.add("first", [mean_term("m", "s", [0.5, 0.6, 0.5, 0.55, 0.5, 0.6])], n)
    table.add("second", [mean_term("m", "s", [0.4, 0.45, 0.45, 0.4, 0.4, 0.5])], n)
    found = table.compare("first", "second", "m")
    assert found is not None and found.low > 0 and found.note == p
