"""Learned sentences: for which audience, on which findings, and the notes that go with them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Context, cells_to_pixels
from whyray.errors import SettingError, UnmetNeed
from whyray.explainers._cited import cited, doubts, words
from whyray.explainers.ratchet import Ratchet
from whyray.metrics._wording import grade
from whyray.networks.decoding import Written
from whyray.registry import explainer

SAID = {"clinician": "Right basilar opacity may be pneumonia.", "lay": "A hazy patch low in the right lung may be it."}
PICTURE = whyray.testing.sample_radiographs(1)[0]
MODEL = whyray.load_model("mini")


class Speaker:
    """A generator that says one sentence, whatever it sees."""

    def __init__(self, text: str, ended: bool = True) -> None:
        self.text, self.ended, self.diagnoses = text, ended, ("pneumonia", "nodule")

    def prediction(self, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        return logits

    def narrate(self, *asked: Any) -> tuple[str, Written]:
        return self.text, Written((1, 2), -0.5, self.ended)


def on_the_right(finding: str) -> Any:
    """A map of which all evidence lies on the patient's right, the picture's left."""
    (made,) = explainer("centre").explain(MODEL, [PICTURE], [finding], Context())
    plain: Any = made[finding]
    return dataclasses.replace(
        plain, values=np.tile([[1.0, 0.0]], (2, 1)), to_source=cells_to_pixels((2, 2), PICTURE.shape)
    )


def said(text: str, spec: str, finding: str = "pneumonia", seen: Any = None, **speaker: Any) -> tuple[Any, str]:
    """(statement or None, why there is none)."""
    kinds: list[str] = []
    context = Context(
        earlier={(PICTURE.sha256, finding, "gradcam"): seen or SimpleNamespace()},
        artefact=lambda kind, _fingerprint: kinds.append(kind) or Speaker(text, **speaker),
    )
    (made,) = explainer(spec).explain(MODEL, [PICTURE], [finding], context)
    assert kinds == ["sentences-ratchet-lay" if "audience=lay" in spec else "sentences-ratchet"]
    return made.get(finding), context.abstained.get((PICTURE.sha256, finding), "")


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_a_sentence_is_cited_and_noted_in_the_words_of_its_audience(audience: str) -> None:
    statement, _ = said(SAID[audience], f"ratchet:audience={audience},uncalled=true")
    assert statement.audience == audience and statement.text == SAID[audience]
    assert "probability_lung_opacity" in statement.checks
    assert statement.checks["reading_grade"] == round(grade(SAID[audience]), 1)
    assert statement.notes[-1] == words()[audience]["learned"]


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_a_side_is_held_against_the_map(audience: str) -> None:
    spec, seen = f"ratchet:audience={audience},uncalled=true", on_the_right("pneumonia")
    right, _ = said("A patch in the right lung.", spec, seen=seen)
    left, _ = said("A patch in the left lung.", spec, seen=seen)
    none, _ = said("A patch in the lung.", spec, seen=seen)
    assert right.checks["evidence_on_side"] > 0.7 > 0.3 > left.checks["evidence_on_side"]
    assert "evidence_on_side" not in none.checks
    rely = [any("not rely on the side" in note.lower() for note in s.notes) for s in (right, left, none)]
    assert rely == [False, True, False]


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_a_zone_is_held_against_the_map(audience: str) -> None:
    spec, seen = f"ratchet:audience={audience},uncalled=true", on_the_right("pneumonia")
    low = dataclasses.replace(seen, values=np.array([[0.0, 0.0], [1.0, 1.0]]))
    top, _ = said("A patch in the upper part of the right lung.", spec, seen=low)
    bottom, _ = said("A patch low in the right lung.", spec, seen=low)
    none, _ = said("A patch in the right lung.", spec, seen=low)
    assert bottom.checks["evidence_in_zone"] > 0.5 > 0.1 > top.checks["evidence_in_zone"]
    assert "evidence_in_zone" not in none.checks
    rely = [any("not rely on the " in n and "side" not in n for n in s.notes) for s in (top, bottom, none)]
    assert rely == [True, False, False]


def test_what_the_classifier_does_not_call_is_not_spoken_of() -> None:
    called = {p.finding: p.positive for p in whyray.explain(MODEL, PICTURE, explainers=["centre"]).predictions}
    for finding in ("pneumonia", "nodule"):
        silent, why = said("A text.", "ratchet", finding)
        spoken, _ = said("A text.", "ratchet:uncalled=true", finding)
        assert (silent is not None) == called[finding] == ("does not call" not in why)
        assert (words()["clinician"]["uncalled"] in spoken.notes) == (not called[finding])
    assert not all(called[f] for f in ("pneumonia", "nodule")), "the case is silent on one of them"


def test_no_sentence_has_its_reason() -> None:
    assert "learned no sentence on edema" in said("A text.", "ratchet:uncalled=true", "edema")[1]
    assert "before the first word" in said("", "ratchet:uncalled=true")[1]
    cut, _ = said("A text", "ratchet:uncalled=true,audience=lay", ended=False)
    assert words()["lay"]["cut"] in cut.notes
    with pytest.raises(SettingError, match="clinician or lay"):
        Ratchet(audience="friend")  # type: ignore[arg-type]
    with pytest.raises(UnmetNeed, match="sentences-tienet-lay: train one"):
        explainer("tienet:audience=lay").explain(MODEL, [PICTURE], ["nodule"], Context())


def test_the_evidence_of_a_sentence_is_read_in_its_own_words() -> None:
    text = "A wide shadow of the heart with a haze around it is due to fluid in the lungs."
    assert cited(text, "edema", "lay") == ("lung_opacity", "enlarged_cardiomediastinum")
    assert cited(text, "edema") == () == cited(SAID["clinician"], "pneumonia", "lay")
    assert cited("A solid white area points to an infection.", "pneumonia", "lay") == ("consolidation",)


def test_doubts_are_plain_for_lay_readers() -> None:
    evidence, known = ("lung_opacity", "enlarged_cardiomediastinum"), {"lung_opacity": 0.123}
    assert doubts(evidence, {"lung_opacity": 0.5, "enlarged_cardiomediastinum": 0.9}, "lay") == []
    clinician, lay = doubts(evidence, known), doubts(evidence, known, "lay")
    assert "lung opacity, to which the classifier gives 12 %" in clinician[0] and "not predict" in clinician[1]
    assert "a hazy patch in the lung" in lay[0] and "about 12 in 100" in lay[0]
    assert "a wide space around the heart" in lay[1]
    assert np.mean([grade(text) for text in (*lay, words()["lay"]["learned"])]) <= 8


def test_both_tables_have_the_same_words() -> None:
    assert words()["lay"].keys() == words()["clinician"].keys()
