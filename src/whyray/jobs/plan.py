"""What an evaluation does, as a frozen dataclass and as TOML: equal plans give equal cells, and the same table."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..contracts import in_range
from ..errors import DataError, SettingError, UnknownName
from ..findings import finding as canonical
from ..metrics._intervals import REPLICATES, Scheme
from ..metrics._masks import Mode, Sign
from ..training.settings import expanded, from_mapping, read_toml, with_changes
from ..types import Case
from ._changes import WhatIf
from ._faithful import Trial

Kind = Literal["localisation", "faithfulness", "counterfactual"]
Pairs = Literal["predicted", "present", "all"]
OPERATING: Literal["operating"] = "operating"


@dataclass(frozen=True)
class Localise:
    """How maps are scored against experts' regions. Every field is recorded beside the figures.

    sign       which half of a signed map counts; ``signs`` = explainer (name or specification) -> another choice.
    modes      how a map becomes a mask; each gives its own rows.
    share      of the picture, for "top_k".
    smooth_px  side of a box filter before everything, in source pixels; 0 = none.
    tolerance_px, tolerance_mm  give rows "hit_tolerance" beside "hit"; millimetres need a pixel spacing.
    cutoff     full IoU: below this probability the mask is empty. "operating" = below the card's operating point;
               0 = never, as published.
    scheme     intervals: "patient", or "chexlocalize" (by picture, 1000 replicates, as published).
    """

    sign: Sign = "positive"
    signs: Mapping[str, Sign] = field(default_factory=dict)
    modes: tuple[Mode, ...] = ("otsu_filled", "tuned", "area_matched", "top_k")
    share: float = 0.05
    smooth_px: int = 0
    tolerance_px: float = 0.0
    tolerance_mm: float | None = None
    cutoff: float | Literal["operating"] = OPERATING
    scheme: Scheme = "patient"

    def __post_init__(self) -> None:
        for name, value, known in (("sign", self.sign, get_args(Sign)), ("scheme", self.scheme, get_args(Scheme))):
            if value not in known:
                raise UnknownName(name, str(value), known)
        for value in self.signs.values():
            if value not in get_args(Sign):
                raise UnknownName("sign", str(value), get_args(Sign))
        for mode in self.modes:
            if mode not in get_args(Mode):
                raise UnknownName("mask mode", str(mode), get_args(Mode))
        if not self.modes:
            raise SettingError(f"modes = [] came; give at least one of {', '.join(get_args(Mode))}")
        in_range("share", self.share, 0, 1)
        in_range("smooth_px", self.smooth_px, 0, 10_000)
        in_range("tolerance_px", self.tolerance_px, 0, 10_000)
        in_range("tolerance_mm", self.tolerance_mm or 0.0, 0, 1000)
        if self.cutoff != OPERATING:
            in_range("cutoff", float(self.cutoff), 0, 1)
        if self.tolerance_px and self.tolerance_mm:
            raise SettingError("a tolerance came in pixels and in millimetres; give one of them")

    def sign_of(self, label: str) -> Sign:
        """The sign policy of an explainer by its specification, else by its name."""
        return self.signs.get(label, self.signs.get(label.partition(":")[0], self.sign))


@dataclass(frozen=True)
class EvaluationPlan:
    """A whole evaluation.

    dataset, model  as on the command line; ``$NAME`` comes from the environment.
    explainers  ``name`` or ``name:key=value,...`` (in TOML also ``{name = "lime", segments = 50}``); controls join.
    findings    which to measure, any spelling; empty = all that the classifier and the data set share.
    map         finding of the classifier -> names of the experts' regions that count as it; else the same name.
    where       only cases whose facts have these values, such as {dataset = "NIH ChestX-ray14"}.
    limit       the first N of them.
    batch       radiographs that are explained together.
    pairs       faithfulness: the findings of a picture that are "predicted", "present", or "all".
    """

    dataset: str
    model: str = "mini"
    explainers: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    map: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    seed: int = 0
    replicates: int = REPLICATES
    batch: int = 8
    pairs: Pairs = "predicted"
    localisation: Localise = field(default_factory=Localise)
    faithfulness: Trial = field(default_factory=Trial)
    counterfactual: WhatIf = field(default_factory=WhatIf)

    def __post_init__(self) -> None:
        in_range("seed", self.seed, 0, 2**31)
        in_range("replicates", self.replicates, 0, 1_000_000)
        in_range("batch", self.batch, 1, 1024)
        if self.limit is not None:
            in_range("limit", self.limit, 1, 10**9)
        named = {canonical(f): tuple(region_name(r) for r in regions) for f, regions in self.map.items()}
        object.__setattr__(self, "map", named)
        object.__setattr__(self, "findings", tuple(canonical(f) for f in self.findings))

    def chosen(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The cases that are measured."""
        if self.where:
            cases = [c for c in cases if all(str(c.facts.get(k)) == v for k, v in self.where.items())]
            if not cases:
                told = ", ".join(f"{k}={v}" for k, v in self.where.items())
                raise DataError(f"no case has {told}; look at the columns of the data set")
        return cases[: self.limit]


