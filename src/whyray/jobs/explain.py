"""Radiographs in, explanations out: the one path that the command line, the report and a notebook take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier, Context, Explainer
from ..engine.passes import predict
from ..errors import SettingError, UnknownName, UnmetNeed
from ..explanations import Explanation
from ..findings import finding as canonical
from ..io.bundles import write_bundle
from ..io.records import Record, RunRecord, record, threads
from ..registry import EXPLAINERS, explainer_class
from ..registry import explainer as explainer_from
from ..types import Prediction, Radiograph
from .warn import warnings_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_EXPLAINERS = (
    "gradcam",
    "template",
)  # cheapest first; those that would not fit the budget are skipped, with the reason
# For a classifier that gradcam cannot read: logits are enough, in a sixth of LIME's passes.
ALWAYS_WORKS = ("occlusion",)
LEAST_FINDINGS = 3


@dataclass(frozen=True)
class Plan:
    """What to explain and how.

    findings    any spelling; empty = those at or above their operating point, then the most likely, three at least.
    explainers  ``name`` or ``name:key=value,...``; empty = ``default_explainers``.
    seed        the only source of randomness.
    budget      seconds an image; an explainer that would exceed what is left is skipped, with the reason.
    audience    of every explainer that speaks, unless its specification names one: "clinician" or "lay"; empty = as is.
    """

    findings: tuple[str, ...] = ()
    explainers: tuple[str, ...] = ()
    seed: int = 0
    budget: float | None = None
    audience: str = ""

    def check(self, classifier: Classifier) -> tuple[dict[str, Explainer], tuple[str, ...]]:
        """(label -> explainer, canonical findings). Raises UnknownName and SettingError; nothing heavy is done.

        The label is the whole specification, so one explainer may stand twice with different settings.
        """
        if self.seed < 0:
            raise SettingError(f"a seed of {self.seed} came; give a whole number from 0 up")
        if self.budget is not None and not self.budget > 0:
            raise SettingError(f"a budget of {self.budget:g} s came; give the seconds an image may take, more than 0")
        if self.audience not in ("", "clinician", "lay"):
            raise SettingError(f"the audience {self.audience!r:.40} came; give clinician or lay")
        asked = {
            spec: self._explainer(spec) for spec in self.explainers or default_explainers(classifier, self.audience)
        }
        return asked, tuple(dict.fromkeys(finding_of(classifier, f) for f in self.findings))

    def _explainer(self, spec: str) -> Explainer:
        """From its specification, speaking to this plan's audience where it leaves that open."""
        made = explainer_from(spec)
        speaks = any(f.name == "audience" for f in dataclasses.fields(made))
        if not (self.audience and speaks) or "audience=" in spec:
            return made
        changes: dict[str, Any] = {"audience": self.audience}
        return dataclasses.replace(made, **changes)


@dataclass(frozen=True, eq=False)
class Explained:
    """One radiograph with its predictions and explanations.

    ``explained["pleural_effusion", "gradcam"]`` is one Explanation; raises UnmetNeed with the reason where the
    explainer was skipped, UnknownName where it was not asked. ``results`` is finding -> explainer -> either.
    """

    radiograph: Radiograph
    classifier: Classifier = field(repr=False)
    predictions: tuple[Prediction, ...]
    results: Mapping[str, Mapping[str, Explanation | str]] = field(repr=False)
    warnings: tuple[str, ...]
    run: RunRecord = field(repr=False)

    def __getitem__(self, key: tuple[str, str]) -> Explanation:
        if not isinstance(key, tuple) or len(key) != 2:
            raise SettingError(f'{key!r} came as a key; give a finding and an explainer, as result["edema", "gradcam"]')
        finding, explainer = canonical(key[0]), key[1]
        if finding not in self.results:
            raise UnknownName("explained finding", key[0], tuple(self.results))
        made = self.results[finding].get(explainer)
        if made is None:
            raise UnknownName("explainer of this run", explainer, tuple(self.results[finding]))
        if isinstance(made, str):
            raise UnmetNeed(made)
        return made

    def record(self, *, anonymous: bool = False) -> Record:
        """What ``explanation.json`` holds."""
        return record(
            self.radiograph,
            self.classifier,
            self.predictions,
            self.results,
            self.run,
            warnings=self.warnings,
            anonymous=anonymous,
        )

    def save(self, directory: str | Path, *, anonymous: bool = False, animation: str = "webp") -> Path:
        """Write the folder ``<stem>-<hash8>`` with report.html, overlays, raw maps and explanation.json; returns it.

        animation  of each counterfactual: "webp", "gif", "mp4", "png" (frames side by side) or "none".
        """
        from ..report.animation import check_kind
        from ..report.render import Page, draw, page_html

        check_kind(animation)
        page, files = draw(Page(self.record(anonymous=anonymous), self.radiograph, self.results), animation)
        files["report.html"] = page_html([page]).encode()
        return write_bundle(Path(directory), page.record, self.results, files)


