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
    layer: str | None = None,
    device: str = "cpu",
    weights: str | Path | None = None,
    card: str | Path | None = None,
    report: Report | None = None,
) -> Path:
    """Write the activations of data sets by a TOML plan (or none) with ``changes`` put in; returns the folder.

    layer, device, weights, card  of the plan's classifier, as ``load_model`` takes them.
    """
    from ..models._resolve import load_model
    from .activations import plan_with
    from .activations import store_activations as run

    asked = plan_with(plan, changes or {})
    classifier = load_model(asked.classifier, layer=layer, device=device, weights=weights, card=card)
    return run(asked, Path(out), report, classifier=classifier)


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
