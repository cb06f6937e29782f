"""ChestX-ray14 in the official layout, old and new."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from trees import nih_tree

from whyray.datasets.nih14 import load
from whyray.errors import DataError
from whyray.findings import crosswalk
from whyray.testing import check_dataset


@pytest.mark.parametrize(("spelling", "parts"), [("Patient Sex", True), ("Patient Gender", False)])
def test_both_releases(tmp_path: Path, spelling: str, parts: bool) -> None:
    dataset = load(str(nih_tree(tmp_path, spelling=spelling, parts=parts)))
    check_dataset(dataset, cases=4)
    case = dataset.cases()[0]
    assert (case.facts["sex"], case.facts["age"], case.facts["view"], case.patient) == ("F", 58, "PA", "nih_1")
    assert case.radiograph().shape == (128, 128) and case.radiograph().view == "PA"


def test_labels_are_all_known(tmp_path: Path) -> None:
    dataset = load(str(nih_tree(tmp_path)))
    assert set(dataset.findings) == {*crosswalk("nih-14").values(), "no_finding"}
    healthy, ill, *_ = dataset.cases()
    assert not any(math.isnan(v) for c in dataset.cases() for v in c.labels.values())
    assert [f for f, v in healthy.labels.items() if v] == ["no_finding"]
    assert {f for f, v in ill.labels.items() if v} == {"pleural_effusion", "infiltration"}


def test_boxes_under_the_broken_header(tmp_path: Path) -> None:
    cases = load(str(nih_tree(tmp_path))).cases()
    (region,) = cases[1].regions()
    assert region.finding == "infiltration" and region.box == (32, 64, 16, 8.0625)  # 1024 px -> 128 px
    assert cases[0].regions() == ()
    (tmp_path / "BBox_List_2017.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\nx.png,Mass,1,2\n")
    with pytest.raises(DataError, match=r"the row of 'x.png'"):
        load(str(tmp_path))


@pytest.mark.parametrize("lists", [True, False])
def test_splits_are_by_patient(tmp_path: Path, lists: bool) -> None:
    cases = load(str(nih_tree(tmp_path, lists=lists))).cases()
    splits: dict[str, set[str]] = {}
    for case in cases:
        splits.setdefault(case.patient, set()).add(case.split)
    assert all(len(s) == 1 for s in splits.values())
    if lists:
        assert {p for p, s in splits.items() if s == {"test"}} == {"nih_1", "nih_2"}


def test_not_all_pictures_need_be_there(tmp_path: Path) -> None:
    nih_tree(tmp_path)
    next(tmp_path.glob("images_001/images/*.png")).unlink()
    assert len(load(str(tmp_path)).cases()) == 16
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="no picture was found"):
        load(str(tmp_path))


def test_a_folder_without_the_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Data_Entry_2017_v2020.csv was not found"):
        load(str(tmp_path))
