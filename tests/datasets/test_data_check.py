"""``check`` finds what it is for: every fault is planted in a sound tree."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from trees import folder_tree, nih_tree

from whyray.datasets import folder, nih14, phantom
from whyray.datasets._check import check, inside
from whyray.datasets._resolve import load_dataset
from whyray.types import Region


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return folder_tree(tmp_path)


def test_a_sound_folder(tree: Path) -> None:
    seen = []
    report = check(folder.load(str(tree)), report=lambda done, total, name: seen.append((done, total)))
    assert report.ok and report.opened == 6 and seen[-1] == (6, 6)
    assert report.counts["mass"]["train"] == (1, 1, 0) and report.counts["pneumonia"]["test"] == (0, 1, 2)
    assert report.splits["test"] == {"cases": 3, "patients": 3} and list(report.splits) == ["train", "val", "test"]
    assert report.unknown == {"COVID-19": 1, "ARDS": 1}
    text = "\n".join(report.lines())
    assert "6 cases; 6 pictures read" in text and "labels nobody knows (not used): 2" in text
    json.dumps(asdict(report))


def test_missing_and_unreadable_pictures(tree: Path) -> None:
    (tree / "images/p1.png").unlink()
    (tree / "images/p2.png").write_bytes(b"no picture")
    report = check(folder.load(str(tree)))
    assert not report.ok and report.missing == ("p1",) and list(report.unreadable) == ["p2"] and report.opened == 4
    assert "missing picture files: 1: p1" in report.lines()


def test_a_split_is_checked_alone(tree: Path) -> None:
    (tree / "images/p1.png").unlink()
    assert check(load_dataset(f"folder:{tree}#test")).ok
    assert check(load_dataset(f"folder:{tree}#train")).missing == ("p1",)


def test_duplicates(tree: Path) -> None:
    shutil.copy(tree / "images/p0.png", tree / "images/p1.png")  # both train
    shutil.copy(tree / "images/p2.png", tree / "images/p3.png")  # val and test
    report = check(folder.load(str(tree)))
    assert report.duplicates == (("p0", "p1"),) and report.across_splits == (("p2", "p3"),) and not report.ok


def test_a_patient_in_two_splits(tree: Path) -> None:
    table = (tree / "images.csv").read_text()
    (tree / "images.csv").write_text(table.replace("patient2", "patient0"))
    report = check(folder.load(str(tree)))
    assert report.leaking == ("patient0",) and not report.ok
    assert "patients in more than one split: 1: patient0" in report.lines()


def test_regions_outside_the_picture(tree: Path) -> None:
    table = (tree / "boxes.csv").read_text()
    (tree / "boxes.csv").write_text(table.replace("0.25,0.5,0.5,0.25", "0.75,0.5,0.5,0.25"))
    assert check(folder.load(str(tree))).outside == ("p0",)


def test_what_lies_inside() -> None:
    mask = np.ones((4, 4), bool)
    assert inside(Region("mass", (0, 0, 10, 10)), (10, 10)) and inside(Region("mass", (0, 0, 10.5, 10)), (10, 10))
    assert not inside(Region("mass", (0, 0, 12, 10)), (10, 10))
    assert not inside(Region("mass", (3, 3, 0, 2)), (10, 10))
    assert not inside(Region("mass", (0, 0, 4, 4), mask), (10, 10))


def retitled(tree: Path, *pairs: tuple[str, str]) -> list[str]:
    """What is said of a sound folder after some words of its table are others; the last line first."""
    table = (tree / "images.csv").read_text()
    for old, new in pairs:
        assert old in table
        table = table.replace(old, new)
    (tree / "images.csv").write_text(table)
    report = check(folder.load(str(tree)))
    assert report.ok is not bool(report.mistakes)
    return [*report.mistakes, *report.remarks]


def test_labels_in_a_column_of_another_name(tree: Path) -> None:
    (said,) = retitled(tree, ("findings", "Labels"))
    assert "rename 'Labels' to 'findings': the columns are Labels, image_id, " in said


def test_no_column_of_labels_is_told_and_may_be_meant(tree: Path) -> None:
    (said,) = retitled(tree, ("findings", "remarks"))
    assert "labels are read from the column 'findings'" in said and "remarks" in said
    assert check(folder.load(str(tree))).ok


def test_splits_of_other_names(tree: Path) -> None:
    first, second = retitled(tree, (",val", ",valid"), (",test", ",TEST"))
    assert "'TEST'" in first and "mean test?" in first and "'valid'" in second and "mean val?" in second


def test_a_split_of_ones_own_is_only_told(tree: Path) -> None:
    assert retitled(tree, (",val", ",outside")) == ["the split 'outside' is none of train, val, test"]


def test_labels_that_are_nearly_findings(tree: Path) -> None:
    (said,) = retitled(tree, ("COVID-19", "efusion|Cardiomegaly;Effusion"))
    assert said == "the label 'Cardiomegaly;Effusion': write '|' between findings, not ';'"
    lines = check(folder.load(str(tree))).lines()
    assert "efusion (1; did you mean pleural_effusion?)" in lines[-1] and "ARDS (1)" in lines[-1]


def test_a_limit_spreads_over_the_data(tree: Path) -> None:
    report = check(folder.load(str(tree)), limit=2)
    assert report.opened == 2 and sum(s["cases"] for s in report.splits.values()) == 6


def test_other_data_sets(tmp_path: Path) -> None:
    assert check(nih14.load(str(nih_tree(tmp_path)))).ok
    report = check(phantom.load("train=3,val=1,test=1,size=64"))
    assert report.ok and report.opened == 5 and report.counts["nodule"]["val"][2] == 0


def test_the_development_data_leaks_no_patient(dev_data: Path) -> None:
    report = check(folder.load(str(dev_data / "dev")), limit=25)
    assert report.ok, report.lines()
    assert report.unknown
