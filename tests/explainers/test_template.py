"""Statements put together from the other explanations: what they say, what they leave unsaid, and in which words."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import whyray
from whyray.cli.app import app
from whyray.contracts import Context
from whyray.errors import SettingError, UnmetNeed
from whyray.explainers import _template_facts as gathered
from whyray.explainers._place import Place, against, alike, in_zones, lungs, place
from whyray.explainers._template_words import AUDIENCES, in_hundred, likelihood, percent, said, words
from whyray.explainers.centre import bump
from whyray.explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
from whyray.findings import FINDINGS
from whyray.io.frontal import Chest, chest
from whyray.metrics._wording import grade
from whyray.registry import explainer
from whyray.types import Case, Prediction, Provenance, Radiograph

Floats = NDArray[np.float64]
SIDE = 120
CHEST = Chest(middle=0.5, half=0.4, top=0.1, bottom=0.9)
MADE = Provenance("gradcam", 1, {}, 0, "", "", "", "", 0.0, "")
PICTURE = Radiograph(np.zeros((SIDE, SIDE), np.float32), view="PA", name="blank")


def blob(*centres: tuple[float, float], finding: str = "nodule", sigma: float = 0.05) -> Attribution:
    """A map of Gaussians around (x, y), in shares of the picture."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    values = sum((np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)) for a, b in centres), np.zeros((SIDE, SIDE)))
    return Attribution(
        finding=finding, provenance=MADE, values=values, to_source=np.eye(3), source_shape=(SIDE, SIDE), signed=False
    )


def test_the_patients_left_is_on_the_pictures_right() -> None:
    assert place(blob((0.25, 0.8)), CHEST) == Place(
        "right", ("lower",), pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.01)
    )
    assert (place(blob((0.75, 0.2)), CHEST).side, place(blob((0.75, 0.2)), CHEST).zones) == ("left", ("upper",))
    both = place(blob((0.25, 0.5), (0.75, 0.5)), CHEST)
    assert (both.side, both.zones) == ("both", ("middle",))
    middle = place(blob((0.5, 0.8)), CHEST)
    assert (middle.side, middle.zones) == ("middle", ("lower",))
    tall = place(blob((0.25, 0.25), (0.25, 0.5)), CHEST)
    assert (tall.side, tall.zones) == ("right", ("upper", "middle"))


@pytest.mark.parametrize(
    ("attribution", "where", "why"),
    [
        (blob(), CHEST, "empty"),
        (blob((0.25, 0.8)), None, "view"),
        (blob((0.02, 0.02)), Chest(0.5, 0.25, 0.3, 0.7), "outside"),
        (blob((0.5, 0.5), sigma=5), Chest(0.5, 0.35, 0.0, 1.0), "spread"),
    ],
    ids=["empty", "view", "outside", "spread"],
)
def test_no_place_is_named_that_the_map_does_not_support(
    attribution: Attribution, where: Chest | None, why: str
) -> None:
    found = place(attribution, where, sided=False)
    assert (found.side, found.zones, found.why) == ("", (), why)


def test_what_a_place_holds_is_counted_there_alone() -> None:
    def mass(where: Callable[[Floats, Floats], NDArray[np.bool_]], made: Attribution) -> float:
        y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
        return float(made.values[where(x, y)].sum() / made.values.sum())

    third = (CHEST.bottom - CHEST.top) / 3 + CHEST.top
    beside = blob(*[(0.5, 0.2)] * 2, (0.5, 0.8), *[(0.25, 0.2)] * 2)
    found = place(beside, CHEST)
    assert (found.side, found.zones) == ("middle", ()), "near the midline and in the upper zone lies less than half"
    assert found.share == pytest.approx(mass(lambda x, _y: np.abs(x - 0.5) < CHEST.half / 4, beside), abs=0.02)
    assert in_zones(beside, CHEST, ("upper",)) == pytest.approx(mass(lambda _x, y: y < third, beside), abs=0.02)
    assert in_zones(beside, CHEST, ("upper", "middle", "lower")) == pytest.approx(found.inside)
    near = blob((0.5, 0.2), (0.5, 0.2), (0.5, 0.2), (0.75, 0.8))
    central = place(near, CHEST)
    assert (central.side, central.zones) == ("middle", ("upper",))
    assert central.share == pytest.approx(
        mass(lambda x, y: (y < third) & (np.abs(x - CHEST.middle) < CHEST.half / 4), near), abs=0.02
    )


