"""The page of a measurement: bars that hold their intervals, everything escaped, tiles with the experts' contour."""

from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from whyray.explanations import Attribution
from whyray.report.evaluation import Figure, Panel, Section, Table, Tile, evaluation_html
from whyray.report.evaluation_bars import LEFT, RIGHT, WIDTH, Bar, bars_svg
from whyray.report.evaluation_tiles import tile_jpeg
from whyray.types import Radiograph

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_to_scale() -> None:
    bars = [Bar("one", 0.1, 0.05, 0.2, 7), Bar("two", 0.4, 0.3, 0.37, 9, control=True)]
    root = ET.fromstring(bars_svg(bars, title="t"))
    wide = [float(r.attrib["width"]) for r in root.iter(f"{SVG}rect")]
    assert wide[1] == pytest.approx(4 * wide[0], abs=0.1) and wide[1] == pytest.approx(WIDTH - LEFT - RIGHT, abs=0.1)
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert "0.100, n = 7" in words and "0.400, n = 9" in words
    assert "stroke-dasharray" in list(root.iter(f"{SVG}rect"))[1].attrib


def test_bars_without_values_and_with_hostile_names() -> None:
    nan = math.nan
    text = bars_svg([Bar('<b onload="x">', nan, nan, nan, 0)], title="<script>alert(1)</script>")
    root = ET.fromstring(text)
    assert "<script>" not in text and not list(root.iter(f"{SVG}rect"))
    assert any("none, n = 0" in (t.text or "") for t in root.iter(f"{SVG}text"))
    assert ET.fromstring(bars_svg([], title="none")) is not None


def test_the_page_is_one_file_that_escapes() -> None:
    bad = '<img src=x onerror="alert(1)">'
    section = Section(
        bad,
        (bad,),
        [Table(("a", bad), [("x", bad)], bad, frozenset({0}))],
        [Figure(bars_svg([], title="t"), bad)],
        [Panel(bad, [Tile(b"jpeg", bad)])],
    )
    page = evaluation_html(bad, (bad,), {bad: bad}, [section], (bad,))
    assert "<img src=x" not in page and page.count("&lt;img src=x") >= 12
    assert "Not for clinical use" in page or "not for clinical use" in page
    csp = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert csp and "default-src &#39;none&#39;" in csp[1] and "script" not in csp[1]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_a_tile_shows_the_region_in_green(picture: Radiograph, make_map: Callable[..., Attribution]) -> None:
    truth = np.zeros(picture.shape, bool)
    truth[40:120, 60:160] = True
    plain = np.asarray(Image.open(io.BytesIO(tile_jpeg(picture, truth))).convert("RGB")).astype(int)
    green = (plain[..., 1] > plain[..., 0] + 60) & (plain[..., 1] > plain[..., 2] + 40)
    rows, columns = np.nonzero(green)
    assert abs(rows.min() - 40) <= 3 and abs(rows.max() - 120) <= 3
    assert abs(columns.min() - 60) <= 3 and abs(columns.max() - 160) <= 3
    covered = np.asarray(Image.open(io.BytesIO(tile_jpeg(picture, truth, make_map(), truth))).convert("RGB")).astype(
        int
    )
    assert np.abs(covered - plain).max() > 50


def test_a_segment_map_shows_its_segments(picture: Radiograph, make_map: Callable[..., Attribution]) -> None:
    steps = np.kron(np.arange(16).reshape(4, 4), np.ones((8, 8)))
    truth = np.zeros(picture.shape, bool)
    one = tile_jpeg(picture, truth, make_map(steps, unit="logit/segment"))
    other = tile_jpeg(picture, truth, make_map(steps, unit="a.u."))
    assert one != other
    assert tile_jpeg(picture, truth, make_map(np.zeros((4, 4)), unit="logit/segment")), "an empty map is a picture"
