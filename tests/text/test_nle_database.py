"""Databases of sentences: what is shipped holds what is promised, and any CSV file takes its place."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from whyray.errors import DataError, SettingError, UnknownName
from whyray.metrics._wording import grade, speaks_of_earlier
from whyray.models.mini import CARD
from whyray.text._lexicon import rows
from whyray.text.labeller import mentions
from whyray.text.nle_database import SHIPPED, Entry, described, drawn, mirrored, read_database

HEAD = "diagnosis,nle,audience,source\n"
UNSIDED = {"cardiomegaly", "edema"}  # of the whole heart, or of both lungs
JARGON = re.compile(
    r"opacit|effusion|pneumo|pleur|consolidat|atelecta|edema|emphysem|fibro|nodul|cardi|bilateral|basal|zone|lobe"
    r"|costophrenic|diaphragm|hil(?:um|ar)|mediastin|vascular|lucen|lesion|hemithorax|apex|apical",
    re.IGNORECASE,
)
ALARM = re.compile(
    r"cancer|tumou?r|malign|danger|deadly|fatal|urgent|emergency|serious|severe|worr|die|death|collaps|failure"
    r"|should (?:see|get|ask|call)|must|need|doctor|treat|please|you\b|your\b",
    re.IGNORECASE,
)


def by_diagnosis(name: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for entry in read_database(name):
        out.setdefault(entry.diagnosis, []).append(entry.nle)
    return out


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_covers_every_finding_of_mini(name: str) -> None:
    held = by_diagnosis(name)
    assert set(held) == set(json.loads(CARD.read_text())["findings"])
    assert min(map(len, held.values())) >= 25
    texts = [text for group in held.values() for text in group]
    assert len(set(texts)) == len(texts)
    assert {(e.audience, e.source) for e in read_database(name)} == {(name, "whyray authors")}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_sentence_is_one_sentence_of_one_film(name: str) -> None:
    for entry in read_database(name):
        assert re.fullmatch(r"[A-Z](?:[^.]|\.\d)+\.", entry.nle), entry.nle
        assert entry.nle.isascii() and 6 <= len(entry.nle.split()) <= 24, entry.nle
        assert not speaks_of_earlier(entry.nle), entry.nle


@pytest.mark.parametrize("name", SHIPPED)
def test_left_and_right_are_balanced(name: str) -> None:
    for diagnosis, texts in by_diagnosis(name).items():
        left, right = (sum(bool(re.search(rf"\b{side}\b", t, re.I)) for t in texts) for side in ("left", "right"))
        assert abs(left - right) <= 2, (diagnosis, left, right)
        assert diagnosis in UNSIDED or min(left, right) >= 5, (diagnosis, left, right)


def test_the_labeller_reads_the_diagnosis_of_each_clinician_sentence() -> None:
    for entry in read_database("clinician"):
        states = {m.state for m in mentions(entry.nle) if m.finding == entry.diagnosis}
        assert states & {"positive", "uncertain"}, entry.nle


def test_lay_sentences_are_plain_and_calm() -> None:
    for diagnosis, texts in by_diagnosis("lay").items():
        assert grade(" ".join(texts)) <= 8 and max(map(grade, texts)) <= 9.5, diagnosis
        for text in texts:
            assert not JARGON.search(text) and not ALARM.search(text), text
    assert grade(" ".join(e.nle for e in read_database("clinician"))) > 8  # the measure tells the two apart


def test_any_file_is_a_database(tmp_path: Path) -> None:
    path = tmp_path / "children.csv"
    path.write_text(
        "\ufeffDiagnosis,nle,audience,source,extra\n"
        'Pulmonary oedema,"Wet lungs,  it seems.",children,ours,1\n\nEffusion,Water.,children,ours,\n'
    )
    assert (
        read_database(path)
        == read_database(str(path))
        == (
            Entry("edema", "Wet lungs, it seems.", "children", "ours"),
            Entry("pleural_effusion", "Water.", "children", "ours"),
        )
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("diagnosis,nle\n", "no column 'audience'"),
        ("", "no column 'diagnosis'"),
        (HEAD + "edema,Wet.,lay,ours\nedema,,lay,ours\n", "line 3, column 'nle': it is empty"),
        (HEAD + "edemma,Wet.,lay,ours\n", "line 2, column 'diagnosis': 'edemma' came; did you mean edema"),
        (HEAD + "edema,Wet,lay\n", "line 2: 4 cells were wanted"),
        (HEAD + f"edema,{'wet ' * 300},lay,ours\n", "line 2, column 'nle': 1199 characters"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        read_database(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean clinician"):
        read_database("clinican")
    with pytest.raises(DataError, match=r"missing\.csv is no file"):
        read_database(tmp_path / "missing.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="export it again"):
        read_database(tmp_path / "picture.csv")


def test_a_draw_is_seeded_nested_and_apart_for_each_diagnosis() -> None:
    entries = read_database("lay") + read_database("clinician")
    five, twenty = drawn(entries, 5, 3), drawn(entries, 20, 3)
    assert set(Counter((e.diagnosis, e.audience) for e in five).values()) == {5}
    assert set(five) < set(twenty) and drawn(entries, 5, 3) == five != drawn(entries, 5, 4)
    assert drawn(entries, None, 3) == entries == drawn(entries, 100, 3)
    masses = tuple(e for e in entries if e.diagnosis == "mass")
    assert drawn(masses, 5, 3) == tuple(e for e in five if e.diagnosis == "mass")
    with pytest.raises(SettingError, match="0 sentences a diagnosis came"):
        drawn(entries, 0, 3)


def test_a_record_tells_databases_apart() -> None:
    entries = drawn(read_database("lay"), 5, 0)
    said = described(entries)
    assert said["diagnoses"]["mass"] == 5 and said["audiences"] == {"lay": 75}
    assert said["sha256"] != described(entries[1:])["sha256"] == described(tuple(entries[1:]))["sha256"]


@pytest.mark.parametrize("row", rows("mirror"), ids=lambda row: row["words"])
def test_mirror_rules(row: dict[str, str]) -> None:
    assert re.search(rf"\b{row['words']}\b", row["example"], re.IGNORECASE)
    assert mirrored(row["example"]) == row["mirrored"]


def test_a_mirrored_sentence_has_the_other_side_and_comes_back() -> None:
    for entry in read_database("clinician") + read_database("lay"):
        other = mirrored(entry.nle)
        assert mirrored(other) == entry.nle
        sides = [re.findall(r"\b(?:left|right)\b", text.lower()) for text in (entry.nle, other)]
        assert len(sides[0]) == len(sides[1])
        assert other == entry.nle or all(a != b for a, b in zip(*sides, strict=True)), entry.nle
    assert mirrored("RIGHT LLL, upright, leftover.") == "LEFT RLL, upright, leftover."
