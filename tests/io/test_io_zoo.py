"""Real and derived DICOM files, row by row, and two independent readers of the same files."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

from whyray.errors import InputError
from whyray.io.dicom import decoded, read_dicom
from whyray.io.input_report import input_report
from whyray.io.load import load_image
from whyray.io.refusal import Malformed

WARNED = {  # rows whose text asks for a warning -> a word of it
    "header_says_lateral": "lateral",
    "sparse_header": "does not name",
    "sc_rgb_burned_in": "colour",
    "false_mono1": "inverted",
    "zeroed_tail": "lost",
    "nonsquare": "not square",
    "teeth": "frontal",
    "png_renamed": "name says",
}
NOT_DECODED = {  # decoded by others, refused by us before the policy would
    "mod_liver_1frame": "1 bit",
    "mod_examples_palette": "palette colours",
    "mod_float_pixels": "floats",
    "mod_sc_rgb_screen": "an item outside a sequence",
    "odd_MR_small_padded": "128 bytes behind the pixels",
}


@pytest.fixture(scope="module")
def zoo(dev_data: Path) -> list[dict[str, str]]:
    with open(dev_data / "dicom_zoo" / "zoo.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["path"] = str(dev_data / "dicom_zoo" / row["file"])
    return rows


def named(zoo: list[dict[str, str]], part: str) -> str:
    return next(row["path"] for row in zoo if part in row["file"])


def test_every_row(zoo: list[dict[str, str]]) -> None:
    faults = {}
    for row in zoo:
        accept = row["expected"].startswith("accept") and row["file"] != "files/derived_no_preamble_no_meta.dcm"
        try:
            said = input_report(load_image(row["path"]))
        except InputError as error:
            bad = accept or len(str(error)) > 200
            said = (str(error),) if bad else ()
        else:
            bad = not (accept or row["expected"].startswith(("warn", "opens")) or any(w in row["file"] for w in WARNED))
        wanted = [word for part, word in WARNED.items() if part in row["file"]]
        if bad or any(word not in " ".join(said) for word in wanted):
            faults[row["file"]] = (row["expected"], said)
    assert len(zoo) == 117
    assert not faults


def test_stored_values_equal_pydicom(zoo: list[dict[str, str]]) -> None:
    """Wherever pydicom with pylibjpeg and pyjpegls decodes, we decode to the same integers."""
    pydicom = pytest.importorskip("pydicom")
    compared, faults = 0, {}
    for row in zoo:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = pydicom.dcmread(row["path"]).pixel_array
            except Exception:
                continue
        if any(part in row["file"] for part in NOT_DECODED):
            continue
        try:
            _, head, ours = decoded(Path(row["path"]).read_bytes())
        except Malformed as refused:
            faults[row["file"]] = refused.reason
            continue
        theirs = theirs[0] if head.frames > 1 else theirs
        compared += 1
        if ours.shape != theirs.shape or not np.array_equal(ours.astype(np.int64), theirs.astype(np.int64)):
            faults[row["file"]] = "other pixels"
    assert not faults
    assert compared >= 45


def test_every_transfer_syntax_decodes(zoo: list[dict[str, str]]) -> None:
    """The same CT in fifteen encodings: lossless ones equal, lossy ones near; the policy refuses them as a CT."""
    rows = [row for row in zoo if "/ts_1.2.840" in row["file"]]
    plain = decoded(Path(named(zoo, "1.2.1_LittleEndianExplicit")).read_bytes())[2]
    assert len(rows) == 15
    for row in rows:
        values = decoded(Path(row["path"]).read_bytes())[2]
        exact = "JPEGProcess" not in row["file"] or "Process14" in row["file"]
        exact = exact and not any(lossy in row["file"] for lossy in ("JPEG2000.dcm", "Lossy"))
        alike = float(np.corrcoef(values.ravel(), plain.ravel())[0, 1])
        assert np.array_equal(values, plain) if exact else alike > 0.95, row["file"]
        with pytest.raises(InputError, match="a CT"):
            load_image(row["path"])


def test_grey_values_equal_pydicom(zoo: list[dict[str, str]]) -> None:
    """Modality and VOI steps against pydicom's, up to a linear change of scale, on every readable greyscale row."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    compared = 0
    for row in zoo:
        try:
            picture = read_dicom(Path(row["path"]).read_bytes())
        except Malformed:
            continue
        if picture.facts["photometric"] not in ("MONOCHROME1", "MONOCHROME2") or not np.ptp(picture.pixels):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(row["path"])
            if picture.facts["encoding"] == "JPEG lossless SV1":
                continue  # pydicom has no decoder for it here
            theirs = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(float)
        theirs = -theirs if picture.facts["inverted"] else theirs
        inside = picture.pixels > 0 if picture.facts["padding_share"] else np.ones(theirs.shape, bool)
        assert np.corrcoef(picture.pixels[inside], theirs[inside])[0, 1] > 0.99999, row["file"]
        compared += 1
    assert compared >= 25


