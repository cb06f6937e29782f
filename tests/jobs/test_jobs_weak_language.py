"""Sentences learned without pairs, measured in a world whose answers are known: who tells the truth must stand out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from weak_world import FINDINGS, Speaker, Spots, examples, halves, sentence

from whyray.cli import main
from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError, SettingError, UnknownName
from whyray.jobs import _weak_regenerated, weak_language
from whyray.jobs._weak_plan import WeakPlan
from whyray.jobs._weak_planted import EVIDENCE, PLANTED, phantom_references, reference_rows
from whyray.jobs._weak_regenerated import LABEL, LATENT, SAME_LABEL, SHUFFLED, elsewhere
from whyray.jobs._weak_rows import EXPLAINED
from whyray.jobs._weak_said import DRAWN, FIXED, GENERATED, Rows, Said
from whyray.jobs._weak_table import ALL, Table
from whyray.jobs.store import Store
from whyray.jobs.weak_language import WeakLanguage, evaluate_weak_language, weak_language_into
from whyray.types import Score

PLAN = WeakPlan(voices=(), replicates=100)
PICTURES = 48


@pytest.fixture(scope="module")
def data() -> Spots:
    return Spots(PICTURES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def honest(data: Spots, store: Store) -> WeakLanguage:
    return evaluate_weak_language(halves(), data, Speaker(), PLAN, store)


def row(result: WeakLanguage, metric: str, writer: str = GENERATED, slice_: str = EXPLAINED) -> Score:
    (found,) = (s for s in result.scores if (s.metric, s.explainer, s.slice) == (metric, writer, slice_))
    return found


def test_a_speaker_that_says_what_it_sees_meets_every_demand(honest: WeakLanguage) -> None:
    assert honest.checks and [c.demand for c in honest.checks if not c.holds] == []
    assert row(honest, "feature_cosine").value > 0.98 and row(honest, "label_agreement").value == 1
    assert row(honest, "retrieval_at_10").value > 0.9 and row(honest, "gain_kept").value == pytest.approx(1)
    assert row(honest, "simulatability", slice_=ALL).value > 0.95


def test_controls_stand_beside_and_below(honest: WeakLanguage) -> None:
    for control in (SHUFFLED, SAME_LABEL, LABEL):
        assert row(honest, "feature_cosine_centred", control).high < row(honest, "feature_cosine_centred").low, control
    assert row(honest, "feature_cosine", LATENT).value == pytest.approx(row(honest, "feature_cosine").value)
    assert row(honest, "simulatability", FIXED, ALL).value < row(honest, "simulatability", slice_=ALL).low
    assert row(honest, "verbatim", DRAWN, ALL).value == 1 == row(honest, "verbatim", slice_=ALL).value


def test_what_is_said_of_side_and_size_is_right_where_it_is(honest: WeakLanguage) -> None:
    for slice_ in (PLANTED, EVIDENCE):
        right = row(honest, "side_right", slice_=slice_)
        assert right.value == 1 and 0.3 < row(honest, "side_chance", slice_=slice_).value < 0.7
        assert right.note == "p 0.0005, dealt out within a finding"
        assert row(honest, "pairs_right_severity", slice_=slice_).value == 1
    assert row(honest, "side_right", DRAWN, PLANTED).low < 0.6, "drawn at random"
    assert row(honest, "differ_other_side", slice_=PLANTED).value == 1
    assert row(honest, "differ_other_side", FIXED, PLANTED).value == 0
    assert row(honest, "name_other_side", slice_=PLANTED).value == 1
    assert row(honest, "name_same_side", slice_=PLANTED).value == 0


def test_words_that_do_not_know_the_picture_are_found_out(data: Spots, store: Store) -> None:
    mute = evaluate_weak_language(halves(), data, Speaker(mute=True), PLAN, store)
    assert row(mute, "feature_cosine", LATENT).value > 0.98, "the latents do know it"
    assert row(mute, "gain_kept_centred").value < 0.5
    failed = " ".join(c.demand for c in mute.checks if not c.holds)
    assert "the words keep at least 50%" in failed and f"nearer to the picture than {SAME_LABEL}" in failed
    assert "the side that is named is right" in failed and "differ in severity get different" in failed


def test_a_side_said_whatever_the_picture_is_at_chance(data: Spots, store: Store) -> None:
    blind = evaluate_weak_language(halves(), data, Speaker(blind=True), PLAN, store)
    right, chance = (row(blind, f"side_{x}", slice_=PLANTED).value for x in ("right", "chance"))
    assert right == pytest.approx(chance)
    assert not any(c.holds for c in blind.checks if "side" in c.demand)
    assert all(c.holds for c in blind.checks if "of two sentences that differ in severity" in c.demand)


def test_every_row_has_n_an_interval_and_a_signature(honest: WeakLanguage) -> None:
    rows = honest.rows()
    keys = {(r["metric"], r["explainer"], r["slice"], r.get("baseline")) for r in rows}
    assert len(keys) == len(rows)
    for each in rows:
        assert each["signature"], each
        if np.isfinite(each["value"]) and np.isfinite(each["low"]):
            assert each["n"] > 0 and each["low"] - 1e-9 <= each["value"] <= each["high"] + 1e-9, each
    assert honest.facts["pictures"] == PICTURES > honest.facts["pictures with a sentence"]


def test_nothing_is_made_twice_and_another_speaker_reads_no_picture(
    data: Spots, store: Store, honest: WeakLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = data.reads
    monkeypatch.setattr(_weak_regenerated, "_passed", lambda *_: pytest.fail("made twice"))
    again = evaluate_weak_language(halves(), data, Speaker(), PLAN, store)
    np.testing.assert_equal([(s.metric, s.value, s.low) for s in again.scores],
                            [(s.metric, s.value, s.low) for s in honest.scores])  # fmt: skip
    assert data.reads == read


def test_a_picture_that_cannot_be_read_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    result = evaluate_weak_language(halves(), Spots(24, broken=(3,)), Speaker(), PLAN, Store(tmp_path))
    assert result.facts["pictures"] == 23
    assert len(result.failures) == 1 and "the file ends early" in result.failures[0]
    with pytest.raises(DataError, match="no picture of spots-2 could be read"):
        evaluate_weak_language(halves(), Spots(2, broken=(0, 1)), Speaker(), PLAN, Store(tmp_path))


def test_what_a_data_set_does_not_know_is_skipped_by_name(tmp_path: Path) -> None:
    result = evaluate_weak_language(halves(), Spots(24, told=False), Speaker(), PLAN, Store(tmp_path))
    assert {"planted", "references"} <= set(result.skipped)
    assert not [s for s in result.scores if s.slice == PLANTED] and [s for s in result.scores if s.slice == EVIDENCE]


def test_what_cannot_be_asked_is_refused(data: Spots, store: Store) -> None:
    with pytest.raises(UnknownName, match="clinician"):
        evaluate_weak_language(halves(), data, Speaker(), replace(PLAN, audience="lay"), store)
    with pytest.raises(DataError, match="no finding of these pictures that the generator knows"):
        evaluate_weak_language(halves(), data, Speaker(diagnoses=("mass",)), PLAN, store)
    with pytest.raises(SettingError, match="random gives no sentences"):
        evaluate_weak_language(halves(), data, Speaker(), replace(PLAN, voices=("random",)), store)


def test_a_folder_holds_rows_demands_and_a_page(
    tmp_path: Path, data: Spots, store: Store, honest: WeakLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whyray.models._wenlex.weak_for", lambda _classifier, _folder: Speaker())
    monkeypatch.setattr(weak_language, "Store", lambda _folder: store)
    weak_language_into(tmp_path / "out", halves(), data, PLAN)
    held = json.loads((tmp_path / "out/scores.json").read_text())
    assert {"demand", "holds", "score"} == set(held["checks"][0]) and len(held["rows"]) == len(honest.rows())
    page = (tmp_path / "out/report.html").read_text()
    assert "What must hold" in page and sentence(FINDINGS[0], 1, 1) in page and "label alone" in page


def test_nothing_stays_in_its_place() -> None:
    for n in (2, 3, 17):
        order = elsewhere(n, np.random.default_rng(n))
        assert sorted(order) == list(range(n)) and not (order == np.arange(n)).any()


def test_the_mean_of_a_picture_s_sentences_leaves_missing_ones_out() -> None:
    rows = Rows(np.array([0, 0, 2]), ("edema", "mass", "edema"), 4)
    z = np.array([[1.0, 2], [np.nan, np.nan], [3, 4]])
    np.testing.assert_equal(rows.pooled(z), [[1, 2], [np.nan] * 2, [3, 4], [np.nan] * 2])


def test_a_database_is_held_out_as_far_as_it_was_not_learned(tmp_path: Path, data: Spots, store: Store) -> None:
    lines = [f"{e.diagnosis},{e.nle},{e.audience},{e.source}" for e in examples()]
    path = tmp_path / "other.csv"
    path.write_text("\n".join(["diagnosis,nle,audience,source", *lines]))
    learned = replace(Speaker(), databases={"clinician": examples(2)})
    result = evaluate_weak_language(halves(), data, learned, replace(PLAN, database=str(path)), store)
    assert "mmd" not in result.skipped and row(result, "mmd", slice_=ALL).value > 0
    full = evaluate_weak_language(halves(), data, Speaker(), replace(PLAN, database=str(path)), store)
    assert full.skipped["mmd"].startswith("every sentence of the database was learned from")
    path.write_text("\n".join(["diagnosis,nle,audience,source", "mass,A mass.,clinician,tests"]))
    with pytest.raises(DataError, match="no sentence for 'clinician'"):
        evaluate_weak_language(halves(), data, learned, replace(PLAN, database=str(path)), store)


def test_explainers_that_speak_are_writers_and_those_that_cannot_are_skipped(tmp_path: Path) -> None:
    plan = replace(PLAN, voices=("template", "dpt"))
    result = evaluate_weak_language(halves(), Spots(12), Speaker(), plan, Store(tmp_path))
    assert row(result, "empty", "template", ALL).value == 0 and "dpt" in result.skipped
    assert result.examples[0]["template"] != result.examples[0][GENERATED]


def test_references_count_what_was_not_called_as_empty() -> None:
    rows = Rows(np.array([0, 1]), ("pneumonia", "edema"), 3)
    texts = ("Left basal opacity may represent pneumonia.", "The vessels are wide.")
    real: list[tuple[int, str, str, frozenset[str]]] = [
        (0, "pneumonia", texts[0], frozenset({"lung_opacity"})),
        (2, "pneumonia", texts[0], frozenset({"lung_opacity"})),
    ]
    table = Table(["a", "b", "c"], 0, 50)
    said = {"someone": Said(texts, np.zeros((2, 1)))}
    skipped = reference_rows(table, rows, said, real, "")
    found = {s.metric: s.value for s in table.scores}
    assert found["clev"] == 0.5 and found.get("rouge_l", 0.5) == 0.5 and "bertscore" in skipped


def test_references_of_phantoms_are_what_was_planted() -> None:
    data = load_dataset("phantom:test=12#test")
    cases = data.cases()
    made = phantom_references(data, cases, ("nodule", "edema", "pneumothorax"), "clinician", 0)
    planted = [(i, f) for i, c in enumerate(cases) for f in c.facts["severities"]]  # type: ignore[attr-defined]
    assert [(i, d) for i, d, _, _ in made] == [p for p in planted if p[1] in ("nodule", "edema", "pneumothorax")]
    assert made == phantom_references(data, cases, ("nodule", "edema", "pneumothorax"), "clinician", 0)
    assert phantom_references(Spots(3), Spots(3).cases(), FINDINGS, "clinician", 0) == []


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("whyray.models._resolve.load_model", lambda *_, **__: halves())
    monkeypatch.setattr("whyray.datasets._resolve.load_dataset", lambda _spec: Spots(12))
    monkeypatch.setattr("whyray.models._wenlex.weak_for", lambda _classifier, _folder: Speaker())
    words = ["evaluate", "language", "--weak", "-d", "spots", "-o", str(tmp_path / "out")]
    assert ended(words) == 0
    told = capsys.readouterr()
    assert "demand" in told.out and SAME_LABEL in told.out and "skipped: dpt" in told.err
    assert ended([*words, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(
        json.loads((tmp_path / "out/scores.json").read_text())["rows"]
    )
    for wrong in (["--weak"], ["made.jsonl"], ["made.jsonl", "--references", "r.jsonl", "--weak", "-o", "out"]):
        assert ended(["evaluate", "language", *wrong]) == 2
        assert "give one of the two" in capsys.readouterr().err


def ended(words: list[str]) -> int:
    with pytest.raises(SystemExit) as done:
        main(words)
    return int(done.value.code or 0)
