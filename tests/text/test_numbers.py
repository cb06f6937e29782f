"""Numbers in sentences."""

from __future__ import annotations

from whyray.text.numbers import apart


def test_two_that_differ_do_not_look_equal() -> None:
    assert apart(1.6449, 1.6421, 2) == ("1.645", "1.642") and apart(1.6, 1.7, 2) == ("1.60", "1.70")
    assert apart(0.5, 0.5, 1) == ("0.5", "0.5") and apart(1.0, 1.0 + 1e-15, 2)[0].startswith("1.0")
