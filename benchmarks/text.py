"""Reports to labels: speed in MB/s on one core, and agreement with the human codes of a reports.csv.

    python benchmarks/text.py                         # speed, on sentences of the rule files
    python benchmarks/text.py --reports reports.csv   # speed and agreement on real reports

Speed is of processor time, sections and sentences and labels in one pass; "first sight" empties the memory of sentences
before every report, "kept" lets it work as in use (reports repeat themselves). The best of three runs stands.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from whyray.metrics._intervals import REPLICATES, interval
from whyray.text._lexicon import rules
from whyray.text.labeller import RuleLabeller, mentions
from whyray.text.nle import explain
from whyray.text.sections import split
from whyray.text.sentences import mimic_nle, sentences

# findings_nih label -> canonical id; the codes were made into labels by regular expressions
CODES = {
    "Atelectasis": "atelectasis",
    "Cardiomegaly": "cardiomegaly",
    "Consolidation": "consolidation",
    "Edema": "edema",
    "Effusion": "pleural_effusion",
    "Emphysema": "emphysema",
    "Fibrosis": "fibrosis",
    "Hernia": "hernia",
    "Infiltration": "infiltration",
    "Mass": "mass",
    "Nodule": "nodule",
    "Pleural_Thickening": "pleural_thickening",
    "Pneumonia": "pneumonia",
    "Pneumothorax": "pneumothorax",
    "No Finding": "no_finding",
}
# straight from the codes before the first slash, where findings_nih has no label
MESH = {
    "Fracture": ("fracture", ("Fractures, Bone",)),
    "Support devices": (
        "support_devices",
        (
            "Catheters, Indwelling",
            "Implanted Medical Device",
            "Medical Device",
            "Tube, Inserted",
            "Stents",
            "Surgical Instruments",
        ),
    ),
    "Lung opacity": ("lung_opacity", ("Opacity", "Airspace Disease", "Infiltrate", "Density")),
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=Path, help="a reports.csv with findings_text, impression_text, findings_nih")
    asked = parser.parse_args()
    rows = _rows(asked.reports) if asked.reports else []
    reports = [_report(row["findings_text"], row["impression_text"]) for row in rows] or _written(3000)
    _speed(reports)
    if rows:
        _agreement(rows)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["findings_text"] or row["impression_text"]]


def _report(findings: str, impression: str) -> str:
    return f" FINAL REPORT\n \n FINDINGS:  {findings}\n \n IMPRESSION:  {impression}\n"


def _written(count: int) -> list[str]:
    """Reports of sentences from the rule files, drawn at random."""
    rng = random.Random(0)
    pool = [r.fields["example"].replace("[", "").replace("]", "") for n in ("findings", "assertion") for r in rules(n)]
    return [_report(" ".join(rng.choices(pool, k=6)), " ".join(rng.choices(pool, k=2))) for _ in range(count)]


def _speed(reports: Sequence[str]) -> None:
    labeller = RuleLabeller()
    size = sum(len(r.encode()) for r in reports)
    stages: dict[str, Callable[[str], object]] = {
        "sections": split,
        "sentences": sentences,
        "sentences as MIMIC-NLE": lambda r: mimic_nle("s", r),
        "sections + sentences + labels, kept": labeller.report,
        "sections + sentences + labels, first sight": lambda r: (mentions.cache_clear(), labeller.report(r)),
        "explanations, kept": lambda r: [explain(s.text) for s in labeller.report(r).sentences],
    }
    labeller.report(reports[0])
    print(f"{len(reports)} reports, {size / 1e6:.2f} MB")
    for name, stage in stages.items():
        best = min(_seconds(stage, reports) for _ in range(3))
        print(f"| {name} | {size / 1e6 / best:.2f} MB/s |")


def _seconds(stage: Callable[[str], object], reports: Sequence[str]) -> float:
    mentions.cache_clear()
    start = time.process_time()
    for report in reports:
        stage(report)
    return time.process_time() - start


def _agreement(rows: Sequence[dict[str, str]]) -> None:
    wanted = CODES | {name: finding for name, (finding, _) in MESH.items()}
    labeller = RuleLabeller(tuple(wanted.values()))
    said = [labeller.label(f"{row['findings_text']}\n\n{row['impression_text']}") for row in rows]
    print(f"\n{len(rows)} reports, {REPLICATES} bootstrap replicates by report\n")
    print("| finding | n | precision | recall | recall, uncertain as found | uncertain with / without the code |")
    print("|---|---|---|---|---|---|")
    for label, finding in wanted.items():
        truth = np.array([_coded(row, label) for row in rows])
        called = np.array([s[finding] == "positive" for s in said])
        hedged = np.array([s[finding] == "uncertain" for s in said])
        cells = [
            _share(called & truth, called), _share(called & truth, truth), _share((called | hedged) & truth, truth),
            f"{(hedged & truth).sum()} / {(hedged & ~truth).sum()}",
        ]  # fmt: skip
        print(f"| {label} | {truth.sum()} | " + " | ".join(cells) + " |")


def _coded(row: dict[str, str], label: str) -> bool:
    if label in MESH:
        return bool({code.split("/")[0] for code in row["mesh_major"].split("|")} & set(MESH[label][1]))
    return label in row["findings_nih"].split("|")


def _share(hits: np.ndarray, of: np.ndarray) -> str:
    """hits / of, with the 95 % interval by report."""
    if not of.any():
        return "–"

    def measure(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.asarray((weights @ hits) / (weights @ of))

    low, high = interval(measure, [str(i) for i in range(len(of))], replicates=REPLICATES)
    return f"{hits.sum() / of.sum():.2f} ({low:.2f}–{high:.2f})"


if __name__ == "__main__":
    main()
