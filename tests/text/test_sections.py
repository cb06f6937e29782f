"""Sections: the MIMIC-CXR parser with its oddities, free headings, Open-i columns, and saying what is unknown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.errors import DataError
from whyray.text.sections import mimic_cxr, mimic_name, open_i, split

MIMIC = " FINAL REPORT\n INDICATION:  Cough.\n \n FINDINGS:  Clear lungs.\n \n IMPRESSION:  Normal chest.\n"


def slow_mimic(text: str) -> list[tuple[str, str]]:
    """The published rules once more, as a walk over the text."""
    heads = []
    at = 0
    while match := re.compile(r"\n ([A-Z ()/,-]+):\s").search(text, at):
        heads.append(match)
        newline = text[match.end() :].find("\n")
        at = match.end() + (newline if newline >= 0 else 0)
    if heads:
        found = [("preamble", text[: heads[0].start(1)])]
        for i, head in enumerate(heads):
            stop = heads[i + 1].start() if i + 1 < len(heads) else len(text)
            found.append((mimic_name(head[1]), text[head.end() : stop]))
    else:
        found = [("full report", text)]
    found = [(n, t) for n, t in found if n not in ("findings", "impression") or t.strip()]
    if not any(n in ("findings", "impression") for n, _ in found) and "\n \n" in found[-1][1]:
        first, *rest = found[-1][1].split("\n \n")
        found[-1:] = [(found[-1][0], first), ("last_paragraph", "\n \n".join(rest))]
    return found


def test_mimic() -> None:
    found = split(MIMIC)
    assert found.layout == "mimic-cxr" and found.note == ""
    assert [s.name for s in found.sections] == ["preamble", "indication", "findings", "impression"]
    assert found.named("findings")[0].text.strip() == "Clear lungs."


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("FINDINGS", "findings"),
        ("IMPRESSION", "impression"),
        ("CONCLUSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("IMPRESSON", "impression"),
        ("FINIDNGS", "findings"),
        ("NDICATION", "impression"),
        ("CHEST, TWO VIEWS", "findings"),
        ("PORTABLE AP CHEST", "findings"),
        ("PA AND LATERAL VIEWS", "findings"),
        ("REASON FOR EXAM", "indication"),
        ("PFI", "history"),
        ("ADDITIONAL FINDINGS", "findings"),
        ("WET READ VERSION", "wet read version"),
        ("COMPARISON STUDY", "comparison"),
    ],
)
def test_names_of_headings(heading: str, name: str) -> None:
    assert mimic_name(heading) == name


def test_a_heading_on_the_rest_of_a_heading_line_is_text() -> None:
    found = mimic_cxr("x\n FINDINGS: one\n IMPRESSION: two\n")
    assert [s.name for s in found] == ["preamble", "findings", "impression"]
    (_, first) = mimic_cxr("x\n HISTORY: a EXAM: b")
    assert first.text == "a EXAM: b"


def test_empty_findings_go_and_the_last_paragraph_comes() -> None:
    found = mimic_cxr("x\n EXAM:  chest\n \n Lungs clear.\n \n Normal.\n FINDINGS: \n")
    assert [s.name for s in found] == ["preamble", "examination", "last_paragraph"]
    assert found[-1].text == " Lungs clear.\n \n Normal."


@given(
    st.lists(
        st.sampled_from(
            ["\n FINDINGS: ", "\n EXAM: ", "\n IMPRESSION:\n", "\n \n", " ", "a b.", "\n", "X:", "\n CHEST AP: "]
        )
    )
)
def test_mimic_is_the_slow_walk_and_lies_in_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = mimic_cxr(text)
    assert [(s.name, s.text) for s in found] == slow_mimic(text)
    assert all(text[s.start : s.end] == s.text for s in found)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Findings: Clear lungs.\nImpression: Normal.", ["findings", "impression"]),
        ("CLINICAL HISTORY: cough\nFINDINGS: clear\nCONCLUSION: normal", ["history", "findings", "impression"]),
        ("Chest film.\n\nFindings: clear. Impression: normal.", ["preamble", "findings", "impression"]),
        ("**Findings**: clear\n**Opinion**: normal", ["findings", "impression"]),
        ("findings: heart normal", ["findings"]),
        ("Technique: two views\nReport: clear", ["technique", "findings"]),
    ],
)
def test_free_headings(text: str, names: list[str]) -> None:
    found = split(text)
    assert found.layout == "free" and [s.name for s in found.sections] == names
    assert all(text[s.start : s.end] == s.text for s in found.sections)


def test_what_is_not_known_is_said() -> None:
    found = split("The lungs are clear.")
    assert found.layout == "unknown" and "no heading" in found.note and found.sections[0].name == "full report"
    assert split(" \n").note == "the report is empty"
    assert "findings or impression" in split("x\n EXAM: chest\n").note
    assert "findings or impression" in split("Technique: two views").note


def test_open_i() -> None:
    found = open_i({"findings_text": "Clear.", "impression_text": " ", "indication": "cough", "source": "x"})
    assert found.layout == "open-i" and [s.name for s in found.sections] == ["indication", "findings"]
    assert open_i({"findings_text": "", "impression_text": ""}).note == "neither findings nor impression"
    with pytest.raises(DataError, match="rename them"):
        open_i({"text": "Clear."})
