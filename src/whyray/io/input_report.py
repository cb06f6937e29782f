"""What a reader ought to know about a picture before he believes an explanation of it. Pure checks on pixels and facts."""

from __future__ import annotations

from ..types import Radiograph


def input_report(radiograph: Radiograph) -> tuple[str, ...]:
    """Warnings, one sentence each: the file's own first, then what the pixels show."""
    return radiograph.warnings
