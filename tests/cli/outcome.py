"""What one command did."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """Exit code, and what was printed."""

    code: int
    out: str
    err: str
