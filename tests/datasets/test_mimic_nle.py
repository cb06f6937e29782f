"""The published extraction of MIMIC-NLE on a tree in the official layout; the data set made of it."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from report_trees import REPORTS, report_tree
from trees import write_picture

from whyray.datasets._mimic_tree import Unreadable, read_report, report_root, walk
from whyray.datasets.mimic_nle import extract, load
from whyray.errors import DataError
from whyray.testing import check_dataset

NEGATIVE, UNCERTAIN, POSITIVE = [1, 0, 0], [0, 1, 0], [0, 0, 1]


def query(
    sentence: str, diagnosis: int, evidence: int | None = None, state: list[int] = UNCERTAIN
) -> dict[str, object]:
    """A line as published: ten labels in alphabetical order."""
    return {
        "sentence_ID": sentence,
        "diagnosis_label": [int(i == diagnosis) for i in range(10)],
        "evidence_label": [int(i == evidence) for i in range(10)],
        "img_labels": [state if i == diagnosis else POSITIVE if i == evidence else NEGATIVE for i in range(10)],
    }


LINES = {
    "dev": [query("s50000001#1", 8, 5), query("s50000001#3", 8, 5)],
    "test": [query("s50000003#0", 6), query("s59999999#2", 2), query("s50000002#40", 2)],
}


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    folder = tmp_path / "query"
    folder.mkdir()
    for subset, lines in LINES.items():
        (folder / f"{subset}-query.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_lines_are_those_of_the_published_script(tmp_path: Path, queries: Path) -> None:
    made = extract(report_tree(tmp_path), queries, tmp_path / "out")
    first, second = (tmp_path / "out/mimic-nle-dev.json").read_text().splitlines()
    nle = "There is left basal opacity, which may represent pneumonia."
    wanted = {**LINES["dev"][0], "nle": nle, "report_ID": "s50000001", "patient_ID": "p10000032"}
    assert first == json.dumps(wanted), "key order and spelling of the published script"
    assert json.loads(second)["nle"] == "Left basal opacity may represent pneumonia."
    assert made.asked == {"dev": 2, "test": 3} and made.written == {"dev": 2, "test": 1} and not made.whole


def test_what_is_missing_is_counted_and_named(tmp_path: Path, queries: Path) -> None:
    tree = report_tree(tmp_path)
    (tree / "files/p11/p11000007/s50000003.txt").write_bytes("l\xe9sion".encode("latin-1"))
    made = extract(tree, queries, tmp_path / "out")
    assert made.missing == ("s59999999",) and made.absent == ("s50000002#40",)
    assert made.unread == {"s50000003": "wrong encoding: not UTF-8"}
    text = "\n".join(made.lines())
    assert "test: 0 of 3" in text and "1 reports are missing: s59999999" in text and "s50000002#40" in text


def test_the_root_may_be_files_itself(tmp_path: Path) -> None:
    tree = report_tree(tmp_path)
    assert report_root(tree) == report_root(tree / "files") == tree / "files"
    with pytest.raises(DataError, match="no report tree was found"):
        report_root(tmp_path / "files" / "p10")


def test_the_walk_goes_on_behind_any_place(tmp_path: Path) -> None:
    root = report_root(report_tree(tmp_path))
    places = [f.place for f in walk(root)]
    assert places == sorted(f"{name}.txt" for name in REPORTS)
    for i, place in enumerate(places):
        assert [f.place for f in walk(root, after=place)] == places[i + 1 :]
    assert [f.place for f in walk(root, after="p10/p10000032/s50000001a.txt")] == places[1:], "a place that is gone"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("s50000009.txt", b"a\0b", "not text"),
        ("s50000009.txt", b"\xff\xfe", "wrong encoding"),
        ("index.html", b"x", "the name is not"),
        ("s50000009.txt", b"x" * 1_000_001, "more than 1 MB"),
    ],
)
def test_what_is_no_report_says_why(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    root = report_root(report_tree(tmp_path))
    (root / "p10/p10000032" / name).write_bytes(data)
    (file,) = (f for f in walk(root) if f.path.name == name)
    with pytest.raises(Unreadable, match=why):
        read_report(file)


@pytest.mark.parametrize("text", ["{", "[]", '{"sentence": 1}', '{"sentence_ID": "s1#0", "diagnosis_label": [0]}'])
def test_a_query_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "query").mkdir()
    (tmp_path / "query/dev-query.json").write_text(text)
    with pytest.raises(DataError, match=r"dev-query.json"):
        extract(report_tree(tmp_path), tmp_path / "query", tmp_path / "out")


def test_the_data_set_of_pictures(tmp_path: Path, queries: Path) -> None:
    extract(report_tree(tmp_path), queries, tmp_path)
    for i, place in enumerate(("p10/p10000032/s50000001/a", "p10/p10000032/s50000001/b", "p11/p11000007/s50000003/c")):
        write_picture(tmp_path / "files" / f"{place}.jpg", i)
    with gzip.open(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz", "wt") as file:
        file.write("dicom_id,ViewPosition\na,PA\nb,LATERAL\nc,AP\n")
    data = load(str(tmp_path))
    check_dataset(data, cases=2)
    first, second = data.cases()
    assert (first.id, first.split, first.patient) == ("a", "val", "p10000032") and len(first.facts["nles"]) == 2  # type: ignore[arg-type]
    assert math.isnan(first.labels["pneumonia"]) and first.facts["uncertain"] == ("pneumonia",)
    assert first.labels["lung_opacity"] == 1 and first.labels["edema"] == 0
    assert second.split == "test" and second.facts["view"] == "AP"


def test_a_folder_without_pictures_is_refused(tmp_path: Path, queries: Path) -> None:
    extract(report_tree(tmp_path), queries, tmp_path)
    with pytest.raises(DataError, match="no explanation with a picture"):
        load(str(tmp_path))
