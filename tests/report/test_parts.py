"""A sum of patterns in the report: every part is visible, with its sign and size, and what has no name too."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from whyray.contracts import cells_to_pixels
from whyray.explanations import PatternSum
from whyray.report.parts import MAPS, parts
from whyray.report.render import Page, page_html
from whyray.types import Provenance

MADE = Provenance("patterns", 1, {}, 0, "f" * 64, "a" * 64, "b" * 64, "torch/float32/cpu", 0.1, "0.1.0")


def made(p: int = 3) -> PatternSum:
    maps = np.zeros((p, 4, 4), np.float32)
    maps[np.arange(p), 1, np.arange(p) % 4] = np.linspace(2, -1, p)
    return PatternSum(
        finding="pneumonia",
        provenance=MADE,
        checks={"sum_gap": 0.0, "size": 2.0, "named_share": 0.31, "named_share_least": 0.2},
        notes=("Named patterns carry 31 %.",),
        patterns=tuple(f"p{i:04d}" for i in range(p)),
        names=("line <b>left</b>", *(f"p{i:04d}" for i in range(1, p))),
        categories=("device",) * p,
        contributions=np.linspace(2, -1, p),
        probabilities=np.linspace(0.1, 0.6, p),
        probability=0.5,
        bias=-3.0,
        others=0.25,
        unnamed=4.0,
        residual=-0.5,
        maps=maps,
        rest=np.zeros((4, 4), np.float32),
        to_source=cells_to_pixels((4, 4), (180, 240)),
        source_shape=(180, 240),
    )


def test_bars_are_as_long_as_their_parts() -> None:
    found = parts(made())
    every = {r["name"]: r for r in found["rows"] + found["rest"]}
    assert every["without a name"]["width"] == 50 and every["without a name"]["start"] == 0
    assert every["not reproduced (residual)"]["start"] == pytest.approx(-50 * 0.5 / 4)
    assert every["p0002"]["value"] == -1 and every["p0002"]["side"] == "against"
    assert found["logit"] == pytest.approx(made().logit) and len(found["maps"]) == 3


def test_a_long_sum_keeps_its_rows_and_says_how_many_maps_are_missing() -> None:
    found = parts(made(MAPS + 5))
    assert len(found["rows"]) == MAPS + 5 and len(found["maps"]) == MAPS and found["hidden"] == 5


def test_the_report_shows_it(make_page: Callable[..., Page]) -> None:
    text = page_html([make_page({"pneumonia": {"patterns": made()}})])
    for words in ("without a name", "not reproduced (residual)", "other named patterns", "average picture (bias)"):
        assert words in text
    assert "line &lt;b&gt;left" in text and "<b>left" not in text
    assert text.count('<svg class="part"') == 6 and "31\u00a0%" in text and "20\u00a0% at least" in text
    assert re.search(r"style=", text) is None
