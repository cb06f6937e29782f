"""Each formula of the standard, written again slowly, one value at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from corpus import BASE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from writers import dicom, lut, shorts

from whyray.io import greyscale
from whyray.io.dicom import read_dicom
from whyray.io.greyscale import Lut, Window

VALUES = arrays(np.float64, 40, elements=st.floats(-70000, 70000))
CENTRES, WIDTHS = st.floats(-5000, 70000), st.floats(1, 70000)
SETTINGS = settings(max_examples=100, deadline=None)


def slow_window(x: float, centre: float, width: float, function: str) -> float:
    if function == "SIGMOID":
        exponent = -4 * (x - centre) / width
        return 0.0 if exponent > 700 else 1 / (1 + math.exp(exponent))
    if function == "LINEAR_EXACT":
        if x <= centre - width / 2:
            return 0.0
        return 1.0 if x > centre + width / 2 else (x - centre) / width + 0.5
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    return 1.0 if x > centre - 0.5 + (width - 1) / 2 else (x - (centre - 0.5)) / (width - 1) + 0.5


def slow_lut(x: float, first: int, entries: list[int]) -> float:
    index = math.floor(x) - first
    return float(entries[0] if index < 0 else entries[-1] if index >= len(entries) else entries[index])


@SETTINGS
@given(VALUES, CENTRES, WIDTHS, st.sampled_from(greyscale.FUNCTIONS))
def test_windows(values: np.ndarray, centre: float, width: float, function: str) -> None:
    ours = greyscale.windowed(values, Window(centre, width, function))
    theirs = [slow_window(float(x), centre, width, function) for x in values]
    assert np.abs(ours - theirs).max() < 1e-6 if width > 1.01 or function == "SIGMOID" else True
    assert ours.min() >= 0 and ours.max() <= 1
    order = np.argsort(values)
    assert (np.diff(ours[order]) >= 0).all()


def test_a_linear_window_of_width_one_is_a_step() -> None:
    assert greyscale.windowed(np.array([99.0, 99.5, 99.6, 100.0]), Window(100, 1)).tolist() == [0, 0, 1, 1]


@SETTINGS
@given(VALUES, st.integers(-40000, 40000), st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_look_up(values: np.ndarray, first: int, entries: list[int]) -> None:
    ours = greyscale.looked_up(values, Lut(first, 16, np.array(entries, np.uint16)))
    assert ours.tolist() == [slow_lut(float(x), first, entries) for x in values]


@SETTINGS
@given(st.integers(0, 65535), st.integers(0, 65535), st.sampled_from([8, 10, 12, 14, 16]))
def test_natural_range_holds_all_values(one: int, other: int, bits: int) -> None:
    low, high = sorted((one, other))
    black, white = greyscale.natural_range(low, high, bits)
    assert black <= low and high <= white
    if bits > 8 and high > low:
        assert (high - low) / (white - black) >= 0.75 - 1e-9


@SETTINGS
@given(st.data())
def test_the_whole_chain(data: st.DataObject) -> None:
    """A file with random rescale, window and polarity against the chain written pixel by pixel."""
    slope = data.draw(st.sampled_from([-2.0, -1.0, 0.5, 1.0, 3.0]))
    intercept = data.draw(st.integers(-1000, 1000))
    function = data.draw(st.sampled_from(greyscale.FUNCTIONS))
    centre, width = data.draw(st.integers(-300, 600)), data.draw(st.integers(200, 900))
    mono1, inverse = data.draw(st.booleans()), data.draw(st.booleans())
    values = {
        0x00280004: ("CS", b"MONOCHROME1" if mono1 else b"MONOCHROME2"),
        0x20500020: ("CS", b"INVERSE" if inverse else b"IDENTITY"),
        0x00281053: ("DS", f"{slope}".encode()),
        0x00281052: ("DS", f"{intercept}".encode()),
        0x00281050: ("DS", f"{centre}".encode()),
        0x00281051: ("DS", f"{width}".encode()),
        0x00281056: ("CS", function.encode()),
    }
    picture = read_dicom(dicom(BASE, values))
    slow = [slow_window(v * slope + intercept, centre, width, function) for v in range(256)]
    expected = np.array([1 - g if mono1 or inverse else g for g in slow])[BASE]
    if picture.voi == "file":  # else the window left no contrast, and a note says so
        assert np.abs(picture.pixels - expected).max() < 1e-6
    else:
        assert any("next to no contrast" in note for note in picture.warnings)


def test_voi_choices() -> None:
    values = np.round(BASE / 255 * 3000).astype(np.uint16)
    window = {0x00281050: ("DS", b"1500"), 0x00281051: ("DS", b"3001")}
    data = dicom(values, window, bits=12)
    for voi, named, expected in (
        ("file", "file", values / 3000),
        ("none", "none", values / 4095),
        ((1000.0, 2001.0), "1000/2001", np.clip(values / 2000, 0, 1)),
    ):
        picture = read_dicom(data, voi)  # type: ignore[arg-type]
        assert picture.voi == named and np.abs(picture.pixels - expected).max() < 1e-3, voi
    assert read_dicom(dicom(values, bits=12)).voi == "range"


@pytest.mark.parametrize(("padding", "value"), [(0, 0), (4095, 4095), (2000, 2000)])
def test_padding_stays_out_of_the_range(padding: int, value: int) -> None:
    inside = np.round(500 + BASE / 255 * 1000).astype(np.uint16)
    stored = inside.copy()
    stored[:, :30] = value
    for mono1 in (False, True):
        about = {0x00280120: ("US", shorts(padding)), 0x00280004: ("CS", b"MONOCHROME1" if mono1 else b"MONOCHROME2")}
        pixels = read_dicom(dicom(stored, about, bits=12)).pixels
        assert not pixels[:, :30].any()
        expected = (inside[:, 30:] - inside[:, 30:].min()) / np.ptp(inside[:, 30:])
        assert np.abs(pixels[:, 30:] - (1 - expected if mono1 else expected)).max() < 1e-6


def test_a_table_that_understates_its_bits_still_fits() -> None:
    picture = read_dicom(dicom(BASE, extra=lut(0x00283010, 0, 8, np.arange(256) * 257)))
    assert np.abs(picture.pixels - BASE / 255).max() < 1e-6
