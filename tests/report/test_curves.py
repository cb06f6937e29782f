"""Curves as SVG: well-formed, escaped, in place, readable without seeing it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from whyray.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, curves_svg, ticks_of

X = np.linspace(0, 1, 5)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(curves: list[Curve], **options: object) -> ET.Element:
    text = curves_svg(curves, title="T <&> T", x_label="removed", y_label="logit", **options)  # type: ignore[arg-type]
    assert "style=" not in text and "<script" not in text
    return ET.fromstring(text)


def test_a_line_lies_where_its_numbers_say() -> None:
    svg = drawn([Curve("gradcam", X, np.array([4.0, 3.0, 2.0, 1.0, 0.0]))])
    (line,) = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-linejoin")]
    points = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", line.get("d") or ""), float)
    assert np.allclose(points[0], (LEFT, TOP)) and np.allclose(points[-1], (WIDTH - RIGHT, HEIGHT - BOTTOM))
    assert np.allclose(np.diff(points[:, 1]), np.diff(points[:, 1])[0], atol=0.15), "a straight line stays straight"


def test_texts_are_escaped_and_the_end_values_are_told() -> None:
    svg = drawn([Curve("a<b>", X, X), Curve("edges", X, 1 - X, control=True)])
    assert svg.findtext(f"{SVG}title") == "T <&> T"
    assert svg.findtext(f"{SVG}desc") == "a<b>: from 0 to 1; edges: from 1 to 0"
    assert {"a<b>", "edges", "removed", "logit"} <= {t.text for t in svg.iter(f"{SVG}text")}


def test_controls_are_dashed_and_methods_have_colours_of_their_own() -> None:
    svg = drawn([Curve(f"m{i}", X, X + i) for i in range(8)] + [Curve("edges", X, X, control=True)])
    lines = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-linejoin")]
    assert len({p.get("stroke") for p in lines}) == 9
    assert [p.get("stroke-dasharray") is not None for p in lines] == [False] * 8 + [True]


def test_nan_breaks_a_line_and_an_unknown_line_is_left_out() -> None:
    y = np.array([1.0, np.nan, 0.5, 0.2, 0.1])
    svg = drawn([Curve("a", X, y, y - 0.1, y + 0.1), Curve("b", X, np.full(5, np.nan))])
    (line,) = [p for p in svg.iter(f"{SVG}path") if p.get("stroke-linejoin")]
    assert (line.get("d") or "").count("M") == 2
    (band,) = svg.iter(f"{SVG}polygon")
    assert "nan" not in (band.get("points") or "") and len((band.get("points") or "").split()) == 8


def test_nothing_to_draw_is_still_a_picture() -> None:
    assert drawn([]).tag == f"{SVG}svg"
    assert drawn([Curve("flat", X, np.full(5, 3.0))]).tag == f"{SVG}svg"


def test_labels_stand_in_the_order_of_the_lines_and_fit() -> None:
    names = [f"a long name {i}:setting=true" for i in range(11)]
    svg = drawn([Curve(name, X, (1 - X) * (i % 7) + i / 100) for i, name in enumerate(names)])
    labels = [t for t in svg.iter(f"{SVG}text") if (t.text or "").endswith("…")]
    heights = [float(t.get("y") or 0) for t in labels]
    assert heights == sorted(heights) and min(np.diff(heights)) >= 16 and heights[-1] < HEIGHT - BOTTOM
    assert labels[0].text == names[6][:16] + "…"


def test_ticks_enclose_the_range() -> None:
    for low, high in ((0.0, 1.0), (-3.2, 4.7), (0.0, 0.013), (2.0, 2.0), (-5.0, -1.0)):
        ticks = ticks_of(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 9, (low, high, ticks)


def test_no_number_stands_outside_the_axis() -> None:
    svg = drawn([Curve("a", np.array([0.0, 10, 72]), np.array([1.0, 0.5, 0.0]))])
    below = [t for t in svg.iter(f"{SVG}text") if t.get("text-anchor") == "middle" and (t.text or "").isdigit()]
    assert [t.text for t in below] == ["0", "20", "40", "60"]
    assert max(float(t.get("x") or 0) for t in below) <= WIDTH - RIGHT