def test_a_middle_that_holds_less_than_half_does_not_hide_a_side() -> None:
    outer, aside = [(0.85, 0.3)] * 3, [(0.5, 0.99)]
    found = place(blob(*[(0.54, 0.45)] * 3, *outer, *aside, sigma=0.03), CHEST)
    assert (found.side, found.zones) == ("left", ("upper", "middle")) and found.share > 0.8


def test_where_nearly_all_evidence_is_against_no_place_is_named() -> None:
    signed = dataclasses.replace(blob((0.25, 0.8)), values=blob((0.25, 0.8)).values, signed=True)
    doubt = dataclasses.replace(signed, values=signed.values - 19 * blob((0.75, 0.2)).values)
    assert (against(signed), against(doubt)) == (0, pytest.approx(0.95, abs=0.005))
    assert place(signed, CHEST).side == "right" and place(doubt, CHEST) == Place(why="against")
    assert against(dataclasses.replace(doubt, signed=False)) == 0
    assert place(dataclasses.replace(signed, values=-signed.values), CHEST).why == "against"
    facts = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", earlier(doubt))
    assert isinstance(facts, gathered.Facts)
    assert "Nearly all the evidence in the map speaks against it" in said(facts, "clinician")[0]
    assert "lowered the score" in said(facts, "lay")[0]


def test_evidence_outside_the_chest_is_told_from_a_third_on() -> None:
    small = Chest(0.5, 0.4, 0.1, 0.7)
    inside, outside = (0.3, 0.2), (0.3, 0.95)
    assert place(blob(*[inside] * 3, outside), small).astray is False
    half = place(blob(*[inside] * 3, *[outside] * 2), small)
    assert half.astray and half.inside == pytest.approx(0.6, abs=0.05)
    facts = gathered.facts_of(PICTURE, small, NODULE, "nodule", earlier(blob(*[inside] * 3, *[outside] * 2)))
    assert isinstance(facts, gathered.Facts) and facts.place == half
    numbers = percent(half.share), percent(1 - half.inside)
    told = "{} of the evidence for it lies in the right upper zone, {} outside the chest.".format(*numbers)
    assert told in said(facts, "clinician")[0]
    assert "much of it lies outside the chest" in said(facts, "lay")[0]
    assert not place(blob(inside, *[outside] * 3), small).astray, "it is said in other words"


def test_no_lungs_are_sought_in_a_lateral_picture() -> None:
    picture = whyray.load_dataset("phantom:train=1,val=1,test=1").cases("test")[0].radiograph()
    assert lungs(picture) == chest(picture.pixels) is not None
    assert lungs(dataclasses.replace(picture, view="LATERAL")) is None


def test_a_finding_without_a_side_gets_none() -> None:
    assert place(blob((0.25, 0.8)), CHEST, sided=False) == Place(
        "", ("lower",), pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.01)
    )


def test_a_named_place_holds_half_of_the_evidence() -> None:
    found = [
        place(blob(*centres), CHEST)
        for centres in itertools.combinations(itertools.product((0.2, 0.5, 0.8), (0.2, 0.5, 0.8)), 3)
    ]
    assert all(p.share >= 0.5 for p in found if not p.why) and any(p.why == "spread" for p in found)


def missed_by(cases: Iterable[Case]) -> np.ndarray:
    """By how much each end of the lungs is missed ``[cases, 4]``: middle, half, top, bottom, in shares of the picture;
    NaN where no chest was found. Cases without both lungs are left out."""
    out = []
    for case in cases:
        lungs = {r.finding: r.box for r in case.regions() if r.kind == "anatomy"}
        if not {"right_lung", "left_lung"} <= set(lungs):
            continue
        picture = case.radiograph()
        found, (h, w) = chest(picture.pixels), picture.shape
        (rx, ry, rw, rh), (lx, ly, lw, lh) = lungs["right_lung"], lungs["left_lung"]
        true = (rx + rw + lx) / 2 / w, (lx + lw - rx) / 2 / w, min(ry, ly) / h, max(ry + rh, ly + lh) / h
        ends = (found.middle, found.half, found.top, found.bottom) if found else [np.nan] * 4
        out.append(np.abs(np.subtract(ends, true)))
    return np.stack(out)


def test_the_chest_is_found_in_phantoms() -> None:
    missed = missed_by(whyray.load_dataset("phantom:train=1,val=1,test=12").cases("test"))
    assert (missed.mean(0) < (0.02, 0.03, 0.05, 0.07)).all() and (missed < (0.08, 0.1, 0.15, 0.2)).all()
    assert chest(np.eye(64, dtype=np.float32)) is None


