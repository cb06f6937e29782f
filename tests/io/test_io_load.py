"""The one door: what it returns, what it takes, how little it imports, how long it needs."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus import BASE
from corpus_special import nifti_file
from PIL import Image
from writers import dicom, png

from whyray.errors import InputError, SettingError
from whyray.io.load import decode_image, load_image
from whyray.types import Radiograph


def test_what_it_returns(tmp_path: Path) -> None:
    values = {0x00280030: ("DS", b"0.2\\0.2"), 0x00200062: ("CS", b"L"), 0x00100020: ("LO", b"P1")}
    path = tmp_path / "one.two.dcm"
    path.write_bytes(dicom(BASE, values))
    found = load_image(path)
    assert isinstance(found, Radiograph) and found.pixels.dtype == np.float32 and not found.pixels.flags.writeable
    assert (found.shape, found.bits, found.view, found.laterality) == (BASE.shape, 8, "PA", "L")
    assert found.spacing_mm == (0.2, 0.2)
    assert found.name == "one.two" and found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.facts["modality"] == "CR" and found.patient_key and not found.warnings


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; from whyray.io.load import load_image; r = load_image('-'); print(r.name, r.shape)"
    ran = subprocess.run([sys.executable, "-c", code], input=png(BASE), capture_output=True, check=True)
    assert ran.stdout.decode().split() == ["stdin", "(144,", "160)"]
    empty = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=False)
    assert b"nothing came" in empty.stderr


@pytest.mark.parametrize("voi", ["window", (1,), (1, 0), (1, -5), 7])
def test_a_bad_voi(voi: object, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="centre, width"):
        load_image(tmp_path / "any.png", voi=voi)  # type: ignore[arg-type]


def test_nifti_is_turned_to_display() -> None:
    found = decode_image(nifti_file(BASE.T), "a.nii")
    assert np.abs(found.pixels - BASE[::-1, ::-1] / 255).max() < 1e-6
    assert found.spacing_mm == (0.25, 0.5)


def test_a_missing_decoder_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from whyray.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingExtra, match="nibabel"):
        decode_image(nifti_file(BASE.T), "a.nii")


def test_imports_stay_light(tmp_path: Path) -> None:
    """A PNG needs numpy and Pillow, plain DICOM numpy alone; nobody pays for torch, scipy, pydicom or a child."""
    (tmp_path / "a.png").write_bytes(png(BASE))
    (tmp_path / "a.dcm").write_bytes(dicom(BASE))
    code = (
        "import sys; from whyray.io.load import load_image; from whyray.io.input_report import input_report\n"
        "input_report(load_image(sys.argv[1]))\n"
        "import whyray.io.child as c; assert c._CHILD.process is None\n"
        "print(*sorted(m for m in sys.modules if '.' not in m))"
    )
    for name in ("a.png", "a.dcm"):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)], capture_output=True, text=True, check=True
        )
        loaded = set(ran.stdout.split())
        assert "numpy" in loaded and ("PIL" in loaded) == (name == "a.png")
        assert not loaded & {"torch", "scipy", "skimage", "matplotlib", "pydicom", "imagecodecs", "nibabel", "tifffile"}


def test_it_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(BASE))
    files, most = len(os.listdir("/proc/self/fd")), Image.MAX_IMAGE_PIXELS
    for _ in range(5):
        load_image(path)
        with pytest.raises(InputError):
            decode_image(png(BASE)[:200], path)
    assert len(os.listdir("/proc/self/fd")) == files and most == Image.MAX_IMAGE_PIXELS


def test_pillow_agrees() -> None:
    """An independent reader of our own PNG files."""
    for values, colour in ((BASE, 0), (BASE.astype(np.uint16) * 257, 0)):
        theirs = np.asarray(Image.open(io.BytesIO(png(values, colour, filters=True)))).astype(np.float64)
        assert np.array_equal(theirs, values)


def test_every_development_picture(dev_data: Path) -> None:
    """A sample of the PNG and JPEG files: equal to what Pillow reads."""
    paths = sorted((dev_data / "dev" / "images").iterdir())[::40]
    assert len(paths) > 50
    for path in paths:
        found, theirs = load_image(path), Image.open(path)
        assert np.abs(found.pixels - np.asarray(theirs.convert("L")) / 255).max() < 0.006, path.name
        assert not found.warnings, path.name
