"""Explanations: which sentences explain what by what, and that the trace names the rule."""

from __future__ import annotations

import pytest

from whyray.text._lexicon import Lexicon, lowered, rules
from whyray.text.nle import EVIDENCE, GRAPH, LABELS, OTHER_EVIDENCE, explain

CASES = [
    ("Left basal opacity may represent pneumonia.", {"pneumonia"}, {"lung_opacity"}),
    ("Opacity could be due to atelectasis or pneumonia.", {"atelectasis", "pneumonia"}, {"lung_opacity"}),
    ("Consolidation concerning for pneumonia.", {"pneumonia"}, {"consolidation"}),
    ("Blunting of the left angle suggests a small effusion.", {"pleural_effusion"}, set()),
    ("Indistinct vessels suggest mild edema.", {"edema"}, set()),
    ("Perihilar opacities, likely edema.", {"edema"}, {"lung_opacity"}),
    ("Diffuse opacities; edema cannot be excluded.", {"edema"}, {"lung_opacity"}),
    ("A widened mediastinum suggests edema.", {"edema"}, {"enlarged_cardiomediastinum"}),
    ("A nodule could represent pneumonia.", {"pneumonia"}, {"lung_lesion"}),
    ("There is pneumonia.", set(), set()),
    ("Left basal opacity.", set(), set()),
    ("No opacity to suggest pneumonia.", set(), set()),
    ("This may represent pneumonia.", set(), set()),
    ("Findings are consistent with edema.", set(), set()),
    ("This may be related to edema.", set(), set()),
    ("Kerley lines consistent with edema.", {"edema"}, set()),
    ("This may represent atelectasis or infiltrate.", set(), set()),
    ("Opacity may represent ___ or pneumonia.", set(), set()),
    ("XXXX opacity may represent pneumonia.", set(), set()),
    ("Recommend CT: opacity may represent pneumonia.", set(), set()),
    ("Opacity may represent a mass.", set(), set()),
    ("Unchanged opacity, likely unchanged atelectasis.", set(), set()),
    ("The lungs are clear, likely normal.", set(), set()),
    ("Opacity without pneumonia is likely.", set(), set()),
    ("Devices are in place, likely unchanged.", set(), set()),
]


@pytest.mark.parametrize(("sentence", "diagnoses", "evidence"), CASES, ids=[c[0] for c in CASES])
def test_sentence(sentence: str, diagnoses: set[str], evidence: set[str]) -> None:
    found = explain(sentence)
    assert set(found.diagnoses) == diagnoses and set(found.evidence) == evidence, found.trace
    assert found.explains == bool(diagnoses) and found.trace
    assert [sum(row) for row in found.img_labels] == [1] * 10


@pytest.mark.parametrize("rule", rules("cues"), ids=lambda r: r.name)
def test_cue(rule) -> None:  # type: ignore[no-untyped-def]
    found = explain(rule.fields["example"])
    assert list(Lexicon([rule]).find(lowered(rule.fields["example"])))
    assert found.explains, found.trace


@pytest.mark.parametrize("rule", rules("exclusions"), ids=lambda r: r.name)
def test_exclusion(rule) -> None:  # type: ignore[no-untyped-def]
    found = explain(rule.fields["example"])
    assert not found.explains and found.trace == (f"excluded: {rule.name}",)


def test_the_graph_is_the_published_one() -> None:
    assert len(LABELS) == 10 and set(EVIDENCE) <= set(LABELS) and set(GRAPH) <= set(LABELS)
    assert len(OTHER_EVIDENCE) == 4 and set(GRAPH) > OTHER_EVIDENCE
    assert sum(len(evidence) for evidence in GRAPH.values()) == 11


def test_labels_follow_the_states() -> None:
    found = explain("Left opacity may represent pneumonia, without effusion.")
    by_label = dict(zip(LABELS, found.img_labels))
    assert by_label["pneumonia"] == (0, 1, 0) and by_label["lung_opacity"] == (0, 0, 1)
    assert by_label["pleural_effusion"] == (1, 0, 0) and by_label["edema"] == (1, 0, 0)
    assert found.diagnosis_label[LABELS.index("pneumonia")] == 1 and sum(found.diagnosis_label) == 1
