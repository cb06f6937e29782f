"""What patterns are made from, by a TOML plan: activations, and transcoders trained on them; for ``api``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..types import Report


def store_activations(
    plan: str | Path | None,
    out: str | Path,
    *,
    changes: Mapping[str, object] | None = None,
    report: Report | None = None,
) -> Path:
    """Write the activations of data sets by a TOML plan (or none) with ``changes`` put in; returns the folder."""
    from .activations import plan_with
    from .activations import store_activations as run

    return run(plan_with(plan, changes or {}), Path(out), report)


def train_transcoders(
    plan: str | Path,
    activations: str | Path,
    out: str | Path,
    *,
    changes: Sequence[str] = (),
    report: Report | None = None,
) -> Path:
    """Train an ensemble of transcoders on stored activations by a TOML plan; returns the ensemble's folder."""
    from .transcoders import load_plan
    from .transcoders import train_transcoders as run

    return run(load_plan(Path(plan), changes), Path(activations), Path(out), report)
