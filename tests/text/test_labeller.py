"""Labels of sentences and reports: states, sides, places, putting together, and their agreement with human codes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.text.labeller import CHEXPERT, Labeller, RuleLabeller, State, mentions

REPORTS: list[tuple[str, dict[str, State]]] = [
    (
        "The heart is enlarged. No effusion.",
        {"cardiomegaly": "positive", "pleural_effusion": "negative", "no_finding": "absent"},
    ),
    (
        "Heart size is normal. Lungs are clear.",
        {"cardiomegaly": "negative", "lung_opacity": "negative", "no_finding": "positive"},
    ),
    ("Possible effusion. Definite effusion on the left.", {"pleural_effusion": "positive"}),
    ("No effusion. There may be a small effusion.", {"pleural_effusion": "uncertain", "no_finding": "absent"}),
    ("A pacemaker is in place. Lungs are clear.", {"support_devices": "positive", "no_finding": "positive"}),
    ("History of pneumonia. Lungs are clear.", {"pneumonia": "absent", "no_finding": "positive"}),
    ("There is a 2 cm nodule at the apex.", {"lung_lesion": "positive"}),
    ("Pericardial effusion is suspected.", {"pleural_effusion": "absent"}),
    ("A hydropneumothorax on the right.", {"pleural_effusion": "positive", "pneumothorax": "positive"}),
    ("Soft tissue edema of the arm.", {"edema": "absent"}),
    ("Nodule rather than mass.", {"lung_lesion": "positive"}),
    ("Stable cardiomegaly without edema.", {"cardiomegaly": "positive", "edema": "negative"}),
    ("The lungs are not clear.", {"lung_opacity": "positive"}),
    ("This heart is not enlarged at all.", {"cardiomegaly": "negative"}),
    ("His mediastinal contours look normal.", {"enlarged_cardiomediastinum": "negative"}),
    ("The mediastinum is widened.", {"enlarged_cardiomediastinum": "positive"}),
    ("The costophrenic angles are sharp.", {"pleural_effusion": "negative"}),
    ("The left costophrenic angle is not blunted.", {"pleural_effusion": "negative"}),
    ("Wedge deformity of T8.", {"fracture": "positive"}),
    ("A wedge-shaped opacity.", {"fracture": "absent", "lung_opacity": "positive"}),
    ("Rib fracture. No other fractures.", {"fracture": "positive"}),
    ("Healed rib fractures, unchanged.", {"fracture": "positive"}),
    ("The chest tube has been removed. No pneumothorax.", {"support_devices": "negative", "pneumothorax": "negative"}),
    ("Status post sternotomy.", {"support_devices": "positive", "no_finding": "positive"}),
    ("Pleural plaques.", {"pleural_other": "positive", "no_finding": "absent"}),
    ("Heart size at upper limits for her age.", {"cardiomegaly": "uncertain"}),
    ("Cystic fibrosis with opacities.", {"lung_opacity": "positive"}),
    ("No acute cardiopulmonary abnormality.", {"no_finding": "positive"}),
    ("", {f: "absent" for f in CHEXPERT if f != "no_finding"}),
]
PLACES = [
    ("Left lower lobe consolidation.", "consolidation", "left", ("lower lobe",)),
    ("Consolidation of the right upper lobe.", "consolidation", "right", ("upper lobe",)),
    ("Bibasilar atelectasis and a left effusion.", "atelectasis", "bilateral", ("base",)),
    ("Bibasilar atelectasis and a left effusion.", "pleural_effusion", "left", ()),
    ("Right pneumothorax; left effusion.", "pneumothorax", "right", ()),
    ("Right pneumothorax; left effusion.", "pleural_effusion", "left", ()),
    ("Opacity in the lingula.", "lung_opacity", "left", ("lingula",)),
    ("Effusions on the left and right.", "pleural_effusion", "bilateral", ()),
    ("Bilateral perihilar opacities.", "lung_opacity", "bilateral", ("hilum",)),
    ("RLL pneumonia.", "pneumonia", "right", ("lower lobe",)),
    ("Retrocardiac opacity.", "lung_opacity", "", ("retrocardiac",)),
    ("Edema.", "edema", "", ()),
]


@pytest.mark.parametrize(("text", "wanted"), REPORTS, ids=[r[0] for r in REPORTS])
def test_states(text: str, wanted: dict[str, State]) -> None:
    found = RuleLabeller().label(text)
    assert {f: found[f] for f in wanted} == wanted
    assert tuple(found) == CHEXPERT


@pytest.mark.parametrize(("text", "finding", "side", "zones"), PLACES, ids=[f"{p[1]}: {p[0]}" for p in PLACES])
def test_side_and_place(text: str, finding: str, side: str, zones: tuple[str, ...]) -> None:
    (found,) = (m for m in mentions(text) if m.finding == finding)
    assert (found.side, found.zones) == (side, zones)


def test_sections_that_are_no_reading_are_left_out() -> None:
    text = "x\n INDICATION:  Pneumonia?\n \n FINDINGS:  Left effusion.\n \n IMPRESSION:  Effusion.\n"
    found = RuleLabeller().report(text)
    assert found.states["pneumonia"] == "absent" and found.states["pleural_effusion"] == "positive"
    assert [text[s.start : s.end] for s in found.sentences] == ["Left effusion.", "Effusion."]
    assert [text[m.start : m.end] for ms in found.mentions for m in ms] == ["effusion", "Effusion"]


@pytest.mark.parametrize(
    ("text", "finding", "state"),
    [
        ("Pneumothorax: none.", "pneumothorax", "negative"),
        ("Effusion: absent. Pneumonia: unlikely.", "pleural_effusion", "negative"),
        ("Cardiomegaly? No. Edema? Yes.", "cardiomegaly", "negative"),
        ("Cardiomegaly? No. Edema? Yes.", "edema", "positive"),
        ("Pneumothorax: No pneumothorax is seen.", "pneumothorax", "negative"),
        ("Effusion: costophrenic angles are clear.", "pleural_effusion", "negative"),
        ("Effusion: possible small effusion.", "pleural_effusion", "uncertain"),
        ("Effusion: no right effusion; small left effusion.", "pleural_effusion", "positive"),
        ("Effusion, pneumothorax: none.", "pleural_effusion", "negative"),
        ("Atelectasis: no effusion.", "atelectasis", "positive"),
        ("Lungs: Pneumothorax on the right.", "pneumothorax", "positive"),
    ],
)
def test_headings_with_their_answers(text: str, finding: str, state: str) -> None:
    assert RuleLabeller().label(text)[finding] == state


def test_finer_vocabulary() -> None:
    labeller: Labeller = RuleLabeller(("nodule", "mass", "lung_lesion"))
    assert labeller.label("A nodule, no mass.") == {"nodule": "positive", "mass": "negative", "lung_lesion": "positive"}


@given(
    st.lists(
        st.sampled_from(
            ["No ", "effusion", " and ", "possible ", "opacity. ", "left ", "é", "İ", "\n", "heart enlarged", ", "]
        )
    )
)
def test_mentions_lie_in_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = RuleLabeller().read(text)
    for sentence, named in zip(found.sentences, found.mentions):
        for m in named:
            assert sentence.start <= m.start < m.end <= sentence.end
            assert text[m.start : m.end].lower().split()[0] in ("effusion", "opacity", "heart")


# measured on all rows, rounded down: recall counts uncertain as found, precision counts what is called positive
FLOORS = {
    "Cardiomegaly": ("cardiomegaly", 0.92, 0.93),
    "Atelectasis": ("atelectasis", 0.90, 0.97),
    "Effusion": ("pleural_effusion", 0.93, 0.93),
    "Hernia": ("hernia", 0.90, 0.95),
    "Pneumothorax": ("pneumothorax", 0.95, 0.85),
    "Infiltration": ("infiltration", 0.90, 0.90),
}


def test_agrees_with_the_human_codes(dev_data: Path) -> None:
    with open(dev_data / "dev" / "reports.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["findings_text"] or r["impression_text"]]
    labeller = RuleLabeller(tuple(finding for finding, _, _ in FLOORS.values()))
    said = [labeller.label(f"{r['findings_text']}\n\n{r['impression_text']}") for r in rows]
    for label, (finding, precision, recall) in FLOORS.items():
        truth = [label in r["findings_nih"].split("|") for r in rows]
        called = [s[finding] == "positive" for s in said]
        found = [s[finding] in ("positive", "uncertain") for s in said]
        assert sum(c and t for c, t in zip(called, truth)) >= precision * sum(called), label
        assert sum(f and t for f, t in zip(found, truth)) >= recall * sum(truth), label
