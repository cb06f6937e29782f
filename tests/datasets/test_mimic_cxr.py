"""MIMIC-CXR-JPG in the official layout, on a generated tree."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from trees import write_picture, write_table

from whyray.datasets._check import check
from whyray.datasets._resolve import load_dataset
from whyray.datasets.chexpert import LABELS
from whyray.datasets.mimic_cxr import load
from whyray.errors import DataError
from whyray.testing import check_dataset

PICTURES = [  # dicom, subject, study, view, split
    ("0a1-pa", "10000032", "50414267", "PA", "train"),
    ("0a2-lat", "10000032", "50414267", "LATERAL", "train"),
    ("0b1-ap", "10000764", "57375967", "AP", "validate"),
    ("0c1-x", "11000011", "51029426", "XTABLE LATERAL", "test"),
    ("0d1-none", "11000416", "53522600", "", "test"),
]
STATED = {
    "50414267": {"Pleural Effusion": "1.0", "Edema": "-1.0", "Pneumothorax": "0.0"},
    "57375967": {"No Finding": "1.0"},
    "51029426": {"Cardiomegaly": "1.0"},
}
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 
 FINDINGS:  Small left effusion.  Possible edema.
 
 IMPRESSION:  Left effusion.
"""


def packed(path: Path) -> None:
    """A table as the release has it: gzip."""
    with gzip.open(path.with_name(path.name + ".gz"), "wb") as handle:
        handle.write(path.read_bytes())
    path.unlink()