def test_the_chest_is_found_where_lung_masks_were_held_back(dev_data: Path) -> None:
    data = whyray.load_dataset(f"folder:{dev_data / 'dev'}")
    missed = missed_by(case for split in ("val", "test") for case in data.cases(split))
    found = missed[np.isfinite(missed).all(1)]
    assert len(missed) >= 40 and len(found) >= 0.9 * len(missed)
    assert (found.mean(0) < (0.025, 0.04, 0.06, 0.07)).all()  # as ``Chest`` says


def test_likelihood_follows_the_published_scale() -> None:
    published = [
        (0.0, 0.0099, "exceptionally unlikely"),
        (0.01, 0.0999, "very unlikely"),
        (0.10, 0.3299, "unlikely"),
        (0.33, 0.6599, "about as likely as not"),
        (0.66, 0.8999, "likely"),
        (0.90, 0.99, "very likely"),
        (0.9901, 1.0, "virtually certain"),
    ]
    for low, high, word in published:
        assert likelihood(low) == likelihood(high) == word


def test_numbers_of_each_reader() -> None:
    assert (percent(0.183), percent(0.0128), percent(0.03)) == ("18 %", "1.3 %", "3 %")
    assert (in_hundred(0.183), in_hundred(0.001), in_hundred(0.999)) == ("about 18", "fewer than 1", "more than 99")


def test_a_probability_and_its_operating_point_that_differ_do_not_look_equal() -> None:
    near = Prediction("edema", 0.0, 0.01312, threshold=0.01296, prevalence=0.05, calibrated=True)
    facts = gathered.Facts(near, "PA", Place(why="empty"), True, None, None, None, None, ("x/gradcam",))
    text, _ = said(facts, "clinician")
    assert "The model calls edema: probability 1.31 %, operating point 1.30 %." in text
    lay, _ = said(facts, "lay")
    assert "1.3" not in lay


# every branch of the wording, for every finding
PLACES = [
    *(Place(why=why) for why in ("empty", "outside", "view", "spread", "against")),  # type: ignore[arg-type]
    Place(inside=0.6, why="spread"),
    Place("right", ("lower",), 0.55, 0.6),
    *(
        Place(side, zones, 0.7, 0.9)  # type: ignore[arg-type]
        for side in ("", "left", "right", "both", "middle")
        for zones in ((), ("lower",), ("middle", "lower"))
        if side or zones
    ),
]
SIGNS = [None, *(gathered.Sign("lung_opacity", 0.6, r) for r in (0.9, 0.1, float("nan")))]
CARRIED = [
    None,
    gathered.Carried(1, 0.3, ("p0001",), 0.2),
    gathered.Carried(7, 0.8, ("p0001", "p0002", "p0003"), 0.1),
    gathered.Carried(0, float("nan"), (), float("nan")),
]
CHANGED = [
    None,
    *(gathered.Changed(0.5, after, where, False) for after in (0.1, 0.9, 0.501) for where in (PLACES[3], PLACES[9])),
]
PREDICTIONS = [
    Prediction("", 0.0, 0.2, threshold=0.1, prevalence=0.05, calibrated=True),
    Prediction("", 0.0, 0.05, threshold=0.1, prevalence=0.05, calibrated=True),
    Prediction("", 0.0, 0.7, prevalence=0.004, calibrated=True),
    Prediction("", 0.0, 0.7, threshold=0.5),
]


def every_branch(finding: str) -> list[gathered.Facts]:
    """Each kind of each part at least once, the longest ones together."""
    parts = [PREDICTIONS, [None, "PA"], PLACES, SIGNS, CARRIED, CHANGED, [None, ("centre", 0.9)]]
    rows = [[kinds[i % len(kinds)] for kinds in parts] for i in range(max(map(len, parts)))]
    out = []
    for prediction, view, where, sign, carried, changed, control in rows:
        p = dataclasses.replace(prediction, finding=finding)  # type: ignore[type-var]
        out.append(gathered.Facts(p, view, where, True, sign, carried, changed, control, ("x/gradcam",)))  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_branch_has_its_words_in_both_registers(audience: str) -> None:
    for name in (f.id for f in FINDINGS):
        for facts in every_branch(name):
            text, notes = said(facts, audience)  # type: ignore[arg-type]
            for sentence in (text, *notes):
                assert sentence[0].isupper() and sentence.endswith(".")
                assert not {"{", "}"} & set(sentence) and "  " not in sentence and "nan" not in sentence.split()
            assert said(facts, audience) == (text, notes)  # type: ignore[arg-type]


