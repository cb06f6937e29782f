"""CheXlocalize's files both ways: the same columns, names and gaps; pickles, bombs and damaged files are refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from whyray.errors import DataError, InputError
from whyray.io import chexlocalize_csv as files
from whyray.io import rle

NAN = float("nan")
IDS = ("patient1_study1_view1_frontal", "patient2_study1_view2_lateral")
FINDINGS = ("cardiomegaly", "lung_opacity", "atelectasis")


def table() -> files.Table:
    return files.Table(IDS, FINDINGS, np.array([[0.1, NAN, 1 / 3], [0.0, 0.25, NAN]]))


def test_results_are_theirs_line_by_line(tmp_path: Path) -> None:
    summary = {"lower": np.array([0.1, 0.2, NAN]), "mean": np.array([0.2, 0.3, NAN]), "upper": np.ones(3)}
    files.write_results(tmp_path, "iou", table(), np.array([[0.1, 0.2, NAN], [0.3, 0.4, 0.5]]), summary)
    text = {p.name: p.read_text().splitlines() for p in tmp_path.iterdir()}
    assert text == {
        "iou_results_per_cxr.csv": [
            "Airspace Opacity,Atelectasis,Cardiomegaly,img_id",
            f",0.3333333333333333,0.1,{IDS[0]}",
            f"0.25,,0.0,{IDS[1]}",
        ],
        "iou_bootstrap_results.csv": ["Airspace Opacity,Atelectasis,Cardiomegaly", "0.2,,0.1", "0.4,0.5,0.3"],
        "iou_summary_results.csv": [
            "name,lower,mean,upper",
            "Airspace Opacity,0.2,0.3,1.0",
            "Atelectasis,,,1.0",
            "Cardiomegaly,0.1,0.2,1.0",
        ],
    }


def test_results_come_back(tmp_path: Path) -> None:
    files.write_results(tmp_path, "hitmiss", table(), np.zeros((2, 3)), {"mean": np.zeros(3)})
    found = files.read_table(tmp_path / "hitmiss_results_per_cxr.csv")
    assert found.ids == IDS and found.findings == ("lung_opacity", "atelectasis", "cardiomegaly")
    np.testing.assert_array_equal(found.values, table().values[:, [1, 2, 0]])
    drawn = files.read_table(tmp_path / "hitmiss_bootstrap_results.csv")
    assert drawn.ids == () and drawn.values.shape == (2, 3)


def test_both_names_of_lung_opacity_are_read(tmp_path: Path) -> None:
    for name in ("Airspace Opacity", "Lung Opacity"):
        (tmp_path / "t.csv").write_text(f"{name},img_id\n0.5,a\n")
        assert files.read_table(tmp_path / "t.csv").findings == ("lung_opacity",)


def test_a_finding_outside_the_ten_keeps_its_name(tmp_path: Path) -> None:
    files.write_results(tmp_path, "iou", files.Table(("a",), ("nodule",), np.ones((1, 1))), np.ones((1, 1)), {})
    assert files.read_table(tmp_path / "iou_results_per_cxr.csv").findings == ("nodule",)


def test_percentage_decrease_is_sorted(tmp_path: Path) -> None:
    columns = {"hb": np.array([0.5, 0.4]), "pred": np.array([0.4, 0.1]), "pct_diff": np.array([20.0, 75.0])}
    files.write_percentage_decrease(tmp_path, "iou", ["edema", "cardiomegaly"], columns)
    lines = (tmp_path / "iou_pct_decrease.csv").read_text().splitlines()
    assert lines == [",hb,pred,pct_diff", "Cardiomegaly,0.4,0.1,75.0", "Edema,0.5,0.4,20.0"]


def test_thresholds_of_both_published_files(tmp_path: Path) -> None:
    files.write_thresholds(tmp_path, {"lung_opacity": 0.4, "cardiomegaly": 0.2})
    path = tmp_path / "tuning_results.csv"
    assert path.read_text() == "threshold,task\n0.4,Airspace Opacity\n0.2,Cardiomegaly\n"
    assert files.read_thresholds(path) == {"lung_opacity": 0.4, "cardiomegaly": 0.2}
    path.write_text("prob_threshold,mIoU,task\n0.0,0.12,Edema\n0.1,0.23,Edema\n0.2,0.19,Edema\n0.0,0.001,Lung Lesion\n")
    assert files.read_thresholds(path) == {"edema": 0.1, "lung_lesion": 0.0}
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="threshold"):
        files.read_thresholds(path)


def test_masks_both_ways_and_against_pycocotools(tmp_path: Path) -> None:
    from pycocotools import mask as coco

    mask = np.zeros((20, 30), bool)
    mask[3:9, 12:28] = True
    path = tmp_path / "masks.json"
    files.write_masks(path, {IDS[0]: {"lung_opacity": rle.encode(mask), "edema": rle.encode(~mask)}})
    written = json.loads(path.read_text())[IDS[0]]
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert written["Airspace Opacity"] == {"size": [20, 30], "counts": theirs["counts"].decode()}
    back = files.read_masks(path)[IDS[0]]
    np.testing.assert_array_equal(rle.decode(back["lung_opacity"]), mask)
    assert rle.intersection(back["edema"], back["lung_opacity"]) == 0
    for bad in ("[1]", "{", '{"a": [3]}', "[" * 100_000):
        path.write_text(bad)
        with pytest.raises(DataError):
            files.read_masks(path)


def test_maps_from_npz_and_csv(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    path = tmp_path / f"{IDS[0]}_Airspace Opacity_map.npz"
    np.savez(path, map=values[None, None], prob=0.25, cxr_dims=(390, 320), task="Airspace Opacity")
    found = files.read_map(path)
    assert (found.picture, found.finding, found.shape, found.probability) == (IDS[0], "lung_opacity", (320, 390), 0.25)
    np.testing.assert_array_equal(found.values, values)
    plain = path.with_suffix(".csv")
    plain.write_text("\n".join(",".join(f"{v:.9g}" for v in row) for row in values))
    again = files.read_map(plain)
    np.testing.assert_array_equal(again.values, values)
    assert again.shape is None and np.isnan(again.probability)


@pytest.mark.parametrize("shape", [(97, 131), (20, 30), (7, 9), (5, 40)])
def test_maps_are_resized_as_published(shape: tuple[int, int]) -> None:
    """Bilinear, corners not aligned: torch's own."""
    import torch

    values = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None].double(), shape, mode="bilinear")[
        0, 0
    ]
    found = files.StoredMap("a", "edema", values, shape)
    np.testing.assert_allclose(found.at_source(), theirs.numpy(), atol=1e-6)
    with pytest.raises(DataError, match="how large"):
        files.StoredMap("a", "edema", values).at_source()


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    opened = tmp_path / "opened"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(opened),)

    path = tmp_path / "a_Edema_map.pkl"
    path.write_bytes(pickle.dumps({"map": Trap()}))
    with pytest.raises(InputError, match="a pickle is a program") as caught:
        files.read_map(path)
    assert "numpy.savez" in str(caught.value)
    inside = tmp_path / "a_Edema_map.npz"
    np.savez(inside, map=np.array([Trap()], object))
    with pytest.raises(InputError):
        files.read_map(inside)
    inside.write_bytes(path.read_bytes())
    with pytest.raises(InputError):
        files.read_map(inside)
    assert not opened.exists()
    pickle.loads(pickle.dumps({"map": Trap()}))  # noqa: S301
    assert opened.exists(), "the trap works"


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.ones((3, 3))},
        {"map": np.ones(3)},
        {"map": np.ones((2, 3, 3))},
        {"map": np.array([["a"]])},
        {"map": np.ones((3, 3)), "cxr_dims": (1, 2, 3)},
        {"map": np.ones((3, 3)), "cxr_dims": (10**6, 10**6)},
        {"map": np.ones((3, 3)), "cxr_dims": (-3, 5)},
        {"map": np.ones((3, 3)), "prob": np.empty(0)},
    ],
)
def test_maps_that_are_none_are_refused(arrays: dict[str, object], tmp_path: Path) -> None:
    np.savez(tmp_path / "a_Edema_map.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        files.read_map(tmp_path / "a_Edema_map.npz")


def test_bombs_and_damage_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a_Edema_map.npz"
    np.savez_compressed(path, map=np.zeros((1200, 1200), np.float32))
    monkeypatch.setenv("WHYRAY_LIMITS", "plain_bytes=1000000")
    with pytest.raises(InputError, match="unpacks"):
        files.read_map(path)
    monkeypatch.delenv("WHYRAY_LIMITS")
    whole = path.read_bytes()
    for damaged in (whole[:-40], b"\x93NUMPY" + whole, whole[:100] + b"\0" * 50 + whole[150:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError):
            files.read_map(path)
    text = tmp_path / "a_Edema_map.csv"
    for content in ("a,b\n", "1,2\n3\n", " \n"):
        text.write_text(content)
        with pytest.raises(InputError, match="table of numbers"):
            files.read_map(text)


@pytest.mark.parametrize("name", ["map.npz", "a_map.npz", "a_Edema.npz", "a_Edema_map.png"])
def test_names_that_say_nothing_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="map"):
        files.read_map(tmp_path / name)


@pytest.mark.parametrize("text", ["", "Nonsense,img_id\n1,a\n", "Edema,img_id\n1\n", "Edema\nx\n", '"'])
def test_damaged_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((DataError, InputError)):
        files.read_table(tmp_path / "t.csv")
