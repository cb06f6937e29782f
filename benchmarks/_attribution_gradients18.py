"""Integrated gradients of 18 findings: ours shares the forward passes, captum is called 18 times."""

from __future__ import annotations

from _attribution_gradients import contestants as of_some
from attribution import Contestant, Subject


def contestants(subject: Subject) -> list[Contestant]:
    """As for one finding."""
    return of_some(subject, findings=18)