def mimic_tree(root: Path, *, reports: str | None = "mimic-cxr-reports/files") -> Path:
    """Five pictures of four patients; one report of four is there; one study has no labels."""
    about = [{"dicom_id": d, "subject_id": p, "study_id": s, "ViewPosition": v} for d, p, s, v, _ in PICTURES]
    splits = [{"dicom_id": d, "study_id": s, "subject_id": p, "split": split} for d, p, s, _, split in PICTURES]
    subjects = {s: p for _, p, s, _, _ in PICTURES}
    empty = dict.fromkeys(LABELS, "")
    labels = [{"subject_id": subjects[s], "study_id": s, **empty, **stated} for s, stated in STATED.items()]
    other = [{**row, "Edema": "1.0"} for row in labels]
    for name, rows in (("metadata", about), ("split", splits), ("chexpert", labels), ("negbio", other)):
        write_table(root / f"mimic-cxr-2.0.0-{name}.csv", rows)
        packed(root / f"mimic-cxr-2.0.0-{name}.csv")
    for i, (dicom, subject, study, _, _) in enumerate(PICTURES):
        write_picture(root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg", i)
    if reports is not None:
        file = root / reports / "p10/p10000032/s50414267.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(REPORT)
    return root


def test_the_official_layout(tmp_path: Path) -> None:
    dataset = load_dataset(f"mimic_cxr:{mimic_tree(tmp_path)}")
    check_dataset(dataset, cases=5)
    assert [len(dataset.cases(s)) for s in ("train", "val", "test")] == [2, 1, 2]
    case = dataset.cases()[0]
    assert case.id == "0a1-pa" and case.patient == "mimic_10000032" and case.facts["study"] == "s50414267"
    assert case.radiograph().shape == (128, 128) and case.radiograph().view == "PA"
    assert [c.facts["frontal"] for c in dataset.cases()] == [True, False, True, False, False]
    assert [c.facts["view"] for c in dataset.cases()] == ["PA", "LATERAL", "AP", "LATERAL", ""]


def test_labels_are_those_of_the_study(tmp_path: Path) -> None:
    first, lateral, healthy, _, unlabelled = load(str(mimic_tree(tmp_path))).cases()
    stated = {f: v for f, v in first.labels.items() if not math.isnan(v)}
    assert stated == {"pleural_effusion": 1.0, "pneumothorax": 0.0} and first.facts["uncertain"] == ("edema",)
    assert lateral.labels == first.labels or str(lateral.labels) == str(first.labels)
    assert healthy.labels["no_finding"] == 1.0
    assert len(unlabelled.labels) == 14 and all(map(math.isnan, unlabelled.labels.values()))


def test_policies(tmp_path: Path) -> None:
    root = mimic_tree(tmp_path)
    (first, *_) = load(f"{root},blank=0,views=frontal").cases()
    assert first.labels["atelectasis"] == 0.0 and math.isnan(first.labels["edema"])
    assert [c.id for c in load(f"{root},views=frontal").cases()] == ["0a1-pa", "0b1-ap"]
    assert load(f"{root},labels=negbio").cases()[0].labels["edema"] == 1.0


@pytest.mark.parametrize("place", ["mimic-cxr-reports/files", "mimic-cxr-reports", "files"])
def test_reports_are_read_when_asked_for(tmp_path: Path, place: str) -> None:
    cases = load(str(mimic_tree(tmp_path, reports=place))).cases()
    assert cases[0].report["findings"] == "Small left effusion.  Possible edema."
    assert cases[0].report["impression"] == "Left effusion." and cases[1].report["findings"]
    assert dict(cases[2].report) == {} and cases[2].report.get("findings", "") == ""


def test_reports_elsewhere(tmp_path: Path) -> None:
    root = mimic_tree(tmp_path / "jpg", reports=None)
    assert dict(load(str(root)).cases()[0].report) == {} and "report" not in load(str(root)).cases()[0].facts
    mimic_tree(tmp_path / "text")
    assert "findings" in load(f"{root},reports={tmp_path / 'text/mimic-cxr-reports'}").cases()[0].report
    with pytest.raises(DataError, match="no report tree"):
        load(f"{root},reports={tmp_path / 'nowhere'}")


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    root = mimic_tree(tmp_path)
    (root / "files/p11/p11000011/s51029426/0c1-x.jpg").unlink()
    found = check(load(str(root)))
    assert found.missing == ("0c1-x",) and not found.ok
    assert found.unreported == tuple(
        f"p{s[:2]}/p{s}/s{t}.txt"
        for s, t in (("10000764", "57375967"), ("11000011", "51029426"), ("11000416", "53522600"))
    )
    text = "\n".join(found.lines())
    assert "missing picture files: 1: 0c1-x" in text and "missing reports: 3: p10/p10000764/s57375967.txt" in text


def test_unpacked_tables_are_read_too(tmp_path: Path) -> None:
    root = mimic_tree(tmp_path)
    file = root / "mimic-cxr-2.0.0-split.csv.gz"
    file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
    file.unlink()
    assert len(load(str(root)).cases("test")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "mimic-cxr-2.0.0-split.csv.gz").unlink(), "split.csv.gz was not found"),
        (lambda root: (root / "mimic-cxr-2.0.0-split.csv.gz").write_bytes(b"no gzip"), "could not be read"),
        (lambda root: rewritten(root, "split", b"validate", b"dev"), "the split 'dev' came"),
        (lambda root: rewritten(root, "metadata", b"ViewPosition", b"View"), "no column 'ViewPosition'"),
        (lambda root: rewritten(root, "metadata", b"10000032", b"../etc"), "no subject_id"),
        (lambda root: rewritten(root, "chexpert", b"-1.0", b"3"), "label '3' of Edema"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, change, message: str) -> None:
    change(mimic_tree(tmp_path))
    with pytest.raises(DataError, match=message):
        load(str(tmp_path))


def rewritten(root: Path, name: str, old: bytes, new: bytes) -> None:
    file = root / f"mimic-cxr-2.0.0-{name}.csv.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(old, new)))


def test_settings_are_checked(tmp_path: Path) -> None:
    for argument in (f"{mimic_tree(tmp_path)},labels=mine", f"{tmp_path},colour=red", ""):
        with pytest.raises(DataError):
            load(argument)
