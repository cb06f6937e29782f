"""The measured part of a model card: the test splits, read after training, and the page made from the card."""

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
from ..metrics.classification import Graded, classification_scores, mean_auc
from ..models._store import load_bundle, read_card
from ..types import Case, Report, Score
from .evaluate import graded_findings
from .examples import labels_of, load_cases
from .plan import ClassifierPlan, Source

IMPLIED = ("lung_opacity",)  # a mean without it compares with the usual means over read labels
SHOWN = ("auc", "auprc", "sensitivity", "specificity", "f1", "calibration_error", "calibration_slope")


def measured(bundle: Path, plan: ClassifierPlan, *, replicates: int = REPLICATES, report: Report | None = None) -> Path:
    """Measure a bundle on the test split of every source of its plan, and write the results into its card.

    A source of several data sets is measured one by one: its rows have a "slice". Weights and fingerprint stay as they
    are. Done before, it is not done again.
    """
    data = read_card(bundle)
    if data["card"].get("results"):
        return bundle
    classifier = load_bundle(bundle)
    rows: list[dict[str, Any]] = []
    for source in plan.data:
        cases = labelled_cases(source, "test", plan)
        found, _ = graded_findings(classifier, cases, report=report)
        for name in dict.fromkeys(name for name, _ in found):
            rows += _rows(source.name, name, [g for of, g in found if of == name], replicates)
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
        f"# Model card: {card['name']}",
        "",
        "Made from the card inside the bundle; do not edit. **Research use only. Not for clinical use.**",
        "",
        f"- network: {_architecture(data['architecture'])}; input {card['preparation']['size'][0]} x "
        f"{card['preparation']['size'][1]} pixels, one channel",
        f"- fingerprint: `{data['fingerprint'][:16]}`; licence of the weights: {card['licence']}",
        f"- training: {card['training']}",
        "- intended use: to try whyray offline, in tests and in audits of explainers. Real work uses real weights.",
        "",
        "## Training data",
        "",
        *(f"- {s['about'] or s['spec']}. {s['licence']}" for s in plan.get("data", ())),
        "",
        "Only the training split was trained on; the validation split gave calibration and operating points; the test "
        "split was read for the tables below only.",
        "",
        "## Measured on held-back patients",
        "",
        "95 % intervals: patient-level bootstrap, 2000 replicates, seed 0. n counts labelled pictures.",
        "",
    ]
    for source in plan.get("data", ()):
        rows = [r for r in card["results"] if r["data"] == source["name"]]
        for name in dict.fromkeys(r.get("slice") for r in rows):
            lines += _tables(source, name, [r for r in rows if r.get("slice") == name])
    lines += ["## Probabilities", "", *_operations(card), "", "## Limits and known confounders", ""]
    return "\n".join([*lines, *(f"- {limit}" for limit in card["limits"])]) + "\n"


def _rows(source: str, slice_: str | None, graded: Sequence[Graded], replicates: int) -> list[dict[str, Any]]:
    """Every score of the findings of one set of pictures, then the mean AUC, over all and without what is implied."""
    told = {"data": source, **({"slice": slice_} if slice_ else {})}
    rows = [
        {**_row(score, int((g.labels == 1).sum())), **told}
        for g in graded
        for score in classification_scores(g, replicates=replicates, only=SHOWN)
    ]
    means = [s for s in (graded, [g for g in graded if g.finding not in IMPLIED]) if len(s) > 1]
    return rows + [
        {**_row(mean_auc(part, replicates=replicates), 0), **told, "findings": [g.finding for g in part]}
        for part in means
    ]


def _row(score: Score, positives: int) -> dict[str, Any]:
    values = {k: float(f"{getattr(score, k):.6g}") for k in ("value", "low", "high")}
    finite = {k: v if np.isfinite(v) else None for k, v in values.items()}
    what = {"finding": score.finding, "metric": score.metric}
    return {**what, **finite, "n": score.n, "positives": positives}


def _architecture(settings: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in settings.items() if k != "network")
    return f"{settings['network']} ({rest})"


def _tables(source: Mapping[str, Any], slice_: str | None, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    means = [r for r in rows if r["finding"] == "mean"]
    rows = [r for r in rows if r["finding"] != "mean"]
    cells = {(r["finding"], r["metric"]): r for r in rows}
    findings = list(dict.fromkeys(r["finding"] for r in rows))
    found = [m for m in SHOWN if any((f, m) in cells for f in findings)]
    lines = [
        f"### {source['about'] or source['name']}" + (f": {slice_}" if slice_ else ""),
        "",
        "| finding | n | positives | " + " | ".join(found) + " |",
        "|---|---|---|" + "---|" * len(found),
    ]
    for finding in findings:
        first = next(cells[finding, m] for m in found if (finding, m) in cells)
        values = [_cell(cells.get((finding, m))) for m in found]
        lines.append(f"| {facts(finding).name} | {first['n']} | {first['positives']} | " + " | ".join(values) + " |")
    said = []
    for row in means:
        without = [facts(f).name.lower() for f in findings if f not in row["findings"]]
        rest = f" (without {', '.join(without)})" if without else ""
        said.append(f"Mean AUC over {len(row['findings'])} findings{rest}: {_cell(row, 3)}, n = {row['n']}.")
    return [*lines, "", *said, ""]


def _cell(row: Mapping[str, Any] | None, digits: int = 2) -> str:
    if row is None or row["value"] is None:
        return "n/a"
    return f"{row['value']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"


def _operations(card: Mapping[str, Any]) -> list[str]:
    lines = ["| finding | reference prevalence | operating point |", "|---|---|---|"]
    for finding, o in card["operations"].items():
        shown = ["-" if o[k] is None else f"{o[k]:.3f}" for k in ("prevalence", "threshold")]
        lines.append(f"| {facts(finding).name} | {shown[0]} | {shown[1]} |")
    return [
        "Calibrated on the validation split (Platt), then shifted from its share of positives to the reference "
        "prevalence by Bayes' rule. The operating point is Youden's on the validation split; \"-\" = none, because the "
        "finding does not separate there (the 95 % interval of its AUC reaches 0.5).",
        "",
        *lines,
    ]
