"""CheXpert in the official layout."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from trees import write_picture, write_table

from whyray.datasets.chexpert import LABELS, load
from whyray.errors import DataError
from whyray.testing import check_dataset


def row(path: str, view: str = "Frontal", side: str = "AP", **labels: str) -> dict[str, str]:
    """One row as the release writes it; labels that are not named are empty."""
    about = {"Path": path, "Sex": "Female", "Age": "68", "Frontal/Lateral": view, "AP/PA": side}
    return {**about, **dict.fromkeys(LABELS, ""), **{k.replace("_", " "): v for k, v in labels.items()}}


def chexpert_tree(root: Path, release: str = "CheXpert-v1.0-small") -> Path:
    """Three training pictures of two patients, one validation picture."""
    train = [
        row(f"{release}/train/patient00001/study1/view1_frontal.jpg", No_Finding="1.0", Support_Devices="1.0"),
        row(
            f"{release}/train/patient00002/study1/view1_frontal.jpg",
            side="PA",
            Edema="-1.0",
            Pleural_Effusion="1.0",
            Pneumothorax="0.0",
        ),
        row(f"{release}/train/patient00002/study1/view2_lateral.jpg", "Lateral", "", Edema="-1.0"),
    ]
    valid = [{**row(f"{release}/valid/patient64541/study1/view1_frontal.jpg"), **dict.fromkeys(LABELS, "0.0")}]
    for name, rows in (("train.csv", train), ("valid.csv", valid)):
        write_table(root / name, rows)
        for i, each in enumerate(rows):
            write_picture(root / each["Path"].removeprefix(f"{release}/"), i)
    return root


@pytest.mark.parametrize("release", ["CheXpert-v1.0-small", "CheXpert-v1.0"])
def test_the_official_layout(tmp_path: Path, release: str) -> None:
    dataset = load(str(chexpert_tree(tmp_path, release)))
    check_dataset(dataset, cases=4)
    assert set(dataset.findings) == set(LABELS.values()) and len(dataset.cases("train")) == 3
    (case,) = dataset.cases("val")
    assert case.id == "patient64541_study1_view1_frontal" and case.patient == "chexpert_64541"
    assert set(case.labels.values()) == {0.0} and case.radiograph().shape == (128, 128)


def test_uncertain_and_empty_are_not_labels(tmp_path: Path) -> None:
    case = load(str(chexpert_tree(tmp_path))).cases("train")[1]
    stated = {f: value for f, value in case.labels.items() if not math.isnan(value)}
    assert stated == {"pleural_effusion": 1.0, "pneumothorax": 0.0}
    assert case.facts["uncertain"] == ("edema",) and case.facts["age"] == 68 and case.facts["sex"] == "F"


def test_empty_as_absent(tmp_path: Path) -> None:
    case = load(f"{chexpert_tree(tmp_path)},blank=0").cases("train")[1]
    assert math.isnan(case.labels["edema"]) and case.labels["pneumonia"] == 0.0 and case.labels["pleural_effusion"] == 1


def test_views(tmp_path: Path) -> None:
    first, second, third = load(str(chexpert_tree(tmp_path))).cases("train")
    assert [c.radiograph().view for c in (first, second, third)] == ["AP", "PA", "LATERAL"]
    assert [c.facts["frontal"] for c in (first, second, third)] == [True, True, False]
    frontal = load(f"{tmp_path},views=frontal,blank=0")
    assert len(frontal.cases("train")) == 2 and {c.patient for c in frontal.cases("train")} == {
        "chexpert_00001",
        "chexpert_00002",
    }


def test_pictures_need_not_be_there(tmp_path: Path) -> None:
    chexpert_tree(tmp_path)
    (tmp_path / "train/patient00001/study1/view1_frontal.jpg").unlink()
    assert len(load(str(tmp_path)).cases()) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "train.csv").write_text("Path,Edema\nx/y.jpg,1\n"), "does not read"),
        (lambda root: (root / "train.csv").write_text("Path,Edema\na/train/p/s/v.jpg,2\n"), "label '2' of Edema"),
        (lambda root: (root / "train.csv").write_text("Path\n../train/../s/v.jpg\n"), "does not lie in"),
        (lambda root: [(root / n).unlink() for n in ("train.csv", "valid.csv")], "no table"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, change, message: str) -> None:
    change(chexpert_tree(tmp_path))
    with pytest.raises(DataError, match=message):
        load(str(tmp_path))


def test_settings_and_folders_are_checked(tmp_path: Path) -> None:
    for argument in (
        f"{chexpert_tree(tmp_path)},blank=1",
        f"{tmp_path},colour=red",
        "",
        str(tmp_path / "train/patient00001"),
    ):
        with pytest.raises(DataError):
            load(argument)
