"""VinDr-CXR in the official layout."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from trees import write_picture, write_table

from whyray.datasets.vindr import COLUMNS, findings, load
from whyray.errors import DataError
from whyray.findings import VOCABULARIES
from whyray.testing import check_dataset

CLASSES = list(dict.fromkeys(VOCABULARIES["vindr-28"]))


def label_row(name: str, reader: str | None, *present: str) -> dict[str, str]:
    about = {"image_id": name} | ({} if reader is None else {"rad_id": reader})
    return {**about, **{c: "1" if c in present else "0" for c in CLASSES}}


def box_row(name: str, reader: str | None, label: str, *box: float) -> dict[str, object]:
    about = {"image_id": name} | ({} if reader is None else {"rad_id": reader})
    return {
        **about,
        "class_name": label,
        **dict(zip(("x_min", "y_min", "x_max", "y_max"), box or [""] * 4, strict=True)),
    }


def vindr_tree(root: Path) -> Path:
    """Two training pictures of three readers each, one test picture."""
    tables = root / "annotations"
    labels = [
        label_row("aa", "R1", "Cardiomegaly", "Nodule/Mass"),
        label_row("aa", "R2", "Cardiomegaly"),
        label_row("aa", "R3", "Pleural effusion", "Cardiomegaly"),
        *(label_row("bb", f"R{i}", "No finding") for i in (1, 2, 3)),
    ]
    boxes = [
        box_row("aa", "R1", "Cardiomegaly", 20, 60, 100, 110.5),
        box_row("aa", "R2", "Cardiomegaly", 22, 61, 99, 112),
        box_row("aa", "R1", "Nodule/Mass", 100, 100, 129.5, 127),
        *(box_row("bb", f"R{i}", "No finding") for i in (1, 2, 3)),
    ]
    write_table(tables / "image_labels_train.csv", labels)
    write_table(tables / "annotations_train.csv", boxes)
    write_table(tables / "image_labels_test.csv", [label_row("cc", None, "Pneumothorax")])
    write_table(tables / "annotations_test.csv", [box_row("cc", None, "Pneumothorax", 1, 2, 30, 40)])
    for i, name in enumerate(("train/aa", "train/bb", "test/cc")):
        write_picture(root / f"{name}.png", i)
    return root


def test_the_official_layout(tmp_path: Path) -> None:
    dataset = load(str(vindr_tree(tmp_path)))
    check_dataset(dataset)
    assert set(dataset.findings) == set(COLUMNS.values()) and {c.id for c in dataset.cases()} == {"aa", "bb", "cc"}
    (test,) = dataset.cases("test")
    assert test.labels["pneumothorax"] == 1 and test.labels["cardiomegaly"] == 0
    (region,) = test.regions()
    assert region.box == (1, 2, 29, 38) and region.annotator == "consensus of 5"


def test_most_readers_decide(tmp_path: Path) -> None:
    case = next(c for c in load(str(vindr_tree(tmp_path))).cases() if c.id == "aa")
    assert case.labels["cardiomegaly"] == 1 and case.labels["edema"] == 0
    assert math.isnan(case.labels["pleural_effusion"]) and math.isnan(case.labels["nodule_or_mass"])
    assert set(case.facts["uncertain"]) == {"pleural_effusion", "nodule_or_mass"}
    assert case.facts["readers"] == ("R1", "R2", "R3")


def test_boxes_stand_with_their_reader_and_inside_the_picture(tmp_path: Path) -> None:
    aa, bb = sorted((c for c in load(str(vindr_tree(tmp_path))).cases() if c.split != "test"), key=lambda c: c.id)
    found = [(r.finding, r.annotator, r.box) for r in aa.regions()]
    assert found[:2] == [("cardiomegaly", "R1", (20, 60, 80, 50.5)), ("cardiomegaly", "R2", (22, 61, 77, 51))]
    assert found[2] == ("nodule_or_mass", "R1", (100, 100, 28, 27))
    assert bb.regions() == () and bb.labels["no_finding"] == 1


def test_the_test_tables_own_spelling(tmp_path: Path) -> None:
    vindr_tree(tmp_path)
    other = {**label_row("cc", None), "Other disease": "1"}
    del other["Other diseases"]
    write_table(tmp_path / "annotations/image_labels_test.csv", [other])
    (case,) = load(str(tmp_path)).cases("test")
    assert case.labels[COLUMNS["Other disease"]] == 1


def test_val_is_drawn_by_hash(tmp_path: Path) -> None:
    vindr_tree(tmp_path)
    names = [f"{i:032x}" for i in range(400)]
    write_table(tmp_path / "annotations/image_labels_train.csv", [label_row(n, "R1") for n in names])
    share = len(load(str(tmp_path)).cases("val")) / len(names)
    assert 0.07 < share < 0.19


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("annotations_train.csv", "image_id,class_name,x_min,y_min,x_max,y_max\naa,Mystery,1,2,3,4\n", "known class"),
        ("annotations_train.csv", "image_id,class_name,x_min,y_min,x_max,y_max\naa,Edema,1,,3,4\n", "known class"),
        ("annotations_train.csv", "image_id,class_name\naa,Edema\n", "no column 'x_min'"),
        ("image_labels_train.csv", "image_id,rad_id,Edema\naa,R1,7\n", "not 0 or 1"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, file: str, text: str, message: str) -> None:
    (vindr_tree(tmp_path) / "annotations" / file).write_text(text)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image_labels_train.csv was wanted"):
        load(str(tmp_path))
    for path in vindr_tree(tmp_path).rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="no picture was found"):
        load(str(tmp_path))
    assert len(findings()) == 28
