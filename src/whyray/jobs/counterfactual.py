"""Measure on a data set how good counterfactuals are: targets, closeness, realism, company, maps, the true twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier, Dataset, Explainer
from ..errors import DataError, SettingError, UnmetNeed, listed
from ..types import Report
from ._changes import WhatIf
from ._counterfactual_bench import Bench, Pictured
from ._counterfactual_tables import Labels, Tables, tables
from ._mapped import mapped
from ._maps import Maker
from ._paths import KIND, path_arrays
from ._robust import few_of, robustness
from .files import silent
from .localisation import CONTROLS, regions_wanted
from .plan import EvaluationPlan
from .store import Store

if TYPE_CHECKING:
    from ..models._autoencoders import Autoencoder

__all__ = ["Counterfactuals", "WhatIf", "evaluate_counterfactual"]

DEFAULT = ("latent_shift", "gradient", "guided_backprop", "integrated_gradients")


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """What was measured: ``tables``, why explainers were ``skipped``, ``failures`` of single pictures, and the
    ``facts`` that belong beside every figure."""

    plan: EvaluationPlan
    tables: Tables
    labels: Labels
    pictures: tuple[Pictured, ...] = field(repr=False)
    skipped: Mapping[str, str]
    failures: tuple[str, ...]
    facts: Mapping[str, Any]


def evaluate_counterfactual(
    classifier: Classifier,
    dataset: Dataset,
    plan: EvaluationPlan,
    store: Store,
    *,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Counterfactuals:
    """Counterfactuals of every finding that is present on a picture; beside their maps those of the other explainers
    and the controls, where experts drew the finding. Interrupt it and call it again: what is in ``store`` is not made
    twice.

    Raises UnknownName and SettingError before any work, UnmetNeed where no counterfactual can be made at all, DataError
    where no picture shows a finding.
    """
    settings = plan.counterfactual
    plan = replace(plan, localisation=replace(plan.localisation, sign=settings.sign, modes=settings.modes))
    asked = mapped(plan.explainers or DEFAULT, CONTROLS)
    wanted = regions_wanted(classifier, plan)
    maker = Maker(classifier, asked, plan.seed, store, cancelled)
    maker.check()
    autoencoders = _autoencoders(asked, classifier, maker.skipped)
    painter = replace(maker, kind=KIND, arrays=path_arrays)
    bench = Bench(maker, painter, dataset, plan, wanted, autoencoders)
    pictures = bench.measure(plan.chosen(dataset.cases()), report)
    if not pictures:
        raise DataError(f"no picture of {dataset.name} shows any of {listed(tuple(wanted))}; give other pictures")
    disturbed = robustness(bench, pictures, report)
    names = bench.maps()
    labels = Labels(
        paths=bench.drawing,
        maps=tuple(names),
        first=tuple(f"{label} {settings.maps[0]}" for label in bench.drawing),
        controls=tuple(n for n in names if n in asked and asked[n].control),
    )
    made = tables(pictures, disturbed, labels, classifier.findings, plan, store)
    facts = _facts(bench, pictures)
    return Counterfactuals(plan, made, labels, tuple(pictures), maker.skipped, tuple(bench.failures), facts)


def _autoencoders(
    asked: Mapping[str, Explainer], classifier: Classifier, skipped: dict[str, str]
) -> dict[str, Autoencoder | None]:
    """Counterfactual explainer -> its autoencoder, None where it has none; one that is not there is a skip.

    Raises SettingError where no counterfactual explainer was asked for, UnmetNeed where each is skipped.
    """
    from ..models._autoencoders import autoencoder_for

    drawing = {label: e for label, e in asked.items() if e.kind == "counterfactual"}
    if not drawing:
        raise SettingError("no explainer that gives counterfactuals came; add one, such as -x latent_shift")
    out: dict[str, Autoencoder | None] = {}
    for label, explainer in drawing.items():
        out[label] = None
        spec = getattr(explainer, "autoencoder", None)
        if spec is None or label in skipped:
            continue
        try:
            out[label] = autoencoder_for(classifier, spec)
        except UnmetNeed as reason:
            skipped[label] = str(reason)
    if set(drawing) <= set(skipped):
        raise UnmetNeed(next(skipped[label] for label in drawing))
    return out


def _facts(bench: Bench, pictures: Sequence[Pictured]) -> dict[str, Any]:
    classifier, plan = bench.classifier, bench.plan
    autoencoders = {label: a for label, a in bench.autoencoders.items() if a is not None}
    return {
        "dataset": bench.dataset.name,
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "backend": classifier.backend,
        "autoencoder": {label: f"{a.name} ({a.sha256[:12]})" for label, a in autoencoders.items()},
        "map": {f: list(r) for f, r in bench.wanted.items() if any(f in p.located.truth for p in pictures)},
        "where": dict(plan.where),
        "pictures": bench.read,
        "with_findings": len(pictures),
        "patients": len({p.patient for p in pictures}),
        "pairs": sum(len(p.findings) for p in pictures),
        "pairs_with_region": sum(len(p.located.truth) for p in pictures),
        "true_positives": sum(len(p.positive) for p in pictures),
        "twins": sum(len(p.twins) for p in pictures),
        "made_again_on": len(few_of(bench, pictures)),
        "called": dict(bench.rules),
        "settings": asdict(plan.counterfactual),
        "signs": {name: bench.settings(name).sign for name in bench.maps()},
        "seed": plan.seed,
    }