def test_twins(zoo: list[dict[str, str]]) -> None:
    """The same patient in two lossy encodings; MONOCHROME1 and 2; a false MONOCHROME1; the windowed 12 bits."""
    first, second = (load_image(named(zoo, p)).pixels for p in ("rg1_j2k", "rg1_jpegls"))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.999
    mono2 = load_image(named(zoo, "derived_dx_mono2_8bit")).pixels
    for part in ("dx_mono1_8bit", "dx_implicit", "phi_everywhere", "hostile_strings", "utf8_names", "notdicom_png"):
        assert np.array_equal(load_image(named(zoo, part)).pixels, mono2), part
    for part in (
        "cr_12bit_window",
        "two_windows",
        "signed_rescale",
        "dx_deflated",
        "dx_rle",
        "j2k_lossless",
        "big_endian",
    ):
        assert np.abs(load_image(named(zoo, part)).pixels - mono2).max() < 1e-3, part
    true, false = (load_image(named(zoo, p)).pixels for p in ("siim_mono2", "siim_false_mono1"))
    assert np.allclose(true, 1 - false, atol=1e-6)


def test_lossless_encodings_of_a_real_chest_are_equal(zoo: list[dict[str, str]]) -> None:
    import imagecodecs
    from writers import RLE, J, dicom, encapsulated, rle

    _, head, values = decoded(Path(named(zoo, "rg1_j2k")).read_bytes())
    about = {0x00280004: ("CS", b"MONOCHROME1")}
    native = load_from(dicom(values, about, bits=head.bits))
    streams = {
        RLE: rle(values),
        J + "90": imagecodecs.jpeg2k_encode(values, codecformat="J2K", level=0),
        J + "80": imagecodecs.jpegls_encode(values),
        J + "70": imagecodecs.ljpeg_encode(values, bitspersample=16),
    }
    for uid, stream in streams.items():
        data = dicom(encapsulated(stream), about, syntax=uid, shape=values.shape, allocated=16, bits=head.bits)
        assert np.array_equal(load_from(data), native), uid


def load_from(data: bytes) -> np.ndarray:
    return read_dicom(data).pixels


def test_sigmoid_and_lut(zoo: list[dict[str, str]]) -> None:
    plain = load_image(named(zoo, "derived_cr_12bit_window")).pixels.astype(float)
    sigmoid = load_image(named(zoo, "sigmoid")).pixels
    gamma = load_image(named(zoo, "voi_lut_sequence")).pixels
    assert np.abs(sigmoid - 1 / (1 + np.exp(-4 * (plain * 4095 - 2048) / 2000))).max() < 1e-3
    assert np.abs(gamma - plain**0.6).max() < 2e-3


def test_padding_is_black_and_counts_for_nothing(zoo: list[dict[str, str]]) -> None:
    padded = load_image(named(zoo, "padded_collimation"))
    plain = load_image(named(zoo, "derived_dx_mono2_8bit")).pixels
    inside = padded.pixels > 0
    assert 0.2 < float(padded.facts["padding_share"] or 0) < 0.3
    assert np.array_equal(padded.pixels[inside], plain[inside])
