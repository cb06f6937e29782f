"""``whyray evaluate localisation|faithfulness`` as a user meets it: tables, JSON alone, exit codes, kill and resume."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from outcome import Outcome
from PIL import Image

from whyray.cli import show
from whyray.datasets.phantom import phantom_case

WORDS = ("evaluate", "localisation", "-m", "analytic", "-x", "gradcam", "--threads", "1")
PHANTOMS = ("-d", "phantom:test=24,val=0,train=0#test")


def facts(folder: Path) -> dict[str, object]:
    """What belongs beside every figure of a run."""
    told: dict[str, object] = json.loads((folder / "scores.json").read_text())["facts"]
    return told


def cells(folder: Path) -> dict[str, int]:
    """Each cell with the time at which it was written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.glob("cells/*/*.npz")}


def test_a_table_then_json_alone_and_nothing_is_made_twice(run: Callable[..., Outcome], tmp_path: Path) -> None:
    code, out, err = run(*WORDS, *PHANTOMS, "-o", tmp_path / "run")
    assert code == 0 and str(tmp_path / "run" / "report.html") in err
    for word in (
        "IoU true-positive, otsu filled",
        "IoU full",
        "random (control)",
        "n=",
        "survive Holm",
        "Sign of maps",
    ):
        assert word in out, word
    before = cells(tmp_path / "run")
    code, out, err = run(*WORDS, *PHANTOMS, "-o", tmp_path / "run", "--json")
    told = json.loads(out)
    assert code == 0 and cells(tmp_path / "run") == before
    row = told[0]
    assert {"finding", "metric", "value", "low", "high", "n", "explainer", "slice"} <= set(row)
    assert {r["baseline"] for r in told if "baseline" in r} == {"edges", "centre", "random"}
    differences = [r for r in told if r["metric"] == "hit_difference"]
    assert {r["explainer"] for r in differences} == {"gradcam"} and all(r["p_holm"] >= r["p"] for r in differences)