def region_name(label: str) -> str:
    """Canonical finding where it is one; else the annotator's own word, in lower case with underscores."""
    try:
        return canonical(label)
    except UnknownName:
        return "_".join(label.strip().lower().replace("-", " ").split())


def load_plan(path: str | Path, changes: Sequence[str] = ()) -> EvaluationPlan:
    """The plan of a TOML file, or of its table ``[evaluate]``, with ``key=value`` put in. An unknown key fails."""
    values = read_toml(path)
    return plan_from(with_changes(values.get("evaluate", values), changes), Path(path).name)


def plan_with(path: str | Path | None, changes: Mapping[str, Any]) -> EvaluationPlan:
    """The plan of a TOML file (or none) with ``changes`` put in; a table of ``changes`` is merged into the plan's."""
    values = dict(read_toml(path)) if path else {}
    values = dict(values.get("evaluate", values))
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
        values[key] = {**values[key], **value} if both else value
    if "dataset" not in values:
        raise SettingError('no data set came; name one: -d phantom#test, -d folder:PATH, dataset = "..." in the plan')
    return plan_from(values, Path(path).name if path else "plan")


def plan_from(values: Mapping[str, Any], where: str = "plan") -> EvaluationPlan:
    """The plan of TOML values. Raises SettingError with the choices."""
    values = dict(values)
    if isinstance(values.get("explainers"), list | tuple):
        values["explainers"] = [_specification(e, where) for e in values["explainers"]]
    if isinstance(values.get("map"), Mapping):
        values["map"] = {k: [v] if isinstance(v, str) else v for k, v in values["map"].items()}
    for key in ("dataset", "model"):
        if isinstance(values.get(key), str):
            values[key] = expanded(values[key])
    return from_mapping(EvaluationPlan, values, where)


def to_toml(plan: EvaluationPlan) -> str:
    """The plan as TOML; ``plan_from`` reads it back equal."""
    values = dataclasses.asdict(plan)
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    lines = [f"{k} = {_toml(v)}" for k, v in values.items() if v is not None and k not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{_key(k)} = {_toml(v)}" for k, v in table.items() if v is not None)]
    return "\n".join(lines) + "\n"


def mapping_from(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``FINDING=REGION,REGION`` options as a map. Raises SettingError for another form."""
    out: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        finding, equals, regions = pair.partition("=")
        names = tuple(r.strip() for r in regions.split(",") if r.strip())
        if not equals or not finding.strip() or not names:
            raise SettingError(
                f"{pair!r} came; write FINDING=REGION, such as --map lung_opacity=pneumonia,infiltration"
            )
        out[finding.strip()] = (*out.get(finding.strip(), ()), *names)
    return out


def where_from(options: Sequence[str]) -> dict[str, str]:
    """``FACT=VALUE`` options as ``where``."""
    pairs = [option.partition("=") for option in options]
    for option, (key, equals, _) in zip(options, pairs, strict=True):
        if not equals or not key:
            raise SettingError(f"{option!r} came; write FACT=VALUE, such as --where 'dataset=NIH ChestX-ray14'")
    return {key: value for key, _, value in pairs}


def signs_from(options: Sequence[str]) -> dict[str, Any]:
    """``SIGN`` or ``EXPLAINER=SIGN`` options as the fields ``sign`` and ``signs`` of ``Localise``."""
    out: dict[str, Any] = {}
    for option in options:
        explainer, equals, sign = option.rpartition("=")
        if equals:
            out.setdefault("signs", {})[explainer] = sign
        else:
            out["sign"] = sign
    return out


def _specification(value: Any, where: str) -> Any:
    """``{name = "lime", segments = 50}`` as ``lime:segments=50``."""
    if not isinstance(value, Mapping):
        return value
    if not isinstance(value.get("name"), str):
        raise SettingError(f'{where}.explainers: {value!r:.60} has no name; write {{name = "lime", segments = 50}}')
    settings = ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in value.items() if k != "name")
    return f"{value['name']}:{settings}" if settings else value["name"]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    """Bare where TOML allows it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
