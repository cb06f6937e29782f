"""What more training pictures would bring: a classifier against published predictions on the same pictures.

    python recipes/compare_published.py folder/with/images.csv [-m mini]

The folder holds ``published_predictions.csv`` beside images.csv: ``image_id``, and a column ``prob_FINDING`` each. Of
NIH ChestX-ray14 these are the held-out predictions of a CheXNet replica, a DenseNet-121 begun from ImageNet and trained
on the full release (github.com/jrzech/reproduce-chexnet). Per split: the mean AUC over the findings both have, and the
paired difference, with patient-bootstrap 95 % intervals. A finding without positives or negatives is left out, of a
replicate too.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import whyray
from whyray.engine.passes import predict
from whyray.errors import WhyrayError
from whyray.findings import finding
from whyray.metrics._intervals import patient_weights
from whyray.metrics.classification import weighted_auc
from whyray.types import Case

Scores = Mapping[str, Mapping[str, float]]  # case -> finding -> score


def published(path: Path) -> Scores:
    """case -> finding -> probability. Raises WhyrayError for a label that is no finding."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {r["image_id"]: {finding(k[5:]): float(v) for k, v in r.items() if k.startswith("prob_")} for r in rows}


def mean_aucs(scores: Scores, cases: Sequence[Case], findings: Sequence[str], weights: np.ndarray) -> np.ndarray:
    """Mean AUC ``[r]`` over the findings, one a row of weights ``[r, n]``."""
    columns = []
    for name in findings:
        labels = np.array([case.labels.get(name, np.nan) for case in cases], np.float64)
        values = np.array([scores[case.id][name] for case in cases], np.float64)
        known = np.isfinite(labels)
        columns.append(weighted_auc(values[known], labels[known], weights[:, known]))
    return np.nanmean(columns, axis=0)


def compare(first: Scores, second: Scores, cases: Sequence[Case], findings: Sequence[str]) -> list[str]:
    """Three lines: the mean AUC of each, and second minus first; 95 % intervals over the same draws of patients."""
    patients = [case.patient or case.id for case in cases]
    weights = np.concatenate([np.ones((1, len(cases))), *patient_weights(patients)])
    a, b = (mean_aucs(scores, cases, findings, weights) for scores in (first, second))
    lines = []
    for name, values in (("classifier", a), ("published", b), ("published - classifier", b - a)):
        low, high = np.nanpercentile(values[1:], (2.5, 97.5))
        lines.append(f"{name:24} {values[0]:+.3f} [{low:+.3f}, {high:+.3f}]  n = {len(cases)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-m", "--model", default="mini")
    asked = parser.parse_args()
    theirs = published(asked.folder / "published_predictions.csv")
    classifier = whyray.load_model(asked.model)
    data = whyray.load_dataset(f"folder:{asked.folder},pictures=file_256")
    findings = [f for f in classifier.findings if f in next(iter(theirs.values()))]
    if not findings:
        raise WhyrayError(f"{asked.model} and the published predictions share no finding; name another model")
    print(f"{asked.model}, {len(findings)} findings: {', '.join(findings)}")
    for split in ("train", "val", "test"):
        cases = [case for case in data.cases(split) if case.id in theirs]
        said = predict(classifier, [case.radiograph() for case in cases])
        ours = {case.id: {p.finding: p.logit for p in row} for case, row in zip(cases, said, strict=True)}
        print(split, *compare(ours, theirs, cases, findings), sep="\n  ")


if __name__ == "__main__":
    main()
