"""Everything that is measured on a data set by its name, as ``api`` and the command line call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Classifier, Dataset
from ..types import Report, Score
from ._weak_plan import USUAL, WeakPlan
from .files import silent
from .plan import EvaluationPlan

if TYPE_CHECKING:
    from .counterfactual import Counterfactuals
    from .faithfulness import Faithfulness
    from .language import Language
    from .localisation import Localisation
    from .patterns_measured import PatternsMeasured
    from .weak_language import WeakLanguage


def evaluate_classifier(
    classifier: Classifier,
    dataset: str | Dataset,
    *,
    limit: int | None = None,
    seed: int = 0,
    report: Report = silent,
    refused: Callable[[str], None] = lambda _sentence: None,
) -> list[Score]:
    """AUC, AUPRC, sensitivity, specificity, F1, calibration of each finding, with patient-bootstrap 95 % intervals.

    ``refused`` is called with a sentence on each picture that cannot be read; the figures are those of the others.
    """
    from ..training.evaluate import evaluate_classifier as run

    cases = _opened(dataset).cases()
    return run(classifier, cases[:limit], seed=seed, report=report, refused=refused)


def evaluate_localisation(
    classifier: Classifier,
    dataset: str | Dataset,
    out: str | Path,
    *,
    plan: EvaluationPlan | None = None,
    report: Report = silent,
) -> Localisation:
    """Do the maps lie where experts drew the finding? Controls always join. Look at ``.tables.scores``.

    Writes plan.toml, cells/, scores.csv, scores.json, chexlocalize/ and report.html into ``out``; stop it and run it
    again, and nothing is computed twice. Raises DataError where no picture has a region, LockedError, DiskFullError.
    """
    from .evaluate import localisation_into

    data = _opened(dataset)
    return localisation_into(out, classifier, data, plan or EvaluationPlan(data.name), report)


def evaluate_faithfulness(
    classifier: Classifier,
    dataset: str | Dataset,
    out: str | Path,
    *,
    plan: EvaluationPlan | None = None,
    report: Report = silent,
) -> Faithfulness:
    """Do the maps show what the classifier uses? Deletion, insertion, ROAD, sensitivity-n, stability, random layers.

    Writes plan.toml, cells/, scores.csv, scores.json and report.html into ``out``; stop it and run it again, and
    nothing is computed twice. Raises DataError where there is nothing to explain, LockedError, DiskFullError.
    """
    from .evaluate import faithfulness_into

    data = _opened(dataset)
    return faithfulness_into(out, classifier, data, plan or EvaluationPlan(data.name), report)


def evaluate_counterfactual(
    classifier: Classifier,
    dataset: str | Dataset,
    out: str | Path,
    *,
    plan: EvaluationPlan | None = None,
    report: Report = silent,
) -> Counterfactuals:
    """Do counterfactuals reach their targets, what else do they change, and where? Look at ``.tables.scores``.

    Writes plan.toml, cells/, scores.csv, scores.json and report.html into ``out``; stop it and run it again, and
    nothing is computed twice. Raises UnmetNeed where no counterfactual can be made, LockedError, DiskFullError.
    """
    from .evaluate import counterfactual_into

    data = _opened(dataset)
    return counterfactual_into(out, classifier, data, plan or EvaluationPlan(data.name), report)


def evaluate_language(
    generated: str | Path, references: str | Path, *, bertscore: str | Path | None = None, seed: int = 0
) -> Language:
    """Generated explanations (JSON lines) against references in MIMIC-NLE's schema; see docs/metrics-language.md."""
    from .language import evaluate_language as run

    return run(generated, references, bertscore=bertscore, seed=seed)


def evaluate_patterns(
    classifier: Classifier, dataset: str, out: str | Path, *, bank: str = "", limit: int | None = None, seed: int = 0
) -> PatternsMeasured:
    """What a pattern bank explains, and whether its patterns are what was planted, beside its controls; see ``out``."""
    from .patterns_measured import patterns_into as run

    return run(out, classifier, _opened(dataset), bank, limit=limit, seed=seed)


def evaluate_weak_language(
    classifier: Classifier,
    dataset: str | Dataset,
    out: str | Path,
    plan: WeakPlan = USUAL,
    *,
    generator: str | Path = "",
    report: Report = silent,
) -> WeakLanguage:
    """Sentences learned without pairs: controls, simulators, likeness, rightness; see docs/metrics-weak-language.md.

    generator  folder of one; empty = the one that belongs to the classifier. Writes cells/, scores.json and report.html
    into ``out``. Raises UnmetNeed where there is none, DataError, LockedError, DiskFullError.
    """
    from .weak_language import weak_language_into as run

    return run(out, classifier, _opened(dataset), plan, generator=generator, report=report)


def _opened(dataset: str | Dataset) -> Dataset:
    from ..datasets._resolve import load_dataset

    return load_dataset(dataset) if isinstance(dataset, str) else dataset
