"""CheXlocalize in the official layout: run lengths by pycocotools, contours, label tables, other truths."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_chexpert import row
from trees import write_picture, write_table

from whyray.datasets.chexlocalize import PATHOLOGIES, filled_contours, load
from whyray.datasets.chexpert import LABELS
from whyray.errors import DataError
from whyray.testing import check_dataset

SIDE = 128
FIRST, SECOND = "patient64541_study1_view1_frontal", "patient64542_study1_view2_lateral"


def coco(mask: np.ndarray) -> dict[str, object]:
    """As the release: pycocotools' compressed string."""
    from pycocotools import mask as peer

    encoded = peer.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(s) for s in encoded["size"]], "counts": encoded["counts"].decode()}


def drawn() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[30:60, 20:90] = True
    mask[80:90, 100:104] = True
    return mask


def tree(
    root: Path, pictures: str = "CheXpert-v1.0", folder: str = "valid", table: str = "valid.csv", place: str = "."
) -> Path:
    """Two pictures of the validation set, the first with an opacity, as pictures, table and run lengths."""
    path = "{}/{}/{}/study1/{}.jpg"
    rows = [
        {**row(path.format(pictures, folder, "patient64541", "view1_frontal"), Lung_Opacity="1.0")},
        {**row(path.format(pictures, folder, "patient64542", "view2_lateral"), "Lateral", "")},
    ]
    rows = [{k: v or ("0.0" if k in LABELS else "") for k, v in each.items()} for each in rows]
    if table:
        write_table(root / pictures / table, rows)
    for i, each in enumerate(rows):
        write_picture(root / each["Path"], i, SIDE)
    none = coco(np.zeros((SIDE, SIDE), bool))
    content = {name: dict.fromkeys(PATHOLOGIES, none) for name in (FIRST, SECOND)}
    content[FIRST]["Airspace Opacity"] = coco(drawn())
    (root / place).mkdir(exist_ok=True)
    (root / place / "gt_segmentations_val.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"pictures": "CheXpert", "folder": "val", "table": "val_labels.csv", "place": "CheXlocalize"},
        {"pictures": ".", "table": "valid.csv"},
    ],
)
def test_official_layouts(tmp_path: Path, layout: dict[str, str]) -> None:
    dataset = load(str(tree(tmp_path, **layout)))
    check_dataset(dataset)
    first, second = dataset.cases("val")
    (region,) = first.regions()
    np.testing.assert_array_equal(region.mask, drawn())
    assert region.finding == "lung_opacity" and region.box == (20, 30, 84, 60) and region.kind == "finding"
    assert first.labels["lung_opacity"] == 1 and first.labels["fracture"] == 0 and first.id == FIRST
    assert second.regions() == () and second.radiograph().view == "LATERAL"
    assert (tmp_path / str(first.facts["file"])).is_file()


def test_without_a_table_what_is_drawn_is_there(tmp_path: Path) -> None:
    first, second = load(str(tree(tmp_path, table=""))).cases()
    assert first.labels["lung_opacity"] == 1 and first.labels["edema"] == 0 and math.isnan(first.labels["fracture"])
    assert second.labels["lung_opacity"] == 0 and first.radiograph().shape == (SIDE, SIDE)
    assert first.patient == "chexpert_64541"


def test_contours_and_other_truths(tmp_path: Path) -> None:
    tree(tmp_path)
    square = [[[10.0, 20.0], [40.0, 20.0], [40.0, 50.0], [10.0, 50.0]], [[1.0, 1.0]]]
    content = {FIRST: {"img_size": [SIDE, SIDE], "Lung Opacity": square, "Edema": []}}
    (tmp_path / "hb_annotations_val.json").write_text(json.dumps(content))
    first, second = load(f"{tmp_path},truth=hb_annotations_val.json").cases()
    (region,) = first.regions()
    assert region.box == (10, 20, 31, 31) and region.annotator == "CheXlocalize human benchmark"
    assert region.mask is not None and region.mask.sum() == 31 * 31 and second.regions() == ()
    (tmp_path / "gt_segmentations_val.json").unlink()
    (tmp_path / "gt_annotations_val.json").write_text(json.dumps(content))
    assert load(str(tmp_path)).cases()[0].regions()[0].annotator == "CheXlocalize radiologists"


def test_a_smaller_copy_of_the_pictures(tmp_path: Path) -> None:
    tree(tmp_path)
    path = tmp_path / "CheXpert-v1.0/valid/patient64541/study1/view1_frontal.jpg"
    Image.open(path).resize((64, 64)).save(path)
    (region,) = load(str(tmp_path)).cases()[0].regions()
    assert region.mask is not None and region.mask.shape == (64, 64)
    np.testing.assert_array_equal(region.mask, drawn()[1::2, 1::2])


def test_masks_are_read_only_when_asked(tmp_path: Path) -> None:
    tree(tmp_path)
    path = tmp_path / "gt_segmentations_val.json"
    content = json.loads(path.read_text())
    content[FIRST]["Airspace Opacity"]["size"] = [SIDE, SIDE + 1]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="run lengths"):
        load(str(tmp_path)).cases()[0].regions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "could not be read as JSON"),
        ("[1, 2]", "does not hold pathologies"),
        (json.dumps({"patient1_study1_view1_frontal": {}}), "lacks 'patient1_study1_view1_frontal'"),
        (json.dumps({FIRST: {"Broken heart": []}}), "'Broken heart' is not known"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tree(tmp_path) / "gt_segmentations_val.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path)).cases()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gt_segmentations_val.json or .* was wanted"):
        load(str(tmp_path))
    with pytest.raises(DataError, match=r"hb_points_val\.json was wanted"):
        load(f"{tree(tmp_path)},truth=hb_points_val.json")
    lone = tmp_path / "lone"
    lone.mkdir()
    (tmp_path / "gt_segmentations_val.json").rename(lone / "gt_segmentations_val.json")
    with pytest.raises(DataError, match="no pictures of CheXpert"):
        load(str(lone))


@pytest.mark.parametrize("contours", [[[1, 2]], [[["a", "b"]]], [[[float("nan"), 1]]], 5])
def test_contours_that_are_none(contours: object) -> None:
    with pytest.raises(DataError, match="not lists of"):
        filled_contours(contours, [32, 32], "x")
    with pytest.raises(DataError, match="not lists of"):
        filled_contours([], None, "x")
