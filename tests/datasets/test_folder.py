"""The folder format: labels by source, regions in the picture's pixels, reports, splits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from trees import folder_tree, write_table

from whyray.datasets._resolve import load_dataset
from whyray.datasets._tables import read_rows
from whyray.datasets.folder import load
from whyray.errors import DataError, InputError, UnknownName
from whyray.testing import check_dataset


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return folder_tree(tmp_path)


def labels(tree: Path) -> dict[str, dict[str, float]]:
    return {c.id: {f: v for f, v in c.labels.items() if not math.isnan(v)} for c in load(str(tree)).cases()}


def test_the_contract(tree: Path) -> None:
    check_dataset(load(str(tree)), cases=6)


def test_a_source_labels_what_it_looks_for(tree: Path) -> None:
    told = labels(tree)
    assert len(told["p0"]) == 15 and told["p0"]["pleural_effusion"] == 1 and told["p0"]["edema"] == 0
    assert told["p1"]["no_finding"] == 1 and sum(told["p1"].values()) == 1
    assert told["p2"] == {"pneumonia": 1, "no_finding": 0} and told["p3"] == {"pneumonia": 0, "no_finding": 1}
    assert told["p4"] == {}
    assert told["p5"] == {"nodule": 1, "edema": 0}


def test_uncertain_and_unknown_labels_are_told(tree: Path) -> None:
    cases = {c.id: c for c in load(str(tree)).cases()}
    assert cases["p5"].facts["uncertain"] == ("pneumonia",) and cases["p0"].facts["uncertain"] == ()
    assert cases["p4"].facts["unknown_labels"] == ("COVID-19", "ARDS")


def test_the_column_labelled_decides(tree: Path) -> None:
    row = {"image_id": "a", "file": "images/p0.png", "findings": "Mass", "dataset": "NIH ChestX-ray14"}
    rows = [{**row, "labelled": "Mass|Nodule"}, {**row, "image_id": "b", "labelled": "nih-14", "dataset": ""}]
    write_table(tree / "images.csv", rows)
    (tree / "boxes.csv").unlink(), (tree / "masks.csv").unlink()
    told = labels(tree)
    assert told["a"] == {"mass": 1, "nodule": 0} and len(told["b"]) == 14


def test_regions_are_in_pixels_of_the_picture_that_is_read(tree: Path) -> None:
    case = load(str(tree)).cases()[0]
    first, second, lung = case.regions()
    assert (first.finding, first.box) == ("lung_opacity", (64, 32, 32, 32))  # of 1024 x 512, shown at 128 x 128
    assert (second.finding, second.box, second.annotator) == ("pneumonia", (32, 64, 64, 32), "reader 1")
    assert (lung.finding, lung.kind, lung.box) == ("left_lung", "anatomy", (16, 32, 32, 32))
    assert lung.mask is not None and lung.mask.sum() == 32 * 32


def test_another_column_of_pictures(tree: Path) -> None:
    small = load(f"{tree},pictures=small").cases()
    assert small[0].radiograph().shape == (64, 64) and small[1].radiograph().shape == (128, 128)
    assert small[0].regions()[1].box == (16, 32, 32, 16) and small[0].regions()[2].mask.shape == (64, 64)
    with pytest.raises(DataError, match="no column 'large'"):
        load(f"{tree},pictures=large")


def test_facts_views_and_reports(tree: Path) -> None:
    first, second, *_ = load(str(tree)).cases()
    assert second.radiograph().view == "AP" and second.facts["view"] == "AP Supine" and second.facts["age"] == 44
    assert first.report == second.report == {"findings": "Effusion.", "indication": "Cough."}
    assert first.radiograph().name == "p0" and first.patient == "patient0"


def test_splits(tree: Path) -> None:
    whole = load_dataset(f"folder:{tree}")
    assert [len(whole.cases(s)) for s in ("train", "val", "test")] == [2, 1, 3]
    part = load_dataset(f"folder:{tree}#test")
    assert [c.id for c in part.cases()] == ["p3", "p4", "p5"] == [c.id for c in part.cases("test")]
    with pytest.raises(DataError, match="keeps the split 'test' only"):
        part.cases("train")
    with pytest.raises(DataError, match="no split 'dev'; it has test, train, val"):
        load_dataset(f"folder:{tree}#dev")


def test_names_resolve() -> None:
    assert len(load_dataset("phantom#test").cases()) == 1000
    assert len(load_dataset("phantom:test=3#test").cases()) == 3
    with pytest.raises(UnknownName, match="did you mean phantom"):
        load_dataset("fantom")


def test_tables_that_are_not_as_the_format_says(tree: Path) -> None:
    for rows, words in (
        ([{"image_id": "a", "picture": "x.png"}], "no column 'file'"),
        ([{"image_id": "a", "file": "../x.png"}], "does not lie in"),
        ([{"image_id": "a", "file": "/etc/x.png"}], "does not lie in"),
        ([{"image_id": "a", "file": "x.png"}, {"image_id": "a", "file": "y.png"}], "twice"),
        ([{"image_id": "a", "file": "x.png", "labelled": "Blobs"}], "'Blobs'"),
    ):
        write_table(tree / "images.csv", rows)
        with pytest.raises(DataError, match=words):
            load(str(tree))
    with pytest.raises(DataError, match=r"there is no folder '.*/nowhere'; check"):
        load(str(tree / "nowhere"))
    with pytest.raises(DataError, match=r"images.csv was not found in '.*/images'; the page"):
        load(str(tree / "images"))
    (tree / "images.csv").write_bytes(b"\xff\xfe\x00image_id")
    with pytest.raises(DataError, match="could not be read"):
        load(str(tree))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Image_ID,File,Findings", "no column 'image_id'; rename 'Image_ID' to 'image_id'"),
        ("image_id;file;findings", "separated by semicolons; export it with commas"),
        ("image_id\tfile\tfindings", "separated by tabs; export it with commas"),
    ],
)
def test_a_table_that_is_nearly_right_is_told_what_to_change(tree: Path, header: str, words: str) -> None:
    (tree / "images.csv").write_text(f"{header}\na,x.png,Mass\n")
    with pytest.raises(DataError, match=words):
        load(str(tree))


def test_a_folder_without_its_kind_is_told_how_to_write_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    for spec in (tree.name, f"{tree.name}/images.csv"):
        with pytest.raises(DataError, match=f"write folder:{tree.name} .*nih14:"):
            load_dataset(spec)


def test_a_missing_picture_fails_when_it_is_read(tree: Path) -> None:
    (tree / "images/p2.png").unlink()
    case = load(str(tree)).cases()[2]
    with pytest.raises(InputError):
        case.radiograph()


def test_the_development_data(dev_data: Path) -> None:
    dataset = load_dataset(f"folder:{dev_data / 'dev'}")
    cases = dataset.cases()
    assert len(cases) > 3000 and {"pneumonia", "pneumothorax", "no_finding"} <= set(dataset.findings)
    children = [c for c in cases if str(c.facts["dataset"]).startswith("Paediatric")]
    assert all({f for f, v in c.labels.items() if not math.isnan(v)} == {"pneumonia", "no_finding"} for c in children)
    boxed = next(c for c in cases if c.facts["dataset"] == "NIH ChestX-ray14" and c.regions())
    height, width = boxed.radiograph().shape
    assert all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in (r.box for r in boxed.regions()))


def test_a_file_that_is_written_anew_is_another_source(tree: Path) -> None:
    def sources() -> dict[str, tuple[str, str]]:
        return {c.id: (c.source(), c.regions_source()) for c in load(str(tree)).cases()}

    first = sources()
    assert sources() == first and len({picture for picture, _ in first.values()}) == len(first)
    write_table(tree / "boxes.csv", [{**row, "finding": "Mass"} for row in read_rows(tree / "boxes.csv")])
    drawn = sources()
    assert drawn["p0"][0] == first["p0"][0] and drawn["p0"][1] != first["p0"][1]
    mask = tree / read_rows(tree / "masks.csv")[0]["file"]
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert sources()["p0"][1] != drawn["p0"][1]
    picture = tree / str(load(str(tree)).cases()[1].facts["file"])
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert sources()["p1"][0] != first["p1"][0] and sources()["p0"][0] == first["p0"][0]
    picture.unlink()
    assert sources()["p1"][0] not in {picture for picture, _ in first.values()}
