"""The SIIM-ACR challenge in its official layout: relative runs down the columns, several masks, none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicoms import write_dicom
from numpy.typing import NDArray

from whyray.datasets._check import check
from whyray.datasets.siim import from_relative_runs, load
from whyray.errors import DataError
from whyray.testing import check_dataset


def written(mask: NDArray[np.bool_]) -> str:
    """The published encoding, pixel by pixel: gap since the last run, then length, down the columns."""
    out, gap, run = [], 0, 0
    for on in mask.T.ravel():
        if on:
            run += 1
        elif run:
            out += [gap, run]
            gap, run = 1, 0
        else:
            gap += 1
    return " ".join(map(str, out + [gap, run] * bool(run)))


def masks() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    one, two = np.zeros((2, 1024, 1024), bool)
    one[160:320, 32:96] = True  # y, x: not alike in the two directions
    two[512:640, 800:1024] = two[-1, -1] = True
    return one, two


def tree(root: Path, table: str = "train-rle.csv", column: str = " EncodedPixels") -> Path:
    one, two = masks()
    rows = [("a", f" {written(one)}"), ("b", " -1"), ("c", written(one)), ("c", written(two)), ("d", "-1")]
    (root / table).write_text("\n".join([f"ImageId,{column}", *(f"{n},{t}" for n, t in rows)]) + "\n")
    for i, name in enumerate("abc"):
        write_dicom(
            root / "dicom-images-train" / f"study{i}" / f"series{i}" / f"{name}.dcm",
            i,
            side=1024 if name == "c" else 64,
        )
    return root


def test_runs_are_relative_and_go_down_the_columns() -> None:
    mask = from_relative_runs("1 2 3 1", (4, 3))
    assert mask is not None
    np.testing.assert_array_equal(mask, np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], bool))
    noise = np.random.default_rng(0).random((30, 20)) < 0.4
    np.testing.assert_array_equal(from_relative_runs(written(noise), noise.shape), noise)
    for wrong in ("", "1", "1 x", "-1 2", "12 1", "99999999999999999999 1", "1 2 3 4 5 6"):
        assert from_relative_runs(wrong, (4, 3)) is None


@pytest.mark.parametrize(
    ("table", "column"), [("train-rle.csv", " EncodedPixels"), ("stage_2_train.csv", "EncodedPixels")]
)
def test_both_stages(tmp_path: Path, table: str, column: str) -> None:
    dataset = load(str(tree(tmp_path, table, column)))
    check_dataset(dataset, cases=3)
    ill, healthy, twice, absent = dataset.cases()
    assert [c.labels["pneumothorax"] for c in dataset.cases()] == [1, 0, 1, 0]
    assert healthy.regions() == () and ill.facts["file"] == "dicom-images-train/study0/series0/a.dcm"
    (region,) = ill.regions()
    assert list(region.box) == [2, 10, 4, 10]  # 1024 px -> 64 px
    small = np.asarray(region.mask)
    assert small.sum() == 40 and small[10:20, 2:6].all()
    for region, truth in zip(twice.regions(), masks(), strict=True):
        np.testing.assert_array_equal(region.mask, truth)
    assert check(dataset).missing == (absent.id,)


@pytest.mark.parametrize(
    ("old", "new", "words"), [("b, -1", "a, -1", "has a mask and the row -1"), ("ImageId", "Image", "no column")]
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tree(tmp_path) / "train-rle.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=words):
        load(str(tmp_path))


def test_a_broken_mask_and_no_pictures(tmp_path: Path) -> None:
    path = tree(tmp_path) / "train-rle.csv"
    path.write_text("ImageId, EncodedPixels\na, 1 2 3\n")
    case = load(str(tmp_path)).cases()[0]
    with pytest.raises(DataError, match="pairs of runs"):
        case.regions()
    for picture in tmp_path.rglob("*.dcm"):
        picture.unlink()
    with pytest.raises(DataError, match="no picture was found"):
        load(str(tmp_path))
