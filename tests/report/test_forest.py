"""Estimates with intervals: SVG and PNG show the same places, everything is escaped, and all fits on the picture."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from whyray.report.drawing import SCALE, Disc, Drawing, Line, Words
from whyray.report.forest import LEFT, RIGHT, Row, forest

NAN = float("nan")
GROUPS = [
    ("confidence", [Row("all findings", 0.5, 0.25, 0.75, "n = 9"), Row("<mass>", -0.5, -1, 0, open=True)]),
    ("usefulness", [Row("all findings", NAN, NAN, NAN, "n = 0"), Row("edema", 1.0, NAN, NAN)]),
]


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return forest(GROUPS, title="Gain of B & C", axis="difference")


def test_places_follow_the_values(drawing: Drawing) -> None:
    discs = [s for s in drawing.shapes if isinstance(s, Disc)]
    middle, width = (LEFT + RIGHT) / 2, RIGHT - LEFT
    assert [d.x for d in discs] == pytest.approx([middle + v * width / 2 for v in (0.5, -0.5, 1.0)])
    assert [d.filled for d in discs] == [True, False, True]
    bars = [(s.x0, s.x1, s.y0) for s in drawing.shapes if isinstance(s, Line) and s.y0 == s.y1]
    assert [b[:2] for b in bars] == [
        pytest.approx((middle + 0.25 * width / 2, middle + 0.75 * width / 2)),
        pytest.approx((LEFT, middle)),
    ]
    assert [b[2] for b in bars] == [d.y for d in discs[:2]]


def test_numbers_stand_beside_them(drawing: Drawing) -> None:
    words = {s.text: s.y for s in drawing.shapes if isinstance(s, Words)}
    rows = [s.y for s in drawing.shapes if isinstance(s, Words) and s.x == 24]
    assert [words[t] for t in ("+0.50 [+0.25, +0.75] n = 9", "-0.50 [-1.00, +0.00]", "none n = 0", "+1.00")] == rows
    assert "<mass>: -0.50" in drawing.told


def test_svg_is_whole_and_escaped(drawing: Drawing) -> None:
    root = ET.fromstring(drawing.svg())
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<mass>" in texts and root.findtext("{http://www.w3.org/2000/svg}title") == "Gain of B & C"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_png_shows_what_svg_says(drawing: Drawing) -> None:
    image = Image.open(io.BytesIO(drawing.png()))
    assert image.size == (drawing.width * SCALE, drawing.height * SCALE) and "Disclaimer" in image.text
    grey = np.asarray(image.convert("L"))
    for disc in (s for s in drawing.shapes if isinstance(s, Disc)):
        inside = grey[round(disc.y * SCALE), round(disc.x * SCALE)]
        assert (inside < 60) == disc.filled
    assert (grey[:, :8] == 255).all() and (grey[:, -8:] == 255).all() and (grey[-8:] == 255).all()


def test_long_words_are_cut_to_their_room() -> None:
    drawing = forest([("g" * 200, [Row("x" * 300, 0.1, 0, 0.2, "n" * 300)])], title="t" * 400, axis="a")
    grey = np.asarray(Image.open(io.BytesIO(drawing.png())).convert("L"))
    assert (grey[:, -8:] == 255).all() and "..." in drawing.svg()


def test_limits_are_kept_and_what_lies_beyond_ends_there() -> None:
    drawing = forest([("g", [Row("a", 1.4, -3.0, 2.0)])], title="t", axis="a", limits=(0, 1))
    (disc,) = [s for s in drawing.shapes if isinstance(s, Disc)]
    assert disc.x == RIGHT
