"""An evaluation of generated sentences from files to rows, as a user meets it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from whyray.cli import main
from whyray.errors import DataError
from whyray.findings import VOCABULARIES
from whyray.jobs.language import FIXED, GENERATED, MOST, REAL, Language, evaluate_language
from whyray.types import Score

LABELS = VOCABULARIES["mimic-nle-10"]
TEXTS = {
    "Pneumonia": ("Left basal opacity may represent pneumonia.", "Lung Opacity"),
    "Atelectasis": ("Streaky basal opacities, likely atelectasis.", "Lung Opacity"),
    "Pleural Effusion": ("Blunting of the left angle suggests an effusion.", ""),
}


def label(*names: str) -> list[int]:
    return [int(name in names) for name in LABELS]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def references(count: int = 12) -> list[dict[str, Any]]:
    """One sentence a patient, the three diagnoses in turns; every other one hedged in the image labels."""
    lines = []
    for i in range(count):
        name = list(TEXTS)[i % 3]
        text, evidence = TEXTS[name]
        states = [[int(not on), int(on and i % 2), int(on and not i % 2)] for on in label(name)]
        ids = {"sentence_ID": f"s{i}#0", "report_ID": f"s{i}", "patient_ID": f"p{i}"}
        marks = {"diagnosis_label": label(name), "evidence_label": label(evidence), "img_labels": states}
        lines.append({**ids, **marks, "nle": text})
    return lines


def generated(lines: list[dict[str, Any]], wrong: int = 3) -> list[dict[str, Any]]:
    """The references themselves; the first ``wrong`` predicted negative."""
    out = []
    for i, line in enumerate(lines):
        name = LABELS[line["diagnosis_label"].index(1)]
        sure = [[0.8, 0.1, 0.1] if not on or i < wrong else [0.1, 0.3, 0.6] for on in line["diagnosis_label"]]
        out.append(
            {"sentence_ID": line["sentence_ID"], "diagnosis": name, "nle": line["nle"], "img_probabilities": sure}
        )
    return out


def run(folder: Path, made: list[dict[str, Any]], wanted: list[dict[str, Any]], **options: Any) -> Language:
    files = (write(folder / "made.jsonl", made), write(folder / "wanted.jsonl", wanted))
    return evaluate_language(*files, replicates=200, **options)


def row(result: Language, metric: str, writer: str = GENERATED, name: str = "all pairs") -> Score:
    (found,) = (s for s in result.scores if (s.metric, s.explainer, s.slice) == (metric, writer, name))
    return found


def test_the_references_themselves_are_perfect(tmp_path: Path) -> None:
    result = run(tmp_path, generated(references()), references())
    for metric in ("bleu_4", "rouge_l", "clev", "macro_clev"):
        assert row(result, metric).value == pytest.approx(1), metric
    assert (row(result, "clev").n, row(result, "clev", name="correctly predicted").n) == (12, 9)
    assert row(result, "clev", REAL).value == 1 and row(result, "bleu_1", FIXED).value < 0.5
    assert result.notes == () and result.facts["correctly predicted"] == 9


def test_evidence_that_is_itself_explained_can_be_reached(tmp_path: Path) -> None:
    """One sentence, two diagnoses, one of which is evidence for the other: each side leaves out the diagnosis."""
    two = ("Atelectasis", "Consolidation")
    marks = {"diagnosis_label": label(*two), "evidence_label": label("Lung Opacity", "Consolidation")}
    line = {"sentence_ID": "s0#0", "nle": "Left basilar opacity and consolidation may represent atelectasis.", **marks}
    made = [{"sentence_ID": "s0#0", "diagnosis": name, "nle": line["nle"]} for name in two]
    result = run(tmp_path, made, [line])
    assert row(result, "clev").value == 1 and row(result, "clev", REAL).value == 1


def test_constant_and_majority_answers_are_in_every_table(tmp_path: Path) -> None:
    result = run(tmp_path, generated(references()), references())
    for name in ("all pairs", "correctly predicted"):
        share = 8 / 12 if name == "all pairs" else 6 / 9
        for writer in (FIXED, MOST):
            assert row(result, "clev", writer, name).value == pytest.approx(share)
            assert row(result, "macro_clev", writer, name).value == pytest.approx(0.5)
        assert row(result, "self_bleu", FIXED, name).value == pytest.approx(1)
    gaps = {d.metric: d for d in result.differences if d.slice == "all pairs"}
    assert gaps["clev_difference"].value == pytest.approx(1 / 3) and gaps["clev_difference"].baseline == FIXED


def test_every_row_has_n_an_interval_and_its_signature(tmp_path: Path) -> None:
    rows = run(tmp_path, generated(references()), references()).rows()
    assert len({(r["metric"], r["explainer"], r["slice"]) for r in rows}) == len(rows)
    for each in rows:
        assert each["n"] > 0 and each["signature"] and each["low"] - 1e-9 <= each["value"] <= each["high"] + 1e-9, each
    names = {r["metric"] for r in rows}
    assert {"bleu_1", "bleu_4", "rouge_l", "meteor", "cider", "clev", "macro_clev", "distinct_2", "self_bleu"} <= names
    assert {"share_unique", "speaks_of_earlier", "grade", "auc_three_state", "auc_binary", "selection"} <= names


def test_the_selection_score_is_the_product(tmp_path: Path) -> None:
    result = run(tmp_path, generated(references()), references())
    product = row(result, "auc_binary").value * row(result, "clev").value * row(result, "meteor").value
    assert row(result, "selection").value == pytest.approx(product)
    assert result.signatures["selection"].endswith("| dropped: bertscore") and "bertscore" in result.skipped


def test_pairs_that_were_not_generated_count_as_empty(tmp_path: Path) -> None:
    made = generated(references())[2:]
    made.append({"sentence_ID": "s99#0", "diagnosis": "edema", "nle": "x"})
    result = run(tmp_path, made, references())
    assert row(result, "rouge_l").value == pytest.approx(10 / 12) and row(result, "empty").value == pytest.approx(
        2 / 12
    )
    assert any("2 pairs have no generated sentence" in n and "s0#0 pneumonia" in n for n in result.notes)
    assert any("1 generated sentences belong to no reference" in n and "s99#0 edema" in n for n in result.notes)


def test_a_sentence_of_two_diagnoses_is_two_pairs(tmp_path: Path) -> None:
    line = {**references(1)[0], "diagnosis_label": label("Pneumonia", "Atelectasis")}
    made = [{"sentence_ID": "s0#0", "diagnosis": d, "nle": "x", "predicted": p}
            for d, p in (("pneumonia", "uncertain"), ("Atelectasis", "negative"))]  # fmt: skip
    result = run(tmp_path, made, [line])
    assert result.facts["pairs"] == 2 and result.facts["correctly predicted"] == 1
    assert math.isnan(row(result, "share_unique").low), "one patient says nothing of others"


def test_without_predictions_the_slice_is_skipped_and_says_so(tmp_path: Path) -> None:
    made = [{k: v for k, v in line.items() if k != "img_probabilities"} for line in generated(references())]
    result = run(tmp_path, made, references())
    assert {s.slice for s in result.scores} == {"all pairs"}
    assert {"correctly predicted", "auc_binary", "selection"} <= set(result.skipped)


def test_evidence_without_a_published_label_is_the_labeller_s(tmp_path: Path) -> None:
    wanted = [{k: v for k, v in line.items() if k != "evidence_label"} for line in references()]
    result = run(tmp_path, generated(references()), wanted)
    assert row(result, "clev").value == 1 and "references:labelled" in result.signatures["clev"]
    mixed = run(tmp_path, generated(references()), [references()[0], *wanted[1:]])
    assert (
        mixed.signatures["clev"].endswith("references:mixed") and mixed.signatures["clev"] != result.signatures["clev"]
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"diagnosis": "Humours"}, "unknown finding"),
        ({"img_probabilities": [[1, 0, 0]]}, r"not the shape \[10\]\[3\]"),
        ({"img_probabilities": None, "predicted": "maybe"}, "negative, uncertain or positive"),
        ({"sentence_ID": "s1#0", "diagnosis": "Atelectasis"}, "explains atelectasis of s1#0 twice"),
    ],
)
def test_a_line_of_another_form_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    made = generated(references())
    made[0] = {k: v for k, v in {**made[0], **change}.items() if v is not None}
    with pytest.raises(Exception, match=why):
        run(tmp_path, made, references())


def test_files_that_share_nothing_are_refused(tmp_path: Path) -> None:
    made = [{**line, "sentence_ID": "other"} for line in generated(references(1))]
    with pytest.raises(DataError, match="no generated line has"):
        run(tmp_path, made, references())


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, wanted = write(tmp_path / "a.jsonl", generated(references())), write(tmp_path / "b.jsonl", references())
    main_(["evaluate", "language", str(made), "--references", str(wanted), "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert isinstance(rows, list) and all(r["signature"] for r in rows)
    main_(["evaluate", "language", str(made), "--references", str(wanted)])
    told = capsys.readouterr()
    assert "majority (Lung Opacity)" in told.out and "signatures" in told.out and "skipped: bertscore" in told.err


def main_(words: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 0
