"""Sentences that are read back by their words: the figures on their cards, and when there is none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quadrants import Quadrants, Spelled, example, picture

import whyray
from whyray.contracts import Context, cells_to_pixels
from whyray.errors import SettingError, UnmetNeed
from whyray.explainers._named_place import NamedPlace
from whyray.explainers._round_trip import FEW, Example, Reader, RoundTrip, Said
from whyray.explainers._template_words import AUDIENCES
from whyray.explainers._wenlex_words import notes, words
from whyray.explainers.wenlex import Wenlex
from whyray.explanations import Attribution, Statement
from whyray.metrics._wording import grade
from whyray.registry import explainer

SEEN = (0.9, 0.1, 0.2, 0.8)
RIGHT = "Patchy opacity in the right lung may be a nodule."
PLAIN = "There may be a nodule."
LEFT = "Possible nodule in the left lung."
WET = "Both lungs look congested."
SENTENCES = {
    RIGHT: (0.9, 0.2, 0.2, 0.7),
    PLAIN: (0.8, 0.6, 0.6, 0.2),
    LEFT: (0.6, 0.7, 0.5, 0.1),
    WET: (0.4, 0.4, 0.4, 0.9),
}
BOTH = (example("nodule", PLAIN), example("nodule", LEFT), example("edema", WET))
FOLLOWS = Spelled({"nodule": (0.9, 0.12, 0.2, 0.75), "edema": (0.4, 0.4, 0.4, 0.9)}, SENTENCES, {"clinician": BOTH})

MAP = np.array([[3.0, 0.0, 0.0, 1.0]])  # three quarters on the patient's right


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    return float(np.dot(first, second) / math.sqrt(np.dot(first, first) * np.dot(second, second)))


def of_map(finding: str, radiograph: whyray.Radiograph, values: Any) -> dict[tuple[str, str, str], Any]:
    """A map of gradcam, made before."""
    (made,) = explainer("centre").explain(Quadrants(), [radiograph], [finding], Context())
    plain = made[finding]
    assert isinstance(plain, Attribution)
    to_source = cells_to_pixels(np.shape(values), radiograph.shape)
    changed = dataclasses.replace(plain, values=values, to_source=to_source)
    return {(radiograph.sha256, finding, "gradcam"): changed}


def said(
    generator: Any, spec: str = "wenlex", findings: Sequence[str] = ("nodule",), at: Sequence[float] = SEEN
) -> tuple[dict[str, Any], dict[str, str]]:
    """(finding -> statement, finding -> why there is none) on the picture of four grey values."""
    radiograph = picture(*at)
    earlier = {k: v for f in findings for k, v in of_map(f, radiograph, MAP).items()}
    context = Context(earlier=earlier, artefact=lambda _kind, _fingerprint: generator)
    (made,) = explainer(spec).explain(Quadrants(), [radiograph], list(findings), context)
    return made, {f: why for (_, f), why in context.abstained.items()}


def test_the_card_of_a_sentence_is_the_formula() -> None:
    statement = said(FOLLOWS)[0]["nodule"]
    assert isinstance(statement, Statement)
    middle = np.mean([SENTENCES[PLAIN], SENTENCES[LEFT]], axis=0)
    by_words, by_vector = cosine(SENTENCES[RIGHT], SEEN), cosine(FOLLOWS.meant["nodule"], SEEN)
    by_label = cosine(middle.tolist(), SEEN)
    assert by_label < by_words < by_vector, "the case tells words, vector and diagnosis apart"
    expected = {
        "faithfulness": by_words,
        "faithfulness_of_diagnosis": by_label,
        "gain_kept": (by_words - by_label) / (by_vector - by_label),
        "label_kept": 1.0,
        "nearest_example": cosine(SENTENCES[RIGHT], SENTENCES[PLAIN]),
        "verbatim": 0.0,
        "evidence_on_side": 0.75,
    }
    assert statement.text == RIGHT and statement.audience == "clinician"
    assert {k: statement.checks[k] for k in expected} == pytest.approx(expected, abs=1e-6)
    assert statement.checks["reading_grade"] == round(grade(RIGHT), 1)
    assert statement.evidence == ("nodule/gradcam",)


def test_the_notes_tell_round_trip_example_and_side() -> None:
    told = said(FOLLOWS)[0]["nodule"].notes
    assert any("of what the generator's vector told" in n for n in told)
    assert any(f"“{PLAIN.rstrip('.')}”" in n and "(2 examples, cosine" in n for n in told)
    assert any("It says right, where 75 % of the map's positive evidence lies" in n for n in told)
    assert any("cites lung opacity, which the classifier does not predict" in n for n in told)


def test_the_generator_is_asked_with_features_prediction_diagnosis_and_audience() -> None:
    generator = dataclasses.replace(FOLLOWS, asked=[])
    said(generator, findings=("nodule", "edema"), spec="wenlex:kept=0")
    assert generator.asked == [((2, 4, 1, 1), (2, 2), ("nodule", "edema"), "clinician")]


def test_a_sentence_that_is_an_example_word_for_word_is_called_that() -> None:
    made, why = said(FOLLOWS, "wenlex:kept=0", ["edema"])
    assert made["edema"].checks["verbatim"] == 1 and not why
    assert "Word for word a sentence that it learned from (1 example)." in made["edema"].notes


def test_an_example_counts_with_its_mirror_where_it_was_learned_so() -> None:
    mirrors = {RIGHT.replace("right", "left"): SENTENCES[RIGHT], LEFT.replace("left", "right"): SENTENCES[LEFT]}
    taught = (example("nodule", RIGHT.replace("right", "left")), example("nodule", PLAIN))
    plan = {"provenance": {"plan": {"mirrored": True}}}
    generator = dataclasses.replace(FOLLOWS, databases={"clinician": taught}, sentences={**SENTENCES, **mirrors})
    assert said(generator, "wenlex:kept=0")[0]["nodule"].checks["verbatim"] == 0
    both = said(dataclasses.replace(generator, facts=plan), "wenlex:kept=0")[0]["nodule"]
    assert both.checks["verbatim"] == 1 and any("(3 examples)" in n for n in both.notes)


def test_words_that_tell_no_more_than_the_diagnosis_are_not_given() -> None:
    lost = dataclasses.replace(FOLLOWS, meant={"nodule": (0.62, 0.7, 0.5, 0.1)})
    made, why = said(lost)
    assert not made and "tells no more of this picture than the diagnosis does" in why["nodule"]
    assert said(lost, "wenlex:kept=0")[0]["nodule"].text == LEFT


def test_words_that_keep_too_little_of_the_vector_are_not_given() -> None:
    middle = (0.76, 0.5, 0.45, 0.3)  # a little nearer to the picture than the diagnosis alone
    poor = dataclasses.replace(FOLLOWS, sentences={"Nodule.": middle, PLAIN: SENTENCES[PLAIN], LEFT: SENTENCES[LEFT]})
    made, why = said(dataclasses.replace(poor, meant={"nodule": (0.9, 0.3, 0.3, 0.6)}))
    assert not made and "keeps" in why["nodule"] and "of 50 % asked" in why["nodule"]
    given = said(dataclasses.replace(poor, meant={"nodule": (0.9, 0.3, 0.3, 0.6)}), "wenlex:kept=0.01")[0]
    assert 0.01 < given["nodule"].checks["gain_kept"] < 0.5


def test_a_vector_without_a_gain_leaves_its_share_unknown() -> None:
    assert math.isnan(RoundTrip(words=0.9, latent=0.7, label=0.8, same=True).kept)
    assert RoundTrip(words=0.9, latent=0.7, label=0.8, same=True).gains


@pytest.mark.parametrize(
    ("generator", "spec", "at", "why"),
    [
        (dataclasses.replace(FOLLOWS, diagnoses=("edema",)), "wenlex", SEEN, "learned no sentence on nodule"),
        (dataclasses.replace(FOLLOWS, databases={"clinician": BOTH[2:]}), "wenlex", SEEN, "learned no sentence"),
        (FOLLOWS, "wenlex", (0.2, 0.1, 0.2, 0.8), "does not call nodule"),
        (
            dataclasses.replace(FOLLOWS, sentences={**SENTENCES, "": (0.9, 0.12, 0.2, 0.75)}),
            "wenlex",
            SEEN,
            "ended before the first word",
        ),
    ],
    ids=["unknown diagnosis", "no example", "not called", "no word"],
)
def test_what_is_left_out_has_its_reason(generator: Any, spec: str, at: Any, why: str) -> None:
    made, reasons = said(generator, spec, at=at)
    assert not made and why in reasons["nodule"]


def test_a_finding_that_is_not_called_gets_a_sentence_when_asked() -> None:
    made, _ = said(FOLLOWS, "wenlex:uncalled=true,kept=0", at=(0.2, 0.1, 0.2, 0.8))
    assert "The classifier does not call this finding." in made["nodule"].notes
    assert made["nodule"].checks["label_kept"] == 0
    assert any("makes another call" in n for n in made["nodule"].notes)


def test_of_several_sentences_on_the_side_that_is_meant_the_one_that_reads_back_best_is_given() -> None:
    faint = "A faint nodule in the left lung."  # reads back better than LEFT, and RIGHT better than both
    sentences = {**SENTENCES, faint: (0.8, 0.45, 0.35, 0.4)}
    astray = dataclasses.replace(
        FOLLOWS, meant={**FOLLOWS.meant, "nodule": (0.62, 0.68, 0.5, 0.1)}, sentences=sentences, several=5
    )
    free, _ = said(astray, "wenlex:wording=free,kept=0")
    chosen, _ = said(astray, "wenlex:kept=0")
    alone, _ = said(astray, "wenlex:kept=0,beams=1")
    assert (free["nodule"].text, alone["nodule"].text, chosen["nodule"].text) == (LEFT, LEFT, faint)
    with pytest.raises(SettingError, match="phrases or free"):
        Wenlex(wording="loose")  # type: ignore[arg-type]


def test_a_lay_sentence_rests_on_what_it_says_in_plain_words() -> None:
    hazy = "A haze in the right lung may be a small round spot."
    taught = {"lay": (example("nodule", hazy), example("nodule", PLAIN))}
    known = {hazy: SENTENCES[RIGHT], PLAIN: SENTENCES[PLAIN]}
    lay = dataclasses.replace(FOLLOWS, sentences=known, databases=taught)
    told = said(lay, "wenlex:audience=lay,kept=0")[0]["nodule"]
    assert told.text == hazy and any("The words speak of" in note for note in told.notes)


class Elsewhere(Spelled):
    """Free words name a side that no candidate names."""

    def texts(self, z: torch.Tensor, beams: int = 1) -> list[str]:
        return ["Nodules in both lungs."] * len(z)


def test_where_no_sentence_is_on_the_side_that_is_meant_all_are_read_back() -> None:
    known = {RIGHT: SENTENCES[RIGHT], PLAIN: SENTENCES[PLAIN]}
    elsewhere = Elsewhere(FOLLOWS.meant, {**known, LEFT: SENTENCES[LEFT]}, {"clinician": BOTH[:2]}, several=3)
    assert said(elsewhere, "wenlex:kept=0")[0]["nodule"].text == RIGHT


def test_without_evidence_there_is_no_sentence() -> None:
    context = Context(artefact=lambda _kind, _fingerprint: FOLLOWS)
    (made,) = explainer("wenlex").explain(Quadrants(), [picture(*SEEN)], ["nodule"], context)
    assert not made and "no other explanation of nodule" in next(iter(context.abstained.values()))


def test_an_audience_without_examples_says_which_there_are() -> None:
    with pytest.raises(UnmetNeed, match="give audience=clinician"):
        said(dataclasses.replace(FOLLOWS, audiences=("clinician",)), "wenlex:audience=lay")
    with pytest.raises(SettingError, match="clinician or lay"):
        Wenlex(audience="friend")  # type: ignore[arg-type]


TRIPS = [RoundTrip(w, z, 0.8, same) for w in (0.85, 0.9) for z in (0.7, 0.95) for same in (True, False)]
EXAMPLES = [Example("A small patch is seen near the top of the lung.", 0.9, same, 5) for same in (True, False)]
PLACES = [
    NamedPlace(side, share, zones, within)
    for side, share in [("", math.nan), ("left", 0.9), ("right", 0.2), ("both", 0.5), ("both", 0.1)]
    for zones, within in [((), math.nan), (("lower",), 0.9), (("upper", "middle"), 0.2), (("upper",), math.nan)]
]


@pytest.mark.parametrize("audience", AUDIENCES)
def test_every_note_has_its_words_in_both_registers(audience: Any) -> None:
    for trip in TRIPS:
        for nearest in EXAMPLES:
            for place in PLACES:
                for called in (True, False):
                    told = notes(Said("nodule", "Text.", trip, nearest), place.notes(audience), called, audience)
                    assert all(n[0].isupper() and n.endswith(".") and "nan" not in n.split() for n in told)
                    assert not any({"{", "}"} & set(n) or "  " in n for n in told)
                    assert audience == "clinician" or grade(" ".join(told)) <= 8, told
    assert set(words()["clinician"]) == set(words()["lay"])


@pytest.mark.parametrize("spec", ["wenlex:kept=0,uncalled=true", "wenlex:kept=0,uncalled=true,audience=lay,beams=2"])
def test_sentences_of_an_untrained_generator_keep_the_promises(
    spec: str, with_artefacts: Callable[[whyray.Classifier], Context]
) -> None:
    analytic = whyray.load_model("analytic")
    context = with_artefacts(analytic)
    whyray.testing.check_explainer(explainer(spec), analytic, context=context)
    assert not context.abstained, "every finding had its sentence"


def test_a_report_shows_the_sentence_its_figures_and_its_example(tmp_path: Path) -> None:
    radiograph = picture(*SEEN)
    made, _ = said(FOLLOWS)
    run = whyray.explain(Quadrants(), radiograph, findings=["nodule"], explainers=["centre"])
    shown = dataclasses.replace(run, results={"nodule": {**run.results["nodule"], "wenlex": made["nodule"]}})
    html = (shown.save(tmp_path) / "report.html").read_text()
    assert RIGHT in html and "<dt>faithfulness</dt>" in html and "<dt>gain kept</dt>" in html
    assert PLAIN.rstrip(".") in html


def test_pictures_are_drawn_a_few_at_a_time() -> None:
    sizes: list[int] = []

    class Counted(Spelled):
        def pictures(self, z: torch.Tensor) -> torch.Tensor:
            sizes.append(len(z))
            return super().pictures(z)

    reader = Reader(Counted(FOLLOWS.meant, SENTENCES, FOLLOWS.databases), Quadrants(), "clinician")  # type: ignore[arg-type]
    z = torch.rand(2 * FEW + 1, 4, generator=torch.Generator().manual_seed(0))
    pooled, called = reader.seen(z)
    assert sizes == [FEW, FEW, 1] and len(called) == len(z)
    assert torch.equal(pooled, torch.cat([reader.seen(row[None])[0] for row in z]))
