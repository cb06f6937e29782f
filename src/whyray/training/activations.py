"""Which activations to store, by a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts import Classifier
from ..errors import DataError, SettingError, listed
from ..models._clip_text import text_tower
from ..patterns.activations import Layout, Numbers, Part, write_activations
from ..patterns.reports import write_reports
from ..patterns.site import site_of
from ..types import Case, Report
from .examples import dataset_of
from .lock import locked
from .plan import Source
from .settings import expanded, from_mapping, read_toml, stage_table


@dataclass(frozen=True)
class ActivationsPlan:
    """Activations to store.

    data      as in the other plans: ``spec``, ``name`` and ``where`` of each are used.
    splits    of each data set; one that a data set does not have is left out.
    tap, out  what a transcoder reads, and what it writes where that is another tap: "features" (every cell),
              "embedding" (one vector an image), or any other tap of the classifier.
    numbers   "float16" or "float32".
    shard     pictures a file.
    reports   release in open_clip's layout: its text tower embeds the Findings of each report beside the activations.
    """

    classifier: str
    data: tuple[Source, ...]
    splits: tuple[str, ...] = ("train", "val")
    tap: str = "features"
    out: str = ""
    numbers: Numbers = "float16"
    shard: int = 256
    reports: str = ""

    def __post_init__(self) -> None:
        if not self.data or not self.splits:
            raise SettingError("the plan needs at least one data set and one split")
        if self.shard < 1:
            raise SettingError(f"shard={self.shard} came; give a number above 0")


def plan_from(table: Mapping[str, Any]) -> ActivationsPlan:
    """The plan in a table that was read."""
    return from_mapping(ActivationsPlan, table, "the plan")


def plan_with(path: str | Path | None, changes: Mapping[str, object]) -> ActivationsPlan:
    """The plan of a TOML file or recipe (or none), with other values of its fields; ``data`` = specs."""
    found = read_toml(path) if path else {}
    table = stage_table(found["stage"], "activations") if "activations" in found.get("stage", {}) else found
    changed = dict(changes)
    if "data" in changed:
        changed["data"] = [{"spec": spec, "name": spec} for spec in changed["data"]]  # type: ignore[attr-defined]
    return plan_from({"classifier": "mini", **table, **changed})


def store_activations(
    plan: ActivationsPlan, out: Path, report: Report | None = None, *, classifier: Classifier | None = None
) -> Path:
    """Write the plan's activations into ``out``; returns it. Run again after a stop, it goes on where it was.

    classifier  the plan's, where it is loaded already.
    Raises SettingError, DataError, UnmetNeed (a classifier without such taps), LockedError, DiskFullError.
    """
    from ..models._resolve import load_model

    classifier = classifier or load_model(plan.classifier)
    site = site_of(classifier, plan.tap, plan.out or None)
    with locked(out):
        parts = [Part(source.spec, _cases(source, plan.splits)) for source in plan.data]
        layout = Layout(plan.shard, numbers=plan.numbers)
        made = write_activations(classifier, parts, out, site=site, layout=layout, report=report)
        if plan.reports:
            without = write_reports(parts, made, text_tower(expanded(plan.reports)), report=report)
            if without and report is not None:
                report(0, 0, _lacking(without))
        return made


def _lacking(without: Mapping[str, str]) -> str:
    """Which cases have no report embedding, and why, in one sentence."""
    reasons = listed(sorted(set(without.values())), 200)
    return f"without a report embedding: {len(without)} cases ({listed(list(without))}), as {reasons}"


def _cases(source: Source, splits: Sequence[str]) -> list[Case]:
    """The cases of these splits, as far as the data set has them; all of a data set without splits."""
    cases = [c for c in dataset_of(source).cases() if not c.split or c.split in splits]
    chosen = [c for c in cases if all(str(c.facts.get(k, "")) == v for k, v in source.where.items())]
    if not chosen:
        raise DataError(f"{source.spec} has no cases of {', '.join(splits)} where {dict(source.where)}; check the plan")
    return chosen
