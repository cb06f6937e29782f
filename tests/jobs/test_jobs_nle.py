"""Explanations of a corpus: what is written, what is counted, and that a stop costs nothing."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whyray.jobs.nle as job
from whyray import api
from whyray.cli import main
from whyray.errors import DataError, LockedError, Stopped
from whyray.findings import VOCABULARIES
from whyray.jobs.nle import extract_explanations
from whyray.training.lock import locked

EXPLAINS = " IMPRESSION:  Left basal opacity may represent pneumonia.  No effusion.\n"
PLAIN = " FINDINGS:  The heart is normal.  There is pneumonia.\n"
PNEUMONIA, OPACITY = (VOCABULARIES["mimic-nle-10"].index(name) for name in ("Pneumonia", "Lung Opacity"))


def tree(root: Path, patients: int, studies: int = 2) -> Path:
    """Reports that explain and reports that do not, in turns."""
    number = 0
    for patient in range(patients):
        folder = root / f"p1{patient % 10}" / f"p1{patient % 10}{patient:06d}"
        folder.mkdir(parents=True)
        for _ in range(studies):
            text = f"x {number}\n" + (PLAIN if number % 2 else EXPLAINS)
            (folder / f"s{number:08d}.txt").write_text(text)
            number += 1
    return root


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_of_the_published_schema_with_its_trace(tmp_path: Path) -> None:
    made = extract_explanations(tree(tmp_path / "files", 2), tmp_path / "out.jsonl")
    first = lines(tmp_path / "out.jsonl")[0]
    assert list(first)[:-1] == [
        *("sentence_ID", "diagnosis_label", "evidence_label", "img_labels", "nle", "report_ID", "patient_ID")
    ]
    assert (first["sentence_ID"], first["report_ID"], first["patient_ID"]) == ("s00000000#0", "s00000000", "p10000000")
    assert first["diagnosis_label"] == [int(i == PNEUMONIA) for i in range(10)]
    assert first["evidence_label"] == [int(i == OPACITY) for i in range(10)]
    image = first["img_labels"]
    assert isinstance(image, list) and image[PNEUMONIA] == [0, 1, 0] and image[OPACITY] == [0, 0, 1]
    assert image[VOCABULARIES["mimic-nle-10"].index("Pleural Effusion")] == [1, 0, 0]
    assert str(first["trace"]).startswith("['pneumonia by lung_opacity, joined by")
    assert (made.reports, made.sentences, made.explanations, made.exit_code) == (4, 8, 2, 0)
    assert made.by_diagnosis == {"Pneumonia": 2} and made.by_evidence == {"Lung opacity": 2}
    assert json.loads((tmp_path / "out.jsonl.summary.json").read_text())["explanations"] == 2
    assert not (tmp_path / "out.jsonl.work").exists()


def test_every_problem_is_counted_and_listed(tmp_path: Path) -> None:
    root = tree(tmp_path / "files", 1, 1)
    folder = root / "p10/p10000000"
    (folder / "s90000001.txt").write_bytes(b"\n FINDINGS: \xe9\n")
    (folder / "s90000002.txt").write_text(" \n")
    (folder / "s90000003.txt").write_text("x\n FINDINGS: \n \n IMPRESSION: Normal.\n")
    (folder / "s90000004.txt").write_text("x\n INDICATION: Cough.\n")
    (folder / "notes.docx").write_bytes(b"PK\0")
    made = extract_explanations(root, tmp_path / "out.jsonl")
    assert made.problems == {"no report": 1, "wrong encoding": 1, "empty section": 3}
    assert (made.failed, made.reports, made.exit_code) == (2, 6, 1)
    listed = {line["report"]: line["problem"] for line in lines(tmp_path / "out.jsonl.problems.jsonl")}
    assert listed == {
        "notes.docx": "no report: the name is not s<number>.txt",
        "s90000001": "wrong encoding: not UTF-8",
        "s90000002": "empty section: the whole report",
        "s90000003": "empty section: findings",
        "s90000004": "empty section: neither findings nor impression",
    }


def table(path: Path, count: int = 6) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["report_id", "findings_text", "impression_text", "findings_nih"])
        for i in range(count):
            writer.writerow([f"r{i}", "The heart is normal.", "Basal opacity, likely atelectasis." * (i % 2), "Edema"])
    return path


def test_a_table_with_an_unknown_label_and_a_broken_row(tmp_path: Path) -> None:
    path = table(tmp_path / "reports.csv")
    with open(path, "ab") as file:
        file.write(b"r6,Clear lungs.,Normal.,Effusion|Humours\r\nr7,L\xe9sion.,Normal.,\r\n")
    made = extract_explanations(tmp_path, tmp_path / "out.jsonl")
    assert made.explanations == 3 and made.by_diagnosis == {"Atelectasis": 3}
    assert made.problems == {"empty section": 3, "unknown label": 1, "wrong encoding": 1} and made.exit_code == 1
    problems = [line["problem"] for line in lines(tmp_path / "out.jsonl.problems.jsonl")]
    assert "unknown label: Humours" in problems and problems[-1] == "wrong encoding: not UTF-8"
    assert lines(tmp_path / "out.jsonl")[0]["sentence_ID"] == "r1#1"


@pytest.mark.parametrize("text", ["a,b\n1,2\n", ""])
def test_a_table_without_text_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "reports.csv").write_text(text)
    with pytest.raises(DataError, match="neither findings_text nor impression_text"):
        extract_explanations(tmp_path / "reports.csv", tmp_path / "out.jsonl")


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was not found"):
        extract_explanations(tmp_path / "nowhere", tmp_path / "out.jsonl")
    (tmp_path / "p10").mkdir()
    with pytest.raises(DataError, match="holds no report"):
        extract_explanations(tmp_path, tmp_path / "out.jsonl")


@pytest.mark.parametrize("source", ["files", "reports.csv"])
def test_a_stop_at_any_report_goes_on_to_the_same_lines(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path / "files", 3), table(tmp_path / "reports.csv")
    whole = extract_explanations(tmp_path / source, tmp_path / "whole.jsonl", refused=True)
    monkeypatch.setattr(job, "EVERY", 2)
    for stop in range(1, 6):
        out, answers = tmp_path / f"out{stop}.jsonl", iter([False] * (stop - 1) + [True])
        with pytest.raises(Stopped):
            extract_explanations(tmp_path / source, out, refused=True, cancelled=answers.__next__)
        with open(out.with_name(f"{out.name}.work") / "lines.jsonl", "a") as file:
            file.write('{"torn": ')  # written after the checkpoint, then killed
        assert extract_explanations(tmp_path / source, out, refused=True) == whole
        for more in ("", ".problems.jsonl", ".refused.jsonl", ".summary.json"):
            assert Path(f"{out}{more}").read_bytes() == (tmp_path / f"whole.jsonl{more}").read_bytes(), more


def test_a_work_folder_of_other_rules_or_another_source_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tree(tmp_path / "files", 3), tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        extract_explanations(source, out, cancelled=lambda: True)
    monkeypatch.setattr(job, "VERSION", 99)
    assert extract_explanations(source, out).reports == 6 and len(lines(out)) == 3


def test_two_runs_do_not_share_an_output(tmp_path: Path) -> None:
    source = tree(tmp_path / "files", 1)
    with locked(tmp_path / "out.jsonl.work"), pytest.raises(LockedError):
        extract_explanations(source, tmp_path / "out.jsonl")


def test_the_score_counts_by_hand(tmp_path: Path) -> None:
    extract_explanations(tree(tmp_path / "files", 4), tmp_path / "out.jsonl")  # s0, s2, s4, s6: sentence 0 each
    found = lines(tmp_path / "out.jsonl")
    published = [found[0], {**found[1], "evidence_label": [0] * 10}, {**found[2], "sentence_ID": "s00000004#1"}]
    query = tmp_path / "dev-query.json"
    query.write_text("".join(json.dumps(line) + "\n" for line in published))
    rows = {(r.finding, r.metric): r for r in api.score_extraction(tmp_path / "out.jsonl", [query])}
    wanted = {"recall": (2 / 3, 3), "precision_in_reports": (2 / 3, 3), "precision": (0.5, 4)}
    for metric, (value, n) in {**wanted, "same_diagnoses": (1.0, 2), "same_evidence": (0.5, 2)}.items():
        row = rows["all", metric]
        assert row.value == pytest.approx(value) and row.n == n and row.low <= value <= row.high
    assert rows["pneumonia", "recall"].n == 3


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tree(tmp_path / "files", 2), tmp_path / "out.jsonl"
    with pytest.raises(SystemExit) as done:
        main(["nle", "extract", str(source), "-o", str(out), "--json"])
    assert done.value.code == 0 and json.loads(capsys.readouterr().out)["explanations"] == 2
    (source / "p10/p10000000/x.bin").write_bytes(b"\0")
    with pytest.raises(SystemExit) as done:
        main(["nle", "extract", str(source), "-o", str(out), "--score", str(out)])
    told = capsys.readouterr()
    assert done.value.code == 1 and "1 reports failed" in told.err and "precision_in_reports" in told.out
    with pytest.raises(SystemExit) as done:
        main(["nle", "mimic", str(source), str(tmp_path / "none"), "-o", str(tmp_path / "m")])
    assert done.value.code == 2 and "no query file" in capsys.readouterr().err


def test_kill_minus_nine_loses_no_line(tmp_path: Path) -> None:
    source, out = tree(tmp_path / "files", 1500, 4), tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "whyray", "nle", "extract", str(source), "-o", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    progress = Path(f"{out}.work/progress.json")
    for _ in range(3000):
        if progress.exists() or running.poll() is not None:
            break
        time.sleep(0.01)
    running.kill()
    running.wait()
    reached = json.loads(progress.read_text())["counts"]["total"]["reports"] if progress.exists() else 0
    assert 0 < reached <= 6000
    made = extract_explanations(source, out)
    assert made.reports == 6000 and [line["sentence_ID"] for line in lines(out)] == sorted(
        (f"s{n:08d}#0" for n in range(0, 6000, 2)), key=lambda s: (int(s[1:9]) // 4 % 10, int(s[1:9]) // 4, s)
    )


@pytest.mark.slow
def test_memory_is_constant_on_a_tree_of_200_000_files(tmp_path: Path) -> None:
    source = tree(tmp_path / "files", 50_000, 4)
    code = (
        "import resource, sys\n"
        "from whyray.jobs.nle import extract_explanations\n"
        "made = extract_explanations(sys.argv[1], sys.argv[2])\n"
        "print(made.reports, made.explanations, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def run(folder: Path) -> tuple[int, int, float]:
        out = subprocess.run(
            [sys.executable, "-c", code, str(folder), str(tmp_path / "out.jsonl")], capture_output=True, check=True
        )
        reports, explanations, peak = map(int, out.stdout.split())
        return reports, explanations, peak / 1024  # MiB on Linux

    few = tree(tmp_path / "few", 500, 4)
    _, _, small = run(few)
    reports, explanations, large = run(source)
    shutil.rmtree(source)
    assert (reports, explanations) == (200_000, 100_000)
    assert large - small < 16, f"{large:.0f} MiB for 200,000 files, {small:.0f} MiB for 2,000"


def test_the_development_reports(dev_data: Path, tmp_path: Path) -> None:
    made = extract_explanations(dev_data / "dev" / "reports.csv", tmp_path / "out.jsonl")
    assert made.reports == 3324 and made.failed == 0
    assert 90 <= made.explanations <= 130 and max(made.by_diagnosis, key=made.by_diagnosis.__getitem__) == "Pneumonia"