def test_lay_statements_need_eight_years_of_school() -> None:
    assert set(words()["lay"]["names"]) == {f.id for f in FINDINGS}
    hardest = max(
        (grade(" ".join((text, *notes))), text)
        for f in FINDINGS
        for facts in every_branch(f.id)
        for text, notes in [said(facts, "lay")]
    )
    assert hardest[0] <= 8, hardest


def test_both_registers_have_the_same_sentences() -> None:
    clinician, lay = words()["clinician"], words()["lay"]
    assert set(clinician) == set(lay) - {"names"}
    assert all(set(clinician[table]) == set(lay[table]) for table in ("notes", "where"))


def earlier(*made: Explanation, picture: Radiograph = PICTURE) -> dict[tuple[str, str, str], Explanation]:
    return {(picture.sha256, e.finding, e.provenance.explainer): e for e in made}


def path(kept: float = 1.0) -> Counterfactual:
    frames = np.full((3, SIDE, SIDE), 0.5, np.float32)
    frames[0, 80:100, 20:40] = 0.1
    return Counterfactual(
        finding="nodule",
        provenance=dataclasses.replace(MADE, explainer="latent_shift"),
        checks={"kept": kept},
        frames=frames,
        lambdas=np.array([-1.0, 0.0, 1.0]),
        logits=np.zeros((3, 1)),
        probabilities=np.array([0.04, 0.2, 0.6]),
        findings=("nodule",),
        base=frames[1],
        to_source=np.eye(3),
        source_shape=(SIDE, SIDE),
    )


def sum_of(share: float = 0.8) -> PatternSum:
    return PatternSum(
        finding="nodule",
        provenance=dataclasses.replace(MADE, explainer="patterns"),
        checks={"size": 2.0, "named_share": share},
        patterns=("p0001", "p0002", "p0003"),
        names=("round shadow", "rib crossing", "p0003"),
        categories=("pulmonary", "structural", "unassigned"),
        contributions=np.array([0.5, 0.2, -0.1]),
        probabilities=np.array([0.12, 0.18, 0.22]),
        probability=0.2,
        bias=0.0,
        others=0.0,
        unnamed=0.0,
        residual=0.0,
        maps=np.zeros((3, 4, 4), np.float32),
        rest=np.zeros((4, 4), np.float32),
        to_source=np.eye(3),
        source_shape=(SIDE, SIDE),
    )


NODULE = {"nodule": Prediction("nodule", 0.0, 0.2, threshold=0.1, prevalence=0.05, calibrated=True)}


def test_patterns_and_counterfactuals_of_the_run_are_told_and_named_as_evidence() -> None:
    made = earlier(blob((0.25, 0.8)), sum_of(0.3), path(kept=0.2))
    facts = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", made)
    assert isinstance(facts, gathered.Facts)
    assert facts.evidence == ("nodule/gradcam", "nodule/patterns", "nodule/latent_shift")
    text, notes = said(facts, "clinician")
    assert "in the right lower zone" in text and "led by round shadow and rib crossing; without the first" in text
    assert "the probability is 12 %" in text and "falls from 20 % to 4 %" in text
    assert any("no named pattern" in n for n in notes) and any("does not keep" in n for n in notes)
    plain = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", earlier(blob((0.25, 0.8)), sum_of(), path()))
    assert isinstance(plain, gathered.Facts)
    assert not any("named pattern" in n or "keep" in n for n in said(plain, "clinician")[1])


def test_a_sign_is_cited_where_it_is_called_and_its_place_compared() -> None:
    predictions = {
        "pneumonia": Prediction("pneumonia", 0.0, 0.2, threshold=0.1, prevalence=0.05, calibrated=True),
        "lung_opacity": Prediction("lung_opacity", 0.0, 0.4, threshold=0.3, prevalence=0.2, calibrated=True),
        "consolidation": Prediction("consolidation", 0.0, 0.1, threshold=0.3, prevalence=0.2, calibrated=True),
    }
    here, apart = blob((0.25, 0.8), finding="pneumonia"), blob((0.75, 0.2), finding="lung_opacity")
    for other, told in ((dataclasses.replace(here, finding="lung_opacity"), "correlate at 1.00"), (apart, "elsewhere")):
        facts = gathered.facts_of(PICTURE, CHEST, predictions, "pneumonia", earlier(here, other))
        assert isinstance(facts, gathered.Facts) and facts.evidence == ("pneumonia/gradcam", "lung_opacity/gradcam")
        text, _ = said(facts, "clinician")
        assert "also calls lung opacity" in text and told in text and "consolidation" not in text
    none = {**predictions, "lung_opacity": dataclasses.replace(predictions["lung_opacity"], probability=0.1)}
    facts = gathered.facts_of(PICTURE, CHEST, none, "pneumonia", earlier(here))
    assert isinstance(facts, gathered.Facts) and "none of the signs" in said(facts, "clinician")[0]


