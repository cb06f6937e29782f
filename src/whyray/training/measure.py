"""The measured part of a model card: the test splits, read once, and the page made from the card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..findings import facts
from ..io.whole import write_whole
from ..metrics._intervals import REPLICATES
from ..models._store import load_bundle, read_card
from ..types import Case, Report, Score
from .evaluate import evaluate_classifier
from .examples import labels_of, load_cases
from .plan import ClassifierPlan, Source

SHOWN = ("auc", "auprc", "sensitivity", "specificity", "calibration_slope")


def measured(bundle: Path, plan: ClassifierPlan, *, replicates: int = REPLICATES, report: Report | None = None) -> Path:
    """Measure a bundle on the test split of every source of its plan, and write the results into its card.

    Weights and fingerprint stay as they are. Done before, it is not done again.
    """
    data = read_card(bundle)
    if data["card"].get("results"):
        return bundle
    classifier = load_bundle(bundle)
    rows: list[dict[str, Any]] = []
    for source in plan.data:
        cases = labelled_cases(source, "test", plan)
        scores = evaluate_classifier(classifier, cases, replicates=replicates, only=SHOWN, report=report)
        rows += [_row(score, source.name, cases) for score in scores]
    card = dataclasses.replace(classifier.card, results=tuple(rows))
    write_whole(bundle, (json.dumps({**data, "card": card.to_dict()}, indent=1) + "\n").encode())
    load_bundle(bundle)
    return bundle


def installed(bundle: Path, target: Path) -> Path:
    """Copy a bundle to another name (``weights/mini.json`` with ``mini.safetensors``), and load it as the proof."""
    data = read_card(bundle)
    weights = bundle.with_name(data["weights"]["file"]).read_bytes()
    write_whole(target.with_suffix(".safetensors"), weights)
    data["weights"]["file"] = target.with_suffix(".safetensors").name
    write_whole(target, (json.dumps(data, indent=1) + "\n").encode())
    load_bundle(target)
    return target


def labelled_cases(source: Source, split: str, plan: ClassifierPlan) -> list[Case]:
    """Cases with the labels that training would use."""
    cases = load_cases(source, split)
    table = labels_of(cases, plan.findings, source, plan.uncertain)
    return [
        dataclasses.replace(c, labels=dict(zip(plan.findings, map(float, row), strict=True)))
        for c, row in zip(cases, table, strict=True)
    ]


def card_page(data: Mapping[str, Any]) -> str:
    """The model card as Markdown, from the JSON of a bundle alone."""
    card, plan = data["card"], data["provenance"].get("plan", {})
    lines = [
        f"# Model card: {card['name']}", "",
        "Made from the card inside the bundle; do not edit. **Research use only. Not for clinical use.**", "",
        f"- network: {_architecture(data['architecture'])}; input {card['preparation']['size'][0]} x "
        f"{card['preparation']['size'][1]} pixels, one channel",
        f"- fingerprint: `{data['fingerprint'][:16]}`; licence of the weights: {card['licence']}",
        f"- training: {card['training']}",
        "- intended use: to try whyray offline, in tests and in audits of explainers. Real work uses real weights.", "",
        "## Training data", "",
        *(f"- {s['about'] or s['spec']}. {s['licence']}" for s in plan.get("data", ())), "",
        "Only the training split was trained on; the validation split gave calibration and operating points; the test "
        "split was read once, for the tables below.", "", "## Measured on held-back patients", "",
        "95 % intervals: patient-level bootstrap, 2000 replicates, seed 0. n counts labelled pictures.", "",
    ]
    for source in plan.get("data", ()):
        lines += _tables(source, [r for r in card["results"] if r["data"] == source["name"]])
    lines += ["## Probabilities", "", *_operations(card), "", "## Limits and known confounders", ""]
    return "\n".join([*lines, *(f"- {limit}" for limit in card["limits"])]) + "\n"


def _row(score: Score, data: str, cases: Sequence[Case]) -> dict[str, Any]:
    positives = sum(c.labels.get(score.finding) == 1 for c in cases)
    values = {k: float(f"{getattr(score, k):.6g}") for k in ("value", "low", "high")}
    finite = {k: v if np.isfinite(v) else None for k, v in values.items()}
    what = {"finding": score.finding, "metric": score.metric}
    return {**what, **finite, "n": score.n, "positives": positives, "data": data}


def _architecture(settings: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in settings.items() if k != "network")
    return f"{settings['network']} ({rest})"


def _tables(source: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    cells = {(r["finding"], r["metric"]): r for r in rows}
    findings = list(dict.fromkeys(r["finding"] for r in rows))
    found = [m for m in SHOWN if any((f, m) in cells for f in findings)]
    lines = [f"### {source['about'] or source['name']}", "", "| finding | n | positives | " + " | ".join(found) + " |",
             "|---|---|---|" + "---|" * len(found)]
    for finding in findings:
        first = next(cells[finding, m] for m in found if (finding, m) in cells)
        values = [_cell(cells.get((finding, m))) for m in found]
        lines.append(f"| {facts(finding).name} | {first['n']} | {first['positives']} | " + " | ".join(values) + " |")
    means = [cells[f, "auc"]["value"] for f in findings if (f, "auc") in cells]
    known = [v for v in means if v is not None]
    return [*lines, "", f"Mean AUC over {len(known)} findings: {np.mean(known):.3f}.", ""] if known else [*lines, ""]


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "n/a"
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _operations(card: Mapping[str, Any]) -> list[str]:
    lines = ["| finding | reference prevalence | operating point |", "|---|---|---|"]
    for finding, o in card["operations"].items():
        shown = ["-" if o[k] is None else f"{o[k]:.3f}" for k in ("prevalence", "threshold")]
        lines.append(f"| {facts(finding).name} | {shown[0]} | {shown[1]} |")
    return [
        "Calibrated on the validation split (Platt), then shifted from its share of positives to the reference "
        "prevalence by Bayes' rule; the operating point is Youden's on the validation split.", "", *lines,
    ]
