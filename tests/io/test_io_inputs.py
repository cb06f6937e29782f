"""Names on the command line -> paths, in order, each once, never out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus import BASE
from writers import dicom, png

from whyray.errors import InputError
from whyray.io.inputs import expand, passed_over


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    inside = tmp_path / "in"
    (inside / "b").mkdir(parents=True)
    for name in ("2.png", "1.PNG", "b/3.dcm", "notes.md", ".hidden.png", "b/report.json"):
        (inside / name).write_bytes(png(BASE))
    (inside / "b" / "IM0001").write_bytes(dicom(BASE))
    (inside / "b" / "1.2.840.99").write_bytes(dicom(BASE))
    (tmp_path / "out.png").write_bytes(png(BASE))
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_files_keep_their_order_and_come_once(tree: Path) -> None:
    given = [str(tree / "out.png"), str(tree / "in/2.png"), str(tree / "out.png"), str(tree / "missing.png"), "-"]
    assert expand(given) == [Path(p) for p in (given[0], given[1], given[3], "-")]


def test_a_folder_is_searched_through(tree: Path) -> None:
    assert names(expand([str(tree / "in")]), tree / "in") == ["1.PNG", "2.png", "b/1.2.840.99", "b/3.dcm", "b/IM0001"]


def test_what_a_folder_leaves_out_is_counted(tree: Path) -> None:
    for name in ("a.bmp", "b/c.BMP", "d.npy"):
        (tree / "in" / name).write_bytes(b"x")
    told = passed_over([str(tree / "in"), str(tree / "out.png")])
    assert told == {".bmp": 2, ".npy": 1, ".md": 1, ".json": 1} and next(iter(told)) == ".bmp"


def test_links_stay_inside(tree: Path) -> None:
    inside = tree / "in"
    (inside / "link_out.png").symlink_to(tree / "out.png")
    (inside / "link_in.png").symlink_to(inside / "2.png")
    (inside / "loop").symlink_to(inside)
    (inside / "self.png").symlink_to("self.png")
    (inside / "root").symlink_to("/")
    os.mkfifo(inside / "pipe")
    found = names(expand([str(inside)]), inside)
    assert "link_in.png" in found and "link_out.png" not in found
    assert len(found) == 6


def test_globs(tree: Path) -> None:
    assert names(expand([str(tree / "in" / "*.png")]), tree) == ["in/2.png"]
    assert names(expand([str(tree / "**" / "*.dcm")]), tree) == ["in/b/3.dcm"]
    (tree / "odd[1].png").write_bytes(b"x")
    assert names(expand([str(tree / "odd[1].png")]), tree) == ["odd[1].png"]


def test_lists(tree: Path) -> None:
    (tree / "list.txt").write_text("# two\nin/2.png\n\n  out.png \n")
    (tree / "list.csv").write_text("patient,image\n1,in/2.png\n2,out.png\n")
    for name in ("list.txt", "list.csv"):
        assert names(expand([str(tree / name)]), tree) == ["in/2.png", "out.png"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.txt", b"\n# nothing\n", "names no picture"),
        ("other.csv", b"a,b\n1,2\n", "column"),
        ("binary.txt", b"\xff\xfe\x00\x00", "UTF-8"),
        ("nul.csv", b"image\na\0b\n", "names no picture|CSV"),
    ],
)
def test_bad_lists(tree: Path, name: str, content: bytes, says: str) -> None:
    (tree / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        expand([str(tree / name)])


def test_nothing_found(tree: Path) -> None:
    (tree / "bare").mkdir()
    with pytest.raises(InputError, match="no picture"):
        expand([str(tree / "bare")])
    with pytest.raises(InputError, match="no file matches"):
        expand([str(tree / "*.nii")])
    assert expand([]) == []
