"""A recipe: a TOML file whose tables ``[stage.NAME]`` build one stack of artefacts that belong together.

A stage is called after what it makes, with or without another word: ``autoencoder``, ``autoencoder_noise``.
A stage with ``start = "OTHER"`` begins with the weights of the stage OTHER, and has its settings where it sets none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingError, UnknownName
from ..io.whole import disk_errors, write_whole
from ..types import Report
from .activations import plan_from as activations_plan
from .activations import store_activations
from .autoencoder import plan_from as autoencoder_plan
from .autoencoder import train_autoencoder
from .classifier import train_classifier
from .measure import measured
from .nle import plan_from as nle_plan
from .nle import train_nle
from .plan import plan_from
from .settings import read_toml, stage_table
from .text_autoencoder import plan_from as text_plan
from .text_autoencoder import train_text_autoencoder
from .transcoders import plan_from as transcoders_plan
from .transcoders import train_transcoders
from .wenlex import plan_from as wenlex_plan
from .wenlex import train_wenlex

Stage = Callable[[Mapping[str, Any], Path, "Report | None"], Path]
"""(its table, its folder, report) -> what it made"""


def run_recipe(
    path: str | Path, out: Path, *, stages: Sequence[str] | None = None, report: Report | None = None
) -> Mapping[str, Path]:
    """Run the stages (all, or those named) in the order of the file; returns stage -> what it made, in ``out/STAGE``.

    A stage that was stopped goes on where it was; one that is done ends at once. ``out/recipe.json`` says which
    classifier everything belongs to. Raises SettingError, UnknownName for an unknown stage, and what a stage raises.
    """
    tables = read_toml(path).get("stage", {})
    if not isinstance(tables, Mapping) or not tables:
        raise SettingError(f"{path} has no table [stage.NAME]; a recipe has at least [stage.classifier]")
    for name in (*tables, *(stages or ())):
        if _made_by(name) is None or name not in tables:
            raise UnknownName("stage", name, tuple(t for t in tables if _made_by(t)))
    made: dict[str, Path] = {}
    for name, table in tables.items():
        if stages is None or name in stages:
            start = table.get("start")
            settings = {**stage_table(tables, name), **({"init": str(out / start)} if start else {})}
            make = _made_by(name)
            assert make is not None
            made[name] = make(settings, out / name, report)
    with disk_errors(out):
        paths = {k: str(v) for k, v in made.items()}
        facts = {"recipe": Path(path).name, "fingerprint": _fingerprint(out), "made": paths}
        write_whole(out / "recipe.json", (json.dumps(facts, indent=1) + "\n").encode())
    return made


def _made_by(name: str) -> Stage | None:
    """What runs a stage of this name."""
    return STAGES.get(name.partition("_")[0])


def _classifier(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    plan = plan_from(table)
    return measured(_pretraining(table, out, report), plan, report=report)


def _pretraining(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """A classifier that a later stage starts from: it is not measured on the test split."""
    return train_classifier(plan_from(table), out, report, cache=out.parent / "cache")


def _autoencoder(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """For the classifier of the same stack, unless the table names another."""
    plan = autoencoder_plan({"classifier": str(out.parent / "classifier"), **table})
    return train_autoencoder(plan, out, report, cache=out.parent / "cache")


def _activations(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """Of the classifier of the same stack, unless the table names another."""
    return store_activations(activations_plan({"classifier": str(out.parent / "classifier"), **table}), out, report)


def _transcoders(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """On the activations of the same stack."""
    return train_transcoders(transcoders_plan(table), out.parent / "activations", out, report)


def _sentences(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """For the classifier of the same stack, or with one of its own where the stack has none."""
    stack = out.parent / "classifier"
    whose = {"classifier": str(stack)} if (stack / "model.json").is_file() else {}
    activations = out.parent / "activations"
    stored = activations if (activations / "activations.json").is_file() else None
    return train_nle(nle_plan({**whose, **table}), out, report, activations=stored)


def _text(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """Of no classifier."""
    return train_text_autoencoder(text_plan(table), out, report)


def _wenlex(table: Mapping[str, Any], out: Path, report: Report | None) -> Path:
    """For the classifier of the same stack, with its text autoencoder and its activations, unless the table names
    others."""
    stack = {"classifier": str(out.parent / "classifier"), "text": str(out.parent / "text")}
    activations = out.parent / "activations"
    stored = activations if (activations / "activations.json").is_file() else None
    return train_wenlex(wenlex_plan({**stack, **table}), out, report, activations=stored)


def _fingerprint(out: Path) -> str | None:
    """Fingerprint of the classifier in a stack, or None before it is made."""
    try:
        return str(json.loads((out / "classifier/model.json").read_text())["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None


STAGES: dict[str, Stage] = {
    "pretraining": _pretraining,
    "classifier": _classifier,
    "autoencoder": _autoencoder,
    "activations": _activations,
    "transcoders": _transcoders,
    "sentences": _sentences,
    "text": _text,
    "wenlex": _wenlex,
}