def test_a_map_like_a_control_is_called_that() -> None:
    like = dataclasses.replace(blob(), values=bump(14, 14), to_source=np.diag([SIDE / 14, SIDE / 14, 1.0]))
    facts = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", earlier(like))
    assert isinstance(facts, gathered.Facts) and facts.alike is not None and facts.alike[0] == "centre"
    assert any("resembles the control centre" in n for n in said(facts, "clinician")[1])
    assert alike(like, like) == pytest.approx(1)
    unlike = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", earlier(blob((0.25, 0.8))))
    assert isinstance(unlike, gathered.Facts) and unlike.alike is None


def test_an_empty_map_is_said_to_show_nothing() -> None:
    facts = gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", earlier(blob()))
    assert isinstance(facts, gathered.Facts) and facts.evidence == ("nodule/gradcam",)
    assert "shows nothing that speaks for it" in said(facts, "clinician")[0]
    assert "No place in the X-ray raised the score" in said(facts, "lay")[0]


def test_without_evidence_there_is_no_statement_but_a_reason() -> None:
    assert "rests on gradcam" in str(gathered.facts_of(PICTURE, CHEST, NODULE, "nodule", {}))
    with pytest.raises(UnmetNeed, match="gradcam, which was not made"):
        explainer("template").explain(whyray.load_model("analytic"), [PICTURE], ["nodule"], Context())
    with pytest.raises(SettingError, match="clinician or lay"):
        whyray.explain(whyray.load_model("analytic"), PICTURE, audience="friend")


@pytest.fixture(scope="module")
def explained() -> whyray.Explained:
    """A phantom with findings, explained by default and for a lay reader."""
    case = whyray.load_dataset("phantom:train=1,val=1,test=4").cases("test")[3]
    wanted = ["gradcam", "template", "template:audience=lay"]
    return whyray.explain(
        whyray.load_model("mini"), case.radiograph(), findings=["pneumonia", "lung_opacity"], explainers=wanted
    )


def test_the_bundled_model_speaks_to_both(explained: whyray.Explained) -> None:
    clinician, lay = explained["pneumonia", "template"], explained["pneumonia", "template:audience=lay"]
    assert isinstance(clinician, Statement) and isinstance(lay, Statement)
    assert (clinician.audience, lay.audience) == ("clinician", "lay") and clinician.text != lay.text
    assert "pneumonia" in clinician.text and "1.3 % of radiographs" in clinician.text
    assert lay.checks["reading_grade"] <= 8
    for statement in (clinician, lay):
        for key in statement.evidence:
            finding, _, label = key.partition("/")
            assert isinstance(explained[finding, label], Attribution)


def test_the_report_links_each_statement_to_its_evidence(explained: whyray.Explained, tmp_path: Path) -> None:
    folder = explained.save(tmp_path)
    html = (folder / "report.html").read_text()
    assert 'class="statement"' in html and "gradcam of pneumonia</a>" in html
    for target in {part.split('"')[0] for part in html.split('href="#')[1:]}:
        assert f'id="{target}"' in html, target
    from whyray.io.bundles import load_bundle

    back = load_bundle(folder).results["pneumonia"]["template"]
    made = explained["pneumonia", "template"]
    assert isinstance(back, Statement) and isinstance(made, Statement)
    assert (back.text, back.evidence, back.notes) == (made.text, made.evidence, made.notes)


def test_the_command_line_speaks_to_the_audience(tmp_path: Path) -> None:
    from PIL import Image

    case = whyray.load_dataset("phantom:train=1,val=1,test=4").cases("test")[3]
    file = tmp_path / "chest.png"
    Image.fromarray((255 * case.radiograph().pixels).astype(np.uint8)).save(file)
    run = ["explain", str(file), "-f", "lung_opacity", "--audience", "lay", "-o", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, run)
    assert shown.exit_code == 0, shown.output
    assert "template: The computer" in shown.output and "rests on lung_opacity/gradcam" in shown.output
    record = json.loads(next((tmp_path / "out").glob("*/explanation.json")).read_text())
    assert "--audience lay" in record["provenance"]["command"]
    refused = CliRunner().invoke(app, [*run[:5], "friend", *run[6:]])
    assert isinstance(refused.exception, SettingError)
