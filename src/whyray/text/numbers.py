"""Numbers in sentences: two that differ do not look equal."""

from __future__ import annotations

MOST_DIGITS = 12


def apart(first: float, second: float, digits: int) -> tuple[str, str]:
    """Two numbers with ``digits`` decimals; with more where they differ and would look equal."""
    while first != second and f"{first:.{digits}f}" == f"{second:.{digits}f}" and digits < MOST_DIGITS:
        digits += 1
    return f"{first:.{digits}f}", f"{second:.{digits}f}"
