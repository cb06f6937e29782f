"""Extracted explanations against the published ids of MIMIC-NLE: recall, precision, agreement of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets._mimic_nle_files import LABELS, read_lines, report_of
from ..errors import DataError
from ..findings import finding
from ..metrics._intervals import REPLICATES, weighted_mean_intervals
from ..types import Score

KEYS = ("sentence_ID", "diagnosis_label", "evidence_label")


def score_extraction(
    extracted: str | Path, queries: Sequence[str | Path], *, seed: int = 0, replicates: int = REPLICATES
) -> list[Score]:
    """Rows with 95 % intervals by report (query files name no patient).

    recall                of the published ids, the share extracted; also for each diagnosis.
    precision_in_reports  of what was extracted from reports with a published id, the share that is published: kind,
                          for a report without one is not counted.
    precision             of all that was extracted: right only with the whole tree and all three query files.
    same_diagnoses, same_evidence  of ids in both, the share with equal labels.
    Raises DataError where the queries hold nothing.
    """
    published = {line["sentence_ID"]: line for path in queries for line in read_lines(path, KEYS)}
    if not published:
        raise DataError("the query files hold no line; give those of MIMIC-NLE, such as dev-query.json")
    reports = {report_of(key) for key in published}
    found = {line["sentence_ID"]: line for line in read_lines(extracted, KEYS)}
    both = [key for key in published if key in found]
    inside = [key for key in found if report_of(key) in reports]
    rows: list[tuple[str, str, list[str], list[float]]] = [
        ("all", "recall", list(published), [float(key in found) for key in published]),
        ("all", "precision_in_reports", inside, [float(key in published) for key in inside]),
        ("all", "precision", list(found), [float(key in published) for key in found]),
    ]
    for metric, label in (("same_diagnoses", "diagnosis_label"), ("same_evidence", "evidence_label")):
        rows.append(("all", metric, both, [float(_same(published[k], found[k], label)) for k in both]))
    for i, label in enumerate(LABELS):
        keys = [key for key, line in published.items() if line["diagnosis_label"][i]]
        if keys:
            rows.append((finding(label), "recall", keys, [float(key in found) for key in keys]))
    return [_score(*row, seed, replicates) for row in rows]


def _same(one: dict[str, Any], other: dict[str, Any], label: str) -> bool:
    return list(one[label]) == list(other[label])


def _score(name: str, metric: str, keys: list[str], hits: list[float], seed: int, replicates: int) -> Score:
    if not keys:
        return Score(name, metric, float("nan"), float("nan"), float("nan"), 0, note="nothing to score")
    found = weighted_mean_intervals(np.array(hits), [report_of(k) for k in keys], replicates, seed)
    return Score(name, metric, float(found.mean[0]), float(found.low[0]), float(found.high[0]), len(keys))