def explain_radiographs(classifier: Classifier, radiographs: Sequence[Radiograph], plan: Plan) -> list[Explained]:
    """Explain radiographs; those that share their findings share the forward passes.

    Raises UnknownName, SettingError, and UnmetNeed where no explainer is able, before any work is done.
    """
    asked, wanted = plan.check(classifier)
    unable(asked, classifier, asked)
    began, started = datetime.now(UTC), time.monotonic()
    predicted = predict(classifier, radiographs)
    seconds = (time.monotonic() - started) / max(1, len(radiographs))
    chosen = [wanted or choose(p) for p in predicted]
    done: dict[int, Explained] = {}
    for findings in dict.fromkeys(chosen):
        members = [i for i, c in enumerate(chosen) if c == findings]
        results = run_explainers(classifier, [radiographs[i] for i in members], findings, asked, plan, seconds)
        for i, made in zip(members, results, strict=True):
            done[i] = _explained(classifier, radiographs[i], predicted[i], made, plan, began)
    return [done[i] for i in range(len(radiographs))]


def run_explainers(
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    findings: Sequence[str],
    asked: Mapping[str, Explainer],
    plan: Plan,
    pass_seconds: float,
) -> list[dict[str, dict[str, Explanation | str]]]:
    """Per radiograph: finding -> explainer -> explanation, or the sentence that says why it was skipped."""
    results: list[dict[str, dict[str, Explanation | str]]] = [{f: {} for f in findings} for _ in radiographs]
    earlier: dict[tuple[str, str, str], Explanation] = {}
    paid: dict[bytes, NDArray[np.float32]] = {}
    left = plan.budget
    for label, explainer in in_order(asked).items():
        started = time.monotonic()
        context = Context(seed=plan.seed, budget_s=left, earlier=earlier, paid=paid)
        try:
            check_needs(explainer, classifier, asked)
            check_budget(explainer, len(findings), pass_seconds, left)
            made = explainer.explain(classifier, radiographs, findings, context)
        except UnmetNeed as reason:
            for result in results:
                for finding in findings:
                    result[finding][label] = str(reason)
            continue
        for radiograph, result, per_finding in zip(radiographs, results, made, strict=True):
            for finding in findings:
                if finding not in per_finding:
                    result[finding][label] = context.abstained[radiograph.sha256, finding]
                    continue
                result[finding][label] = earlier[radiograph.sha256, finding, label] = per_finding[finding]
        if left is not None:
            left -= (time.monotonic() - started) / max(1, len(radiographs))
    return results


def default_explainers(classifier: Classifier, audience: str = "") -> tuple[str, ...]:
    """``DEFAULT_EXPLAINERS``, or ``ALWAYS_WORKS`` where the classifier lacks what those need; and those whose generator
    of sentences for this audience belongs to the classifier."""
    from ..models._artefacts import artefact_folder
    from ..models._narrators import KINDS
    from ..models._wenlex import KIND

    kinds = {network: kind for (network, whom), kind in KINDS.items() if whom == (audience or "clinician")}
    found = []
    for name, kind in {**kinds, "wenlex": KIND}.items():
        try:
            artefact_folder(kind, classifier)
        except UnmetNeed:
            continue
        found.append(name)
    fits = explainer_class(DEFAULT_EXPLAINERS[0]).needs <= classifier.capabilities
    return (*(DEFAULT_EXPLAINERS if fits else ALWAYS_WORKS), *found)


