"""The command line as a user meets it: outputs, exit codes, stdout that is only JSON, one sentence for bad input."""

from __future__ import annotations

import json
import os
import re
import shlex
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

from whyray.contracts import Explainer
from whyray.registry import explainer_class
from whyray.testing import sample_radiographs


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures that can be read and one that cannot."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i, picture in enumerate(sample_radiographs(2, side=160)):
        Image.fromarray((picture.pixels * 255).astype(np.uint8)).save(folder / f"chest{i}.png")
    (folder / "torn.png").write_bytes((folder / "chest0.png").read_bytes()[:2000])
    return folder


def test_explain_writes_a_folder_a_picture(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    got = run("explain", pictures / "chest0.png", "-m", "analytic", "-f", "Effusion", "-x", "gradcam", "-o", out)
    assert got.code == 0
    (folder,) = out.iterdir()
    assert folder.name.startswith("chest0-") and str(folder / "report.html") in got.out
    names = {p.name for p in folder.iterdir()}
    assert {"explanation.json", "report.html", "pleural_effusion-gradcam.npz", "pleural_effusion-gradcam.png"} <= names
    with Image.open(folder / "pleural_effusion-gradcam.png") as overlay:
        assert overlay.size[0] >= 160
    record = json.loads((folder / "explanation.json").read_text())
    explained = [f for f in record["findings"] if f["explanations"]]
    assert [f["finding"] for f in explained] == ["pleural_effusion"]
    assert explained[0]["explanations"][0].keys() >= {"explainer", "kind", "file", "checks", "seconds"}


def test_json_is_all_there_is_on_stdout(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    one = run("explain", pictures / "chest0.png", "-m", "analytic", "-o", tmp_path / "o", "--json")
    assert [r["image"]["name"] for r in json.loads(one.out)] == ["chest0"]
    two = run("predict", pictures / "chest1.png", "-m", "analytic", "--json")
    (record,) = json.loads(two.out)
    assert {"finding", "logit", "probability"} <= record["findings"][0].keys()
    assert record["findings"][0]["explanations"] == []


def test_a_batch_goes_on_and_lists_what_failed(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    got = run("explain", pictures, "-m", "analytic", "-o", tmp_path / "o")
    assert got.code == 1 and len([p for p in (tmp_path / "o").iterdir() if p.is_dir()]) == 2
    index = (tmp_path / "o" / "index.html").read_text()
    assert "chest0" in index and "chest1" in index and "torn.png" in index and "http://" not in index
    assert all((tmp_path / "o" / link).exists() for link in re.findall(r'href="([^"]+)"', index))
    (line,) = [text for text in got.err.splitlines() if text.startswith("error")]
    assert "torn.png" in line and len(line) <= 207 and "1 of 3 inputs failed" in got.err


def test_one_bad_file_is_a_refusal(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    got = run("explain", pictures / "torn.png", "-m", "analytic", "-o", tmp_path / "o")
    assert got.code == 2 and got.out == "" and "torn.png" in got.err and "Traceback" not in got.err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-m", "analytic", "-f", "nodul"], "did you mean nodule"),
        (["-m", "analytic", "-f", "hernia"], "finding of analytic"),
        (["-m", "analytic", "-x", "gradcamm"], "did you mean gradcam"),
        (["-m", "analytic", "-x", "gradcam:rleu=1"], "did you mean relu"),
        (["-m", "analytical"], "did you mean analytic"),
        (["-m", "analytic", "--voi", "wide"], "CENTRE/WIDTH"),
        (["-m", "analytic", "--budget", "0"], "budget"),
        (["-m", "analytic", "--layer", "cellz"], "cells"),
        (["-m", "analytic", "--seed", "-1"], "seed"),
        (["-m", "analytic", "-x", "centre:cells=0"], "cells"),
        (["-m", "analytic", "-x", "edges:sigma=nan"], "sigma"),
        (["-m", "analytic", "--device", "cuda:77"], "device"),
    ],
)
def test_a_wrong_option_fails_with_the_choices(
    run: Callable[..., Outcome], pictures: Path, tmp_path: Path, args: list[str], words: str
) -> None:
    got = run("explain", pictures / "chest0.png", *args, "-o", tmp_path / "o")
    assert got.code == 2 and words in got.err and "Traceback" not in got.err
    assert not (tmp_path / "o").exists()


def test_a_missing_file(run: Callable[..., Outcome], tmp_path: Path) -> None:
    got = run("explain", tmp_path / "nothing.dcm", "-m", "analytic", "-o", tmp_path / "o")
    assert got.code == 2 and "nothing.dcm" in got.err


def test_anonymous_names(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    secret = pictures / "jane_doe.png"
    (pictures / "chest0.png").rename(secret)
    got = run("explain", secret, "-m", "analytic", "--anonymous", "-o", tmp_path / "o")
    (folder,) = (tmp_path / "o").iterdir()
    assert len(folder.name) == 8
    assert "jane_doe" not in got.out
    assert not any(b"jane_doe" in p.read_bytes() for p in folder.iterdir())


def test_an_anonymous_batch_names_no_file_in_its_index(
    run: Callable[..., Outcome], pictures: Path, tmp_path: Path
) -> None:
    assert run("explain", pictures, "-m", "analytic", "--anonymous", "-o", tmp_path / "o").code == 1
    index = (tmp_path / "o" / "index.html").read_text()
    assert "torn" not in index and "chest" not in index and "one input was refused" in index


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    run: Callable[..., Outcome], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        got = run("explain", pictures / "chest0.png", "-m", "analytic", "-o", out)
        assert got.code == 2 and "no folder" in got.err


def test_a_file_name_that_is_no_text_costs_nothing(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    os.rename(os.fsencode(pictures / "chest0.png"), os.fsencode(pictures) + b"/odd\xff.png")
    got = run("explain", pictures, "-m", "analytic", "-o", tmp_path / "o")
    assert got.code == 1 and len([p for p in (tmp_path / "o").iterdir() if p.is_dir()]) == 2


def test_lists_and_doctor(run: Callable[..., Outcome]) -> None:
    for command in ("explainers", "datasets", "metrics", "models"):
        rows = json.loads(run(command, "--json").out)
        assert rows and all(row["summary"] for row in rows)
    facts = json.loads(run("doctor", "--json").out)
    assert {"python", "torchvision", "DICOM codecs", "bundled model"} <= {f["name"] for f in facts}
    assert "cells" in run("models", "layers", "-m", "analytic").out


def test_version_carries_the_notice(run: Callable[..., Outcome]) -> None:
    assert "Not for clinical use" in run("--version").out


def test_usage_errors_are_two(run: Callable[..., Outcome]) -> None:
    assert run("explain").code == 2
    assert run("explian").code == 2


def test_ctrl_c_is_130_and_keeps_what_was_finished(pictures: Path, tmp_path: Path) -> None:
    for i in range(40):
        (pictures / f"more{i:02}.png").write_bytes((pictures / "chest1.png").read_bytes() + b"")
    command = [sys.executable, "-m", "whyray", "explain", str(pictures), "-m", "analytic", "-o", str(tmp_path / "o")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("o/[!.]*/explanation.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "kept" in err and "Traceback" not in err
    folders = [p for p in (tmp_path / "o").iterdir() if p.is_dir() and not p.name.startswith(".")]
    assert folders and all((f / "explanation.json").exists() for f in folders)


def test_ctrl_c_where_errors_are_expected_is_no_error_of_that_picture(
    run: Callable[..., Outcome], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(name: str) -> type[Explainer]:
        if sys._getframe(1).f_code.co_name == "_explainer_facts":  # it forgives whatever a lookup raises
            os.kill(os.getpid(), signal.SIGINT)
        return explainer_class(name)

    monkeypatch.setattr("whyray.registry.explainer_class", pressed)
    got = run("explain", pictures, "-m", "analytic", "-o", tmp_path / "o")
    assert got.code == 130 and "kept" in got.err


def test_the_recorded_command_repeats_the_run(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    options = ["-f", "nodule", "-x", "gradcam:relu=false", "--seed", "3", "--budget", "60", "--voi", "2048/4096"]
    chest = pictures / "chest1.png"
    first = run(
        "explain", chest, "-m", "mini", "--layer", "features.denseblock3", *options, "-o", tmp_path / "o", "--json"
    )
    (record,) = json.loads(first.out)
    words = shlex.split(record["provenance"]["command"])
    assert words[:3] == ["whyray", "explain", "chest1.png"] and words[-2:] == ["-o", "out"]
    again = run("explain", chest, *words[3:-2], "-o", tmp_path / "p", "--json")
    (second,) = json.loads(again.out)
    assert second["provenance"]["command"] == record["provenance"]["command"]
    assert second["findings"][0]["logit"] == record["findings"][0]["logit"]
    assert second["model"] == record["model"] and "denseblock3" in record["model"]["backend"]


def test_the_index_lists_earlier_batches_too(run: Callable[..., Outcome], pictures: Path, tmp_path: Path) -> None:
    for name in ("chest0.png", "chest1.png"):
        assert run("explain", pictures / name, "-m", "analytic", "-o", tmp_path / "o").code == 0
        (tmp_path / "o" / "foreign").mkdir(exist_ok=True)
        (tmp_path / "o" / "foreign" / "explanation.json").write_text("{")  # not ours: passed over
    index = (tmp_path / "o" / "index.html").read_text()
    assert index.count("report.html") == 2
