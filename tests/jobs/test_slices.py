"""How methods degrade with several findings, on the pages of both evaluations, by the same section."""

from __future__ import annotations

import re

import whyray
from whyray.datasets.phantom import phantom_case
from whyray.jobs._faithfulness_page import page
from whyray.jobs._slices import slices_section
from whyray.jobs.faithfulness import Trial, evaluate_faithfulness
from whyray.jobs.localisation import most_specific
from whyray.metrics.significance import Difference
from whyray.types import Score


def rows(metric: str = "deletion", sign: float = 1.0) -> list[Score]:
    values = {("gradcam", "single-label"): 0.2, ("gradcam", "multi-label"): 0.5, ("edges", "multi-label"): 0.6}
    return [Score("mean", metric, sign * v, v - 0.1, v + 0.1, 7, m, s) for (m, s), v in values.items()]


FELL = {"deletion": {"gradcam": Difference("one finding", "several findings", -0.3, -0.4, -0.2, 0.01, 14, 9, 0.02)}}
NAMES = {"deletion": "deletion, normalised"}


def test_a_table_a_metric_with_both_slices_and_their_difference() -> None:
    section = slices_section(rows(), FELL, ["gradcam", "edges"], ["edges"], (5, 4), NAMES)
    (table,) = section.tables
    assert table.caption == "deletion, normalised" and table.dim == {1}
    assert table.rows[0] == [
        "gradcam",
        "0.200 [0.100, 0.300] n=7",
        "0.500 [0.400, 0.600] n=7",
        "-0.300 [-0.400, -0.200]",
        "0.02",
    ]
    assert table.rows[1] == ["edges (control)", "–", "0.600 [0.500, 0.700] n=7", "–", "–"]
    assert section.text[0].startswith("5 pictures with one finding present, 4 with several.")
    assert [f.caption.partition(".")[0] for f in section.figures] == [
        "deletion, normalised: single-label",
        "deletion, normalised: multi-label",
    ]


def test_bars_that_would_start_below_zero_and_slices_that_are_empty_are_left_out() -> None:
    assert not slices_section(rows(sign=-1), FELL, ["gradcam", "edges"], [], (5, 4), NAMES).figures
    alone = slices_section(rows(), FELL, ["gradcam"], [], (5, 0), NAMES)
    assert not alone.figures and "nothing to compare" in alone.text[1]
    assert not slices_section([], {}, ["gradcam"], [], (5, 4), {}).tables


def test_the_faithfulness_page_has_them() -> None:
    """Four phantoms as they are drawn: with one finding, and with several."""
    cases = [case for case in (phantom_case(2_000_300 + i) for i in range(24)) if case.labels]
    count = [len(most_specific([f for f, v in c.labels.items() if v == 1])) for c in cases]
    one = [c for c, k in zip(cases, count, strict=True) if k == 1][:2]
    several = [c for c, k in zip(cases, count, strict=True) if k > 1][:2]
    assert len(one) == len(several) == 2
    trial = Trial(steps=2, road=2, grid=4, draws=4, few=0, precision="float32")
    mini = whyray.load_model("mini")
    found = evaluate_faithfulness(mini, one + several, [], findings=["mass"], pairs="all", trial=trial, replicates=20)
    text = page(found, "phantom")
    section = text[text.index("<h2>One finding or several</h2>") : text.index("<h2>Which differences hold</h2>")]
    assert "2 pictures with one finding present, 2 with several" in section
    told = re.findall(r"<caption>([^<]+)</caption>", section)
    assert told == [m.replace("_", " ") for m in found.degradation] and "deletion" in told
    fall = found.degradation["gap"]["edges"]
    assert f"{fall.difference:+.3f} [{fall.low:+.3f}, {fall.high:+.3f}]" in section


def test_without_several_the_faithfulness_page_has_no_such_part() -> None:
    case = phantom_case(2_000_300)
    trial = Trial(steps=2, road=2, grid=4, draws=4, few=0, precision="float32")
    mini = whyray.load_model("mini")
    found = evaluate_faithfulness(mini, [case], [], findings=["mass"], pairs="all", trial=trial, replicates=20)
    assert "One finding or several" not in page(found, "phantom")
