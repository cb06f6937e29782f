"""The RSNA challenge in its official layout: classes, boxes, patients of the NIH, tables that contradict each other."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from dicoms import write_dicom

from whyray.datasets import nih14
from whyray.datasets._check import check
from whyray.datasets.rsna import CLASSES, LABELS, MAPPING, load
from whyray.errors import DataError
from whyray.testing import check_dataset

KINDS = ["Lung Opacity", "No Lung Opacity / Not Normal", "Normal"]


def tree(root: Path, *, mapping: bool = False, pictures: int = 9) -> Path:
    """Nine pictures of three classes; the first has two boxes and, as in the release, two rows in both tables."""
    labels, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for i in range(9):
        if i % 3 == 0:
            labels.append(f"p{i},256.0,512.0,128.0,64.0,1")
            labels += ["p0,640.0,512.0,256.0,128.0,1"] * (i == 0)
        else:
            labels.append(f"p{i},,,,,0")
        classes += [f"p{i},{KINDS[i % 3]}"] * (2 if i == 0 else 1)
        if i < pictures:
            write_dicom(root / "stage_2_train_images" / f"p{i}.dcm", i)
    (root / LABELS).write_text("\n".join(labels) + "\n")
    (root / CLASSES).write_text("\n".join(classes) + "\n")
    if mapping:
        rows = [
            {"SOPInstanceUID": "1", "img_id": f"{i // 2:08d}_{i % 2:03d}.png", "subset_img_id": f"p{i}"}
            for i in range(9)
        ]
        (root / MAPPING).write_text(json.dumps(rows))
    return root


def test_classes_and_boxes(tmp_path: Path) -> None:
    dataset = load(str(tree(tmp_path)))
    check_dataset(dataset, cases=3)
    assert check(dataset).ok
    ill, other, healthy = dataset.cases()[:3]
    assert dict(ill.labels) == {"pneumonia": 1, "lung_opacity": 1, "no_finding": 0}
    assert other.labels["pneumonia"] == 0 and math.isnan(other.labels["lung_opacity"])
    assert dict(healthy.labels) == {"pneumonia": 0, "lung_opacity": 0, "no_finding": 1}
    assert ill.radiograph().shape == (64, 64) and ill.radiograph().view == "PA"
    boxes = [(r.finding, r.box) for r in ill.regions()]
    first, second = (16, 32, 8, 4), (40, 32, 16, 8)  # 1024 px -> 64 px
    assert boxes == [("pneumonia", first), ("lung_opacity", first), ("pneumonia", second), ("lung_opacity", second)]
    assert other.regions() == healthy.regions() == ()


def test_patients_are_those_of_the_nih_where_the_mapping_is(tmp_path: Path) -> None:
    alone = load(str(tree(tmp_path))).cases()
    assert {c.patient for c in alone} == {f"rsna_p{i}" for i in range(9)}
    mapped = load(str(tree(tmp_path, mapping=True))).cases()
    assert [c.patient for c in mapped] == [f"nih_{i // 2}" for i in range(9)]
    assert all(c.split == nih14._split("", str(i // 2), None) for i, c in enumerate(mapped))
    (tmp_path / "test_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    listed = load(str(tmp_path)).cases()
    assert [c.id for c in listed if c.split == "test"] == ["p2", "p3"]


def test_not_all_pictures_need_be_there(tmp_path: Path) -> None:
    dataset = load(str(tree(tmp_path, pictures=2)))
    assert len(dataset.cases()) == 9 and len(check(dataset).missing) == 7


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (LABELS, "p1,,,,,0", "p1,1,2,3,4,1", "contradict each other on 'p1'"),
        (CLASSES, "p2,Normal", "p2,Fine", "the class 'Fine'"),
        (CLASSES, "p2,Normal\n", "", "the class ''"),
        (LABELS, "p3,256.0", "p3,", "four numbers"),
        (LABELS, "Target", "Class", "no column 'Target'"),
        (MAPPING, "img_id", "image", "is not the RSNA's mapping"),
        (MAPPING, "00000001_", "x", "is not the RSNA's mapping"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, old: str, new: str, words: str) -> None:
    path = tree(tmp_path, mapping=True) / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=words):
        load(str(tmp_path))


def test_a_folder_without_the_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{LABELS} was not found"):
        load(str(tmp_path))
