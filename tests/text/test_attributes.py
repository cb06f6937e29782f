"""Side, zone and severity: every rule holds in its own sentence, and both audiences' sentences are read as meant."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from whyray.datasets._phantom_corpus import drawn_facts
from whyray.datasets._phantom_factors import PREVALENCE
from whyray.datasets._phantom_nle import SLIGHT, STRONG, Audience, explaining
from whyray.text._lexicon import Lexicon, Rule, lowered, rules
from whyray.text.attributes import HEIGHTS, SEVERITIES, SIDES, ZONES, severity_of, side_of, zones_of
from whyray.text.nle_database import SHIPPED, mirrored, read_database

OTHER = {"left": "right", "right": "left", "both": "both", "": ""}
UNGRADED = {"nodule", "mass", "support_devices"}  # where small and large are the kind of thing, not how much of it


def zones_in(text: str) -> str:
    return " ".join(zones_of(text))


@pytest.mark.parametrize("rule", rules("attributes"), ids=lambda rule: rule.name)
def test_each_rule_holds_in_its_sentence(rule: Rule) -> None:
    example, value = rule.fields["example"], rule.fields["value"]
    assert list(Lexicon([rule]).find(lowered(example))), "the phrase is not in its example"
    read = {"side": side_of, "severity": severity_of, "zone": zones_in}[rule.fields["attribute"]]
    assert read(example) == ("" if value == "-" else value)


def test_every_rule_is_said_once_and_has_a_known_value() -> None:
    table = [(r.fields["attribute"], r.phrase) for r in rules("attributes")]
    assert len(set(table)) == len(table)
    heights = {" ".join(z for z in ZONES if z in some) for some in itertools.product(["", *ZONES], repeat=3)} - {""}
    values = {"side": {*SIDES, "-"}, "severity": {*SEVERITIES, "-"}, "zone": {*heights, "-"}}
    assert set(HEIGHTS.values()) <= heights
    for rule in rules("attributes"):
        assert rule.fields["value"] in values[rule.fields["attribute"]] and rule.fields["strength"] in (
            "",
            "most",
            "weak",
        )


@pytest.mark.parametrize(
    ("text", "side", "severity"),
    [
        ("Extensive opacity of the left lung suggests pneumonia.", "left", "marked"),
        ("A trace of fluid lies around the right lung.", "right", "slight"),
        ("Small left and large right effusions.", "both", ""),
        ("Mediastinal shift to the right with a dark left hemithorax favors a tension pneumothorax.", "left", "marked"),
        ("Tracheal deviation to the right favors fibrosis.", "right", ""),
        ("The haze is more on the left than on the right, in both lungs.", "left", ""),
        ("There is cardiomegaly.", "", ""),
        ("The left lower zone is upright, copyright 2.", "left", ""),
        ("There is too little air in a part of the right lung.", "right", ""),
        ("There is far too little air in the right lung.", "right", "marked"),
        ("A small round shadow in the left lung fits with a small spot in the lung.", "left", ""),
        ("Opacity in the right base with a small effusion favors pneumonia.", "right", ""),
        ("It is compatible with small bilateral effusions.", "both", "slight"),
        ("", "", ""),
    ],
)
def test_sentences_are_read_as_they_are_meant(text: str, side: str, severity: str) -> None:
    assert (side_of(text), severity_of(text)) == (side, severity)


@pytest.mark.parametrize(
    ("text", "zones"),
    [
        ("A wedge-shaped opacity at the right base is due to atelectasis.", "lower"),
        ("A lucent rim at the left apex, and the cardiac apex is lifted.", "upper"),
        ("Rounding of the cardiac apex suggests cardiomegaly.", ""),
        ("Consolidation of the RUL.", "upper middle"),
        ("A rounded density in the left lower lobe.", "middle lower"),
        ("Opacity of the middle lobe.", "middle lower"),
        ("Small opacities at the right apex and the left base.", "upper lower"),
        ("Whitening of the right mid and lower zones.", "middle lower"),
        ("Perihilar opacity.", ""),
        ("A thin white tube over the middle of the chest.", ""),
        ("A faint line in the middle of the left lung.", "middle"),
        ("A blurred patch low in the right lung.", "lower"),
        ("The floor of the heart is low and the lungs look high.", ""),
        ("", ""),
    ],
)
def test_zones_are_read_as_they_are_meant(text: str, zones: str) -> None:
    assert zones_in(text) == zones


@pytest.mark.parametrize("name", SHIPPED)
def test_a_mirrored_sentence_has_the_other_side(name: str) -> None:
    for entry in read_database(name):
        other = mirrored(entry.nle)
        assert severity_of(other) == severity_of(entry.nle) and zones_of(other) == zones_of(entry.nle)
        if other != entry.nle:
            assert side_of(other) == OTHER[side_of(entry.nle)], entry.nle


@pytest.mark.parametrize("audience", SHIPPED)
def test_what_phantoms_say_is_what_was_planted(audience: Audience) -> None:
    rng = np.random.default_rng(0)
    for i in range(400):
        finding = sorted(PREVALENCE)[i % len(PREVALENCE)]
        facts = drawn_facts(finding, rng)
        text = explaining(facts, test=i % 2 == 0, rng=rng, audience=audience, graded=True)[0].text
        planted = facts["sites"][finding]["side"]
        assert side_of(text) in (planted, "") or finding == "edema", text
        if finding in ("consolidation", "lung_opacity", "nodule", "mass"):
            assert zones_in(text) == facts["sites"][finding]["place"].replace("mid", "middle"), text
        if finding in ("pleural_effusion", "pneumothorax", "consolidation", "lung_opacity", "nodule", "mass"):
            assert side_of(text) == planted, text
        severity = facts["severities"][finding]
        truth = "slight" if severity < SLIGHT else "marked" if severity > STRONG else ""
        if finding not in UNGRADED:
            assert severity_of(text) in (truth, ""), text


@pytest.mark.parametrize("name", SHIPPED)
def test_the_databases_name_sides_and_severities(name: str) -> None:
    entries = read_database(name)
    for value, read in [*((s, side_of) for s in SIDES), *((s, severity_of) for s in SEVERITIES)]:
        assert sum(read(e.nle) == value for e in entries) >= 60, value
