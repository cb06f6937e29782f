"""An independent reader in C++: DCMTK shows the same grey values for every file that both read."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from corpus_dicom import grey_scale, native

from whyray.errors import InputError
from whyray.io.dicom_header import header
from whyray.io.dicom_walk import walk
from whyray.io.load import load_image

LEFT_OUT = ("mono1_shape_identity", "padding_")  # DCMTK follows the shape; it counts padding as picture
pytestmark = pytest.mark.skipif(not shutil.which("dcmj2pnm"), reason="no DCMTK: apt install dcmtk")


def theirs(path: Path, encoding: str, folder: Path) -> np.ndarray | None:
    """Grey values 0..1 by dcmj2pnm or dcml2pnm, with the file's own VOI; None where it gives none."""
    head = header(walk(path.read_bytes()))
    window = ["+Wl", "1"] if head.voi_lut else ["+Wi", "1"] if head.windows else ["+Wm"]
    out = folder / "out.pgm"
    out.unlink(missing_ok=True)
    tool = "dcml2pnm" if "JPEG-LS" in encoding else "dcmj2pnm"
    subprocess.run([tool, *window, "+opn", "16", str(path), str(out)], capture_output=True, check=False, timeout=20)
    if not out.is_file() or not (text := out.read_text()).startswith("P2"):
        return None
    numbers = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
    width, height, top = map(int, numbers[1:4])
    return np.array(numbers[4:], float).reshape(height, width) / top


def differing(paths: list[Path], folder: Path) -> tuple[int, dict[str, float]]:
    compared, faults = 0, {}
    for path in paths:
        try:
            found = load_image(path)
        except InputError:
            continue
        if found.facts["format"] != "DICOM" or (other := theirs(path, str(found.facts["encoding"]), folder)) is None:
            continue
        inside = found.pixels > 0 if found.facts["padding_share"] else np.ones(found.shape, bool)
        compared += 1
        alike = float(np.corrcoef(found.pixels[inside], other[inside])[0, 1]) if other.shape == found.shape else 0.0
        if alike < 0.9999:
            faults[path.name] = alike
    return compared, faults


def test_zoo(dev_data: Path, tmp_path: Path) -> None:
    with open(dev_data / "dicom_zoo" / "zoo.csv", newline="", encoding="utf-8") as file:
        paths = [dev_data / "dicom_zoo" / row["file"] for row in csv.DictReader(file)]
    compared, faults = differing(paths, tmp_path)
    assert not faults
    assert compared >= 20


def test_ways_to_store_grey(tmp_path: Path) -> None:
    paths = []
    for name, data, _within in [*native(), *grey_scale()]:
        if not any(part in name for part in LEFT_OUT):
            paths.append(tmp_path / f"{name}.dcm")
            paths[-1].write_bytes(data)
    compared, faults = differing(paths, tmp_path)
    assert not faults
    assert compared >= 30
