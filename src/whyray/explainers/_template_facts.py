"""What the explanations of one run say of one finding: the facts that statements are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..explanations import Attribution, Counterfactual, Explanation, PatternSum
from ..text.nle import GRAPH
from ..types import Prediction, Radiograph
from ._latent_path import FIDELITY, SEEN
from ._place import Place, alike, place
from .centre import bump
from .patterns import LITTLE

if TYPE_CHECKING:
    from ..io.frontal import Chest

Earlier = Mapping[tuple[str, str, str], Explanation]

# findings of the whole heart, mediastinum or both lungs: a side would say nothing
UNSIDED = frozenset(
    [
        "aortic_enlargement",
        "cardiomegaly",
        "copd",
        "edema",
        "emphysema",
        "enlarged_cardiomediastinum",
        "enlarged_pulmonary_artery",
        "hernia",
        "interstitial_lung_disease",
        "mediastinal_shift",
        "no_finding",
        "other_disease",
    ]
)
CONTROLS = ("edges", "random")  # read where the run holds them; the centre is always compared
ALIKE = 0.8  # a map that correlates so much with a control is no better than it
LEAD = 3  # patterns that are named


@dataclass(frozen=True)
class Sign:
    """Another finding that the model calls and on which reports base this one (the evidence label of MIMIC-NLE).

    together  correlation of the two maps; NaN where the run holds no map of the sign.
    """

    finding: str
    probability: float
    together: float


@dataclass(frozen=True)
class Carried:
    """The patterns that carry a prediction: how many, their share of what speaks for it, the first by name, and the
    probability without the first of all."""

    size: int
    share: float
    names: tuple[str, ...]
    without: float

    @property
    def little(self) -> bool:
        """Whether most of what speaks for the finding has no name."""
        return self.share < LITTLE


@dataclass(frozen=True)
class Changed:
    """What redrawing the picture did to the probability, and where it changed the picture.

    faithful  whether the reconstruction kept the prediction before anything was moved.
    """

    before: float
    after: float
    place: Place
    faithful: bool


@dataclass(frozen=True)
class Facts:
    """Everything a statement may say; what the run does not hold is None.

    signs     whether the model has operating points for signs on which reports base the finding.
    alike     (control, correlation) of the control that the map resembles too much, or None.
    evidence  ``finding/explainer`` of what was read, as in the results of the run.
    """

    prediction: Prediction
    view: str | None
    place: Place
    signs: bool
    sign: Sign | None
    carried: Carried | None
    changed: Changed | None
    alike: tuple[str, float] | None
    evidence: tuple[str, ...]


def facts_of(
    radiograph: Radiograph, chest: Chest | None, predictions: Mapping[str, Prediction], finding: str, earlier: Earlier
) -> Facts | str:
    """The facts of one finding, or why there is nothing to make a statement of."""
    name, seen = _read(earlier, radiograph, finding, "gradcam")
    if not isinstance(seen, Attribution):
        return f"template rests on gradcam, and there is no map of {finding.replace('_', ' ')}"
    sum_name, patterns = _read(earlier, radiograph, finding, "patterns")
    path_name, path = _read(earlier, radiograph, finding, "latent_shift")
    where = place(seen, chest, finding not in UNSIDED)
    sign, sign_key = _sign(radiograph, seen, predictions, finding, earlier)
    held = {name: seen, sum_name: patterns, path_name: path}
    keys = [f"{finding}/{label}" for label, made in held.items() if made is not None]
    return Facts(
        prediction=predictions[finding],
        view=radiograph.view,
        place=where,
        signs=any(predictions[s].threshold is not None for s in GRAPH.get(finding, ()) if s in predictions),
        sign=sign,
        carried=_carried(patterns) if isinstance(patterns, PatternSum) else None,
        changed=_changed(path, chest, predictions[finding]) if isinstance(path, Counterfactual) else None,
        alike=_control(radiograph, seen, finding, earlier),
        evidence=(*keys, *([sign_key] if sign_key else [])),
    )


def _read(earlier: Earlier, radiograph: Radiograph, finding: str, name: str) -> tuple[str, Explanation | None]:
    """(specification, explanation) of the first explainer of this name in the run, or (name, None)."""
    for (sha256, of, label), made in earlier.items():
        if sha256 == radiograph.sha256 and of == finding and label.partition(":")[0] == name:
            return label, made
    return name, None


def _sign(
    radiograph: Radiograph, seen: Attribution, predictions: Mapping[str, Prediction], finding: str, earlier: Earlier
) -> tuple[Sign | None, str]:
    """The called sign that lies furthest above its operating point, and the key of its map if there is one."""
    called = [
        p
        for p in (predictions[s] for s in sorted(GRAPH.get(finding, ())) if s in predictions)
        if p.threshold is not None and p.positive
    ]
    if not called:
        return None, ""
    best = max(called, key=lambda p: p.probability / max(p.threshold or 0, 1e-9))
    label, other = _read(earlier, radiograph, best.finding, "gradcam")
    together = alike(seen, other) if isinstance(other, Attribution) else float("nan")
    return Sign(best.finding, best.probability, together), "" if other is None else f"{best.finding}/{label}"


def _carried(made: PatternSum) -> Carried:
    names = tuple(name for name, adds in zip(made.names, made.contributions, strict=True) if adds > 0)
    return Carried(
        size=int(made.checks.get("size", len(names))),
        share=made.checks.get("named_share", float("nan")),
        names=names[:LEAD],
        without=float(made.probabilities[0]) if names else float("nan"),
    )


def _changed(made: Counterfactual, chest: Chest | None, prediction: Prediction) -> Changed:
    """Towards the finding taken away where the path goes there, else towards the finding exaggerated."""
    end = 0 if made.zero > 0 else -1
    kept = made.checks.get("kept", 1.0)
    lost = abs(kept - 1) * prediction.probability > SEEN and not FIDELITY <= kept <= 1 / FIDELITY
    return Changed(
        before=float(made.probabilities[made.zero]),
        after=float(made.probabilities[end]),
        place=place(made.attribution(), chest, made.finding not in UNSIDED),
        faithful=not lost,
    )


def _control(radiograph: Radiograph, seen: Attribution, finding: str, earlier: Earlier) -> tuple[str, float] | None:
    """The control that the map resembles most, if that is too much."""
    maps = {"centre": dataclasses.replace(seen, values=bump(*seen.values.shape).astype(np.float32))}
    for name in CONTROLS:
        label, made = _read(earlier, radiograph, finding, name)
        if isinstance(made, Attribution):
            maps[label] = made
    found = {name: alike(seen, control) for name, control in maps.items()}
    name = max(found, key=lambda n: np.nan_to_num(found[n], nan=-1.0))
    return (name, found[name]) if found[name] >= ALIKE else None
