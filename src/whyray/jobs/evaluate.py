"""An evaluation in a folder: plan, cells, tables, page. Run it again after a stop, and it goes on where it was."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts import Classifier, Dataset
from ..io.chexlocalize_csv import Table, write_results, write_thresholds
from ..io.records import unique_name
from ..io.whole import disk_errors, write_whole
from ..metrics._intervals import chexlocalize_intervals
from ..training.lock import locked
from ..types import Report, Score
from ._counterfactual_page import page as counterfactual_page
from ._faithfulness_page import page as faithfulness_page
from ._localisation_page import page as localisation_page
from .counterfactual import Counterfactuals, evaluate_counterfactual
from .faithfulness import Faithfulness, evaluate_faithfulness
from .files import silent
from .localisation import DEFAULT, Localisation, evaluate_localisation
from .plan import EvaluationPlan, to_toml
from .store import Store

COLUMNS = ("finding", "metric", "value", "low", "high", "n", "explainer", "slice", "baseline", "note")


def localisation_into(
    out: str | Path, classifier: Classifier, dataset: Dataset, plan: EvaluationPlan, report: Report = silent
) -> Localisation:
    """Evaluate localisation into the folder ``out``: plan.toml, cells/, scores.csv, scores.json, chexlocalize/ and
    report.html. Raises LockedError where another run holds it, DiskFullError, and what ``evaluate_localisation`` does.
    """
    folder = Path(out)
    with disk_errors(folder), locked(folder):
        _begin(folder, plan)
        store = Store(folder / "cells")
        result = evaluate_localisation(classifier, dataset, plan, store, report=report)
        made = result.tables
        more = {
            "degradation": {m: {k: asdict(d) for k, d in by.items()} for m, by in made.degradation.items()},
            "thresholds": made.thresholds,
            "seconds": made.seconds,
        }
        _write(folder, "localisation", result, made.scores, made.differences, more)
        _write_chexlocalize(folder / "chexlocalize", result)
        write_whole(folder / "report.html", localisation_page(result, store).encode())
    return result


def faithfulness_into(
    out: str | Path, classifier: Classifier, dataset: Dataset, plan: EvaluationPlan, report: Report = silent
) -> Faithfulness:
    """Evaluate faithfulness into the folder ``out``: plan.toml, cells/, scores.csv, scores.json and report.html."""
    folder = Path(out)
    with disk_errors(folder), locked(folder):
        _begin(folder, plan)
        result = evaluate_faithfulness(
            classifier,
            plan.chosen(dataset.cases()),
            plan.explainers or DEFAULT,
            findings=plan.findings,
            pairs=plan.pairs,
            trial=plan.faithfulness,
            seed=plan.seed,
            replicates=plan.replicates,
            store=Store(folder / "cells"),
            report=report,
        )
        _write(folder, "faithfulness", result, result.scores, result.differences, result.more())
        write_whole(folder / "report.html", faithfulness_page(result, dataset.name).encode())
    return result


def counterfactual_into(
    out: str | Path, classifier: Classifier, dataset: Dataset, plan: EvaluationPlan, report: Report = silent
) -> Counterfactuals:
    """Evaluate counterfactuals into the folder ``out``: plan.toml, cells/, scores.csv, scores.json and report.html."""
    folder = Path(out)
    with disk_errors(folder), locked(folder):
        _begin(folder, plan)
        store = Store(folder / "cells")
        result = evaluate_counterfactual(classifier, dataset, plan, store, report=report)
        made = result.tables
        _write(folder, "counterfactual", result, made.rows(), made.differences, {"seconds": made.seconds})
        write_whole(folder / "report.html", counterfactual_page(result, store).encode())
    return result


def rows_of(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """One dictionary a score; what is None is left out."""
    return [{k: v for k, v in asdict(row).items() if v is not None} for row in scores]


def _begin(folder: Path, plan: EvaluationPlan) -> None:
    write_whole(folder / "plan.toml", to_toml(plan).encode())


def _write(
    folder: Path,
    kind: str,
    result: Localisation | Faithfulness | Counterfactuals,
    scores: Sequence[Score],
    differences: Mapping[str, Sequence[Any]],
    more: Mapping[str, Any],
) -> None:
    """scores.json (everything) and scores.csv (a row a score)."""
    document = {
        "kind": kind,
        "facts": result.facts,
        "skipped": result.skipped,
        "failures": result.failures,
        "rows": rows_of(scores),
        "differences": {m: [asdict(d) for d in found] for m, found in differences.items()},
        **more,
    }
    write_whole(folder / "scores.json", (json.dumps(plain(document), indent=1) + "\n").encode())
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain(rows_of(scores)))
    write_whole(folder / "scores.csv", text.getvalue().encode())


def plain(value: Any) -> Any:
    """For JSON: numpy's numbers as Python's, those that are not finite as None, tuples as lists, the rest as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _write_chexlocalize(folder: Path, result: Localisation) -> None:
    """A folder a method with the files of CheXlocalize's own evaluation: true-positive IoU, hits, intervals."""
    tables = result.tables
    marked = [i for i, s in enumerate(result.measured.subjects) if s.truth]
    ids = tuple(result.measured.subjects[i].name for i in marked)
    wanted = {"iou": f"iou_true_positive:{result.plan.localisation.modes[0]}", "hitmiss": "hit"}
    for label, values in tables.values.items():
        own = folder / unique_name(label)
        own.mkdir(parents=True, exist_ok=True)
        for name, metric in wanted.items():
            column = values[metric][marked]
            found = chexlocalize_intervals(column)
            summary = {"lower": found.low, "mean": found.mean, "upper": found.high, "n": found.n.astype(np.float64)}
            write_results(own, name, Table(ids, tables.findings, column), found.replicates, summary)
        if label in tables.thresholds:
            known = {f: t for f, t in tables.thresholds[label].items() if not np.isnan(t)}
            write_thresholds(own, known)
