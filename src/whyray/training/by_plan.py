"""Everything that is trained by a TOML plan, as ``api`` and the command line call it; torch is imported when called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..types import Report


def train_classifier(
    plan: str | Path, out: str | Path, *, changes: Sequence[str] = (), report: Report | None = None
) -> Path:
    """Train a classifier by a TOML plan (``changes``: ``key=value``); returns the bundle that ``load_model`` takes."""
    from .classifier import load_plan
    from .classifier import train_classifier as run

    return run(load_plan(Path(plan), changes), Path(out), report)


def train_autoencoder(
    plan: str | Path, out: str | Path, *, changes: Sequence[str] = (), report: Report | None = None
) -> Path:
    """Train an autoencoder by a TOML plan; returns the folder that ``latent_shift:autoencoder=FOLDER`` takes."""
    from .autoencoder import load_plan
    from .autoencoder import train_autoencoder as run

    return run(load_plan(Path(plan), changes), Path(out), report)


def train_nle(
    plan: str | Path,
    out: str | Path,
    *,
    activations: str | Path | None = None,
    changes: Sequence[str] = (),
    report: Report | None = None,
) -> Path:
    """Train a generator of explaining sentences by a TOML plan; returns the folder that ``dpt:sentences=FOLDER`` (or
    ratchet, tienet) takes, and, where a classifier was trained with it, ``load_model``."""
    from .nle import load_plan
    from .nle import train_nle as run

    stored = Path(activations) if activations else None
    return run(load_plan(Path(plan), changes), Path(out), report, activations=stored)


def train_text_autoencoder(
    plan: str | Path, out: str | Path, *, changes: Sequence[str] = (), report: Report | None = None
) -> Path:
    """Train a text autoencoder by a TOML plan; returns the folder that a plan of ``train wenlex`` names as ``text``."""
    from .text_autoencoder import load_plan
    from .text_autoencoder import train_text_autoencoder as run

    return run(load_plan(Path(plan), changes), Path(out), report)


def train_wenlex(
    plan: str | Path,
    out: str | Path,
    *,
    activations: str | Path | None = None,
    changes: Sequence[str] = (),
    report: Report | None = None,
) -> Path:
    """Train a generator of sentences from a few examples a diagnosis by a TOML plan; returns the folder that
    ``wenlex:generator=FOLDER`` takes, and, where a classifier was trained with it, ``load_model``."""
    from .wenlex import load_plan
    from .wenlex import train_wenlex as run

    stored = Path(activations) if activations else None
    return run(load_plan(Path(plan), changes), Path(out), report, activations=stored)


def run_recipe(
    plan: str | Path, out: str | Path, *, stages: Sequence[str] | None = None, report: Report | None = None
) -> Mapping[str, Path]:
    """Rebuild a stack of artefacts that belong together; returns stage -> what it made."""
    from .recipe import run_recipe as run

    return run(Path(plan), Path(out), stages=stages, report=report)