def working(classifier: Classifier) -> list[str]:
    """Names of the attribution methods that need no more than the classifier has, cheapest first."""
    found = {}
    for name in EXPLAINERS.names():
        try:
            cls = explainer_class(name)
        except Exception:  # another package's, and broken: it is named nowhere else either
            continue
        if cls.kind == "attribution" and not (cls.control or cls.requires) and cls.needs <= classifier.capabilities:
            found[name] = cls().passes(1)
    return sorted(found, key=lambda name: found[name])


def finding_of(classifier: Classifier, label: str) -> str:
    """The canonical finding, if this classifier has it."""
    name = canonical(label)
    if name not in classifier.findings:
        raise UnknownName(f"finding of {classifier.name}", label, classifier.findings)
    return name


def choose(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """Findings at or above their operating point, then the most likely against it, three at least."""

    def excess(p: Prediction) -> float:
        return p.probability - (0.5 if p.threshold is None else p.threshold)

    ranked = sorted(predictions, key=lambda p: (not p.positive, -excess(p)))
    most = max(LEAST_FINDINGS, sum(p.positive for p in predictions))
    return tuple(p.finding for p in ranked[:most])


def in_order(asked: Mapping[str, Explainer]) -> dict[str, Explainer]:
    """Explainers that others read from come first; otherwise as asked."""
    return dict(sorted(asked.items(), key=lambda item: len(item[1].requires)))


def unable(asked: Mapping[str, Explainer], classifier: Classifier, needed: Collection[str]) -> dict[str, str]:
    """Label -> why, of the explainers that cannot work with this classifier.

    Raises UnmetNeed, with each reason, where that leaves none of those that are ``needed``.
    """
    skipped: dict[str, str] = {}
    for label, explainer in in_order(asked).items():
        left = {other: e for other, e in asked.items() if other not in skipped}
        try:
            check_needs(explainer, classifier, left)
        except UnmetNeed as reason:
            skipped[label] = str(reason)
    if needed and skipped.keys() >= set(needed):
        raise UnmetNeed("no explainer is left. " + ". ".join(dict.fromkeys(skipped[label] for label in needed)))
    return skipped


def check_needs(explainer: Explainer, classifier: Classifier, asked: Mapping[str, Explainer]) -> None:
    """Raises UnmetNeed with the reason where this explainer cannot work here."""
    missing = explainer.needs - classifier.capabilities
    if missing:
        have = ", ".join(sorted(classifier.capabilities)) or "logits only"
        why = f"{explainer.name} needs {' and '.join(sorted(missing))}; {classifier.name} has {have}"
        raise UnmetNeed(f"{why}; these work with it: {', '.join(working(classifier))}")
    for name in explainer.requires:
        if name not in {e.name for e in asked.values()}:
            raise UnmetNeed(f"{explainer.name} reads the results of {name}; add -x {name}")


def check_budget(explainer: Explainer, findings: int, pass_seconds: float, left: float | None) -> None:
    """Raises UnmetNeed where the estimated cost exceeds what is left of the budget."""
    estimate = explainer.passes(findings) * pass_seconds
    if left is not None and estimate > left:
        raise UnmetNeed(
            f"{explainer.name} would take about {estimate:.1f} s, and {max(left, 0):.1f} s of the budget are left"
        )


def predict_radiograph(classifier: Classifier, radiograph: Radiograph) -> Explained:
    """Predictions and warnings without explanations."""
    began = datetime.now(UTC)
    (predictions,) = predict(classifier, [radiograph])
    return _explained(classifier, radiograph, predictions, {}, Plan(), began)


def _explained(
    classifier: Classifier,
    radiograph: Radiograph,
    predictions: Sequence[Prediction],
    made: Mapping[str, Mapping[str, Explanation | str]],
    plan: Plan,
    began: datetime,
) -> Explained:
    warnings = warnings_for(classifier, radiograph, classifier.prepare(radiograph))
    run = RunRecord(
        started=began.isoformat(timespec="milliseconds"),
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seed=plan.seed,
        device=classifier.backend.split("/")[2],
        threads=threads(),
        settings={k: v for k, v in dataclasses.asdict(plan).items() if k != "seed"},
    )
    return Explained(radiograph, classifier, tuple(predictions), made, warnings, run)