def test_killed_and_run_again(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "whyray", *WORDS, "-d", "phantom:test=28,val=0,train=0#test", "-o", str(tmp_path)]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(cells(tmp_path)) < 8 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = cells(tmp_path)
    assert len(before) >= 8 and not (tmp_path / "report.html").exists(), "it was stopped in the middle"
    again = subprocess.run(words, capture_output=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    after = cells(tmp_path)
    assert before.items() <= after.items(), "a finished cell was made again"
    assert len(after) > len(before) and (tmp_path / "report.html").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_ctrl_c_ends_in_130_and_keeps_what_was_made(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "whyray", *WORDS, "-d", "phantom:test=400,val=0,train=0#test", "-o", str(tmp_path)]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(cells(tmp_path)) < 8 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    second = subprocess.run(words, capture_output=True, timeout=120, check=False)
    assert second.returncode == 3 and b"in use" in second.stderr, "one run a folder"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and b"kept" in said and b"Traceback" not in said
    assert len(cells(tmp_path)) >= 8


def test_a_bad_picture_costs_only_itself(run: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows, boxes = ["image_id,file,patient_id,split,findings"], ["image_id,finding,x,y,w,h"]
    for n in range(3):
        made = phantom_case(n, plant={"cardiomegaly": 0.9})
        Image.fromarray((made.radiograph().pixels * 255).astype(np.uint8)).save(folder / f"{n}.png")
        rows.append(f"{n},{n}.png,{n},test,Cardiomegaly")
        boxes.append(f"{n},Cardiomegaly,60,100,90,80")
    (folder / "1.png").write_bytes(b"no picture")
    (folder / "images.csv").write_text("\n".join(rows) + "\n")
    (folder / "boxes.csv").write_text("\n".join(boxes) + "\n")
    code, out, err = run(*WORDS, "-d", f"folder:{folder}#test", "-o", tmp_path / "run", "--json")
    assert code == 1 and "error: 1: 1.png" in err
    assert json.loads(out) and facts(tmp_path / "run")["pictures"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-d", "phantom:test=2#test", "--map", "cardiomegaly"], "FINDING=REGION"),
        (
            ["-d", "phantom:test=2#test", "--mode", "otzu_filed"],
            "modes 'otzu_filed' is no choice; did you mean otsu_filled?",
        ),
        (["-d", "phantom:test=2#test", "--sign", "both"], "positive"),
        (["-d", "phantom:test=2#test", "-x", "gradcamm"], "gradcam"),
        (["-d", "phantom:test=2#test", "-f", "hernia"], "finding of analytic"),
        (["-d", "phantom:test=2#test", "--where", "dataset"], "FACT=VALUE"),
        ([], "no data set came; name one: -d phantom#test"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    run: Callable[..., Outcome], tmp_path: Path, words: list[str], said: str
) -> None:
    code, out, err = run(*WORDS, *words, "-o", tmp_path / "run")
    assert code == 2 and said in err and not out
    assert not cells(tmp_path / "run")


def test_a_plan_in_toml_and_options_over_it(run: Callable[..., Outcome], tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'dataset = "phantom:test=24#test"\nmodel = "analytic"\nexplainers = ["gradcam"]\n'
        '[localisation]\nmodes = ["top_k"]\nshare = 0.2\n'
    )
    code, out, _ = run("evaluate", "localisation", "--plan", plan, "--limit", 22, "-o", tmp_path / "run", "--json")
    assert code == 0 and json.loads(out) and facts(tmp_path / "run")["pictures"] == 22
    told = (tmp_path / "run" / "plan.toml").read_text()
    assert 'modes = ["top_k"]' in told and "share = 0.2" in told and "limit = 22" in told
    plan.write_text('dataset = "phantom"\n[localisation]\nmode = "top_k"\n')
    code, _, err = run("evaluate", "localisation", "--plan", plan, "-o", tmp_path / "run")
    assert code == 2 and "modes" in err


def test_faithfulness_goes_the_same_way(run: Callable[..., Outcome], tmp_path: Path) -> None:
    words = ("evaluate", "faithfulness", "-m", "analytic", "-x", "gradcam", "-d", "phantom:test=3#test")
    words += ("--pairs", "all", "--few", "0", "--threads", "1", "-o", str(tmp_path), "-f", "nodule")
    code, out, err = run(*words)
    assert code == 0 and "deletion" in out and "random (control)" in out and "report.html" in err
    before = cells(tmp_path)
    code, out, _ = run(*words, "--json")
    assert code == 0 and {r["explainer"] for r in json.loads(out)} >= {"gradcam", "random"}
    assert before and cells(tmp_path) == before
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page and "<script" not in page and "deletion" in page


def test_a_full_disk_ends_in_5(tmp_path: Path) -> None:
    """No file may grow beyond 1000 bytes: what a quota does."""
    words = [sys.executable, "-m", "whyray", *WORDS, *PHANTOMS, "-o", str(tmp_path)]
    limited = (
        "import os, resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"os.execv({words[0]!r}, {words!r})"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, timeout=120, check=False)
    assert done.returncode == 5 and b"no room left" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["localisation", "faithfulness", "counterfactual"])
def test_an_explainer_without_maps_is_refused_before_any_work(
    run: Callable[..., Outcome], tmp_path: Path, kind: str
) -> None:
    words = ("-m", "analytic", "-d", "phantom:test=2#test", "-o", tmp_path, "-x", "gradcam", "-x", "template")
    code, out, err = run("evaluate", kind, *words)
    assert code == 2 and not out and not cells(tmp_path)
    assert err.startswith("error: template came as -x, which writes sentences") and "evaluate language" in err


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_each_picture_that_a_classifier_cannot_be_measured_on_is_named(
    run: Callable[..., Outcome], tmp_path: Path, more: tuple[str, ...]
) -> None:
    rows = ["image_id,file,patient_id,findings,labelled"]
    for n in range(4):
        Image.fromarray((phantom_case(n).radiograph().pixels * 255).astype(np.uint8)).save(tmp_path / f"{n}.png")
        rows.append(f"p{n},{n}.png,{n},{'Nodule' if n % 2 else 'No Finding'},Nodule")
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "2.png").unlink()
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    words = ("evaluate", "classifier", "-m", "analytic", "-d", f"folder:{tmp_path}", "--threads", "1")
    code, out, err = run(*words, *more)
    assert code == 1 and err.count("error: p1: 1.png") == err.count("error: p2: 2.png") == err.count("error: ") / 2 == 1
    assert "auc" in out and (not more or {row["n"] for row in json.loads(out)} == {2})
    table = (tmp_path / "images.csv").read_text()
    (tmp_path / "images.csv").write_text(table.replace("findings,labelled", "labels,of"))
    code, out, err = run(*words, *more)
    assert code == 2 and not out and "no picture is labelled with a finding of analytic" in err
    (tmp_path / "images.csv").write_text(table)
    (tmp_path / "0.png").unlink(), (tmp_path / "3.png").unlink()
    code, out, err = run(*words, *more)
    assert code == 2 and not out and err.count("error: p") == 4 and "none of 4" in err


@pytest.mark.parametrize("terminal", [False, True])
def test_a_sentence_about_the_work_is_printed_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with show.progress("evaluate") as report:
        report(1, 3, "pictures")
        report(0, 0, "a second count begins")
        report(2, 3, "pictures")
    err = capsys.readouterr().err
    assert err.count("a second count begins") == 1 and (terminal or "of" not in err)
