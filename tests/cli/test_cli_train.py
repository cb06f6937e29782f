"""Train, explain and measure from the command line, on a handful of small phantoms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PLAN = """
name = "tiny"
findings = ["pleural_effusion", "cardiomegaly"]
size = 48
stored = 54
architecture = {network = "densenet", growth = 4, blocks = [1, 1], stem = 8}
loop = {epochs = 1, batch = 8}
[[data]]
name = "phantom"
spec = "phantom:train=16,val=16,test=16,size=64"
"""


def whyray(*words: object) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "whyray", *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained folder."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "plan.toml").write_text(PLAN)
    made = whyray("train", "classifier", folder / "plan.toml", "-o", folder / "out", "--set", "loop.epochs=2")
    assert made.returncode == 0, made.stderr
    assert (folder / "out" / "model.safetensors").exists()
    return folder


def test_a_trained_folder_is_a_model(run: Path) -> None:
    shown = whyray("explain", "examples/phantom.png", "-m", run / "out", "-f", "effusion", "-o", run / "e", "--json")
    assert shown.returncode == 0, shown.stderr
    (record,) = json.loads(shown.stdout)
    assert record["findings"][0]["finding"] == "pleural_effusion"


def test_evaluate_prints_rows(run: Path) -> None:
    measured = whyray(
        "evaluate", "classifier", "-m", run / "out", "-d", "phantom:test=30,size=64#test", "--limit", 20, "--json"
    )
    assert measured.returncode == 0, measured.stderr
    rows = json.loads(measured.stdout)
    assert {"auc", "auprc"} <= {row["metric"] for row in rows}
    assert all(row.keys() >= {"finding", "metric", "value", "low", "high", "n"} and row["n"] == 20 for row in rows)


def test_operating_points_are_measured_where_there_are_any() -> None:
    measured = whyray("evaluate", "classifier", "-d", "phantom:test=30#test", "--json")
    assert measured.returncode == 0, measured.stderr
    metrics = {row["metric"] for row in json.loads(measured.stdout) if row["finding"] == "cardiomegaly"}
    assert {"auc", "auprc", "sensitivity", "specificity"} <= metrics


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "loop.epoch=2"], "epochs"),
        (["--set", "loop.epochs=two"], "epochs"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_wrong_plan_is_one_sentence(run: Path, words: list[str], says: str) -> None:
    got = whyray("train", "classifier", run / "plan.toml", "-o", run / "bad", *words)
    assert got.returncode == 2 and says in got.stderr and "Traceback" not in got.stderr


def test_check_counts(run: Path) -> None:
    got = whyray("data", "check", "phantom:train=4,val=2,test=2,size=64", "--json")
    assert got.returncode == 0, got.stderr
    assert json.loads(got.stdout)["splits"]["train"]["cases"] == 4


def test_an_autoencoder_is_trained_and_draws_counterfactuals(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'name = "tiny"\nclassifier = "nobody"\nsize = 64\nstored = 72\n'
        '[architecture]\nnetwork = "small"\nwidths = [4, 8, 8]\nlatent = 4\n[loop]\nepochs = 1\nbatch = 4\n'
        '[[data]]\nname = "phantom"\nspec = "phantom:train=8,val=4,test=4"\n'
    )
    trained = whyray("train", "autoencoder", plan, "-m", "mini", "-o", tmp_path / "ae")
    assert trained.returncode == 0, trained.stderr
    assert f"-x latent_shift:autoencoder={tmp_path / 'ae'}" in trained.stderr
    spec = f"latent_shift:frames=3,autoencoder={tmp_path / 'ae'}"
    done = whyray("explain", "examples/phantom.png", "-f", "pleural_effusion", "-x", spec, "-o", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    (report,) = (tmp_path / "o").glob("*/report.html")
    assert "Model-made picture, not a radiograph" in report.read_text()


def test_a_recipe_of_sentences_alone_trains_classifier_and_generator(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        """
[stage.sentences]
name = "tiny"
size = 64
stored = 72
vocabulary = 300
architecture = {network = "tienet", width = 16, hidden = 16}
vision = {network = "densenet", growth = 4, blocks = [1, 1], stem = 4}
loop = {epochs = 1, batch = 4, keep = "best"}
[[stage.sentences.data]]
name = "phantom"
spec = "phantom:train=6,val=3,test=3"
"""
    )
    made = whyray("train", "nle", tmp_path / "plan.toml", "-o", tmp_path / "out", "--threads", 1)
    assert made.returncode == 0, made.stderr
    files = [tmp_path / "out" / name for name in ("generated.jsonl", "references.jsonl")]
    measured = whyray("evaluate", "language", files[0], "--references", files[1], "--json")
    assert measured.returncode == 0, measured.stderr
    assert {"clev", "auc_binary"} <= {row["metric"] for row in json.loads(measured.stdout)}
    spec = f"tienet:sentences={tmp_path / 'out'}"
    shown = whyray(
        "explain",
        "examples/phantom.png",
        "-m",
        tmp_path / "out",
        "-x",
        "gradcam",
        "-x",
        spec,
        "-o",
        tmp_path / "e",
        "--json",
    )
    assert shown.returncode == 0, shown.stderr
    assert '"statement"' in shown.stdout


def test_a_text_autoencoder_is_trained_from_a_file_of_texts(tmp_path: Path) -> None:
    lines = [f"A shadow of {i} cm on the {'left' if i % 2 else 'right'}." for i in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(lines))
    (tmp_path / "plan.toml").write_text(
        'name = "tiny"\nvocabulary = 300\narchitecture = {width = 16, layers = 1, heads = 2}\n'
        f'loop = {{epochs = 1, batch = 8}}\n[[data]]\nname = "mine"\nspec = "{tmp_path}/texts.txt"\n'
    )
    made = whyray("train", "text-autoencoder", tmp_path / "plan.toml", "-o", tmp_path / "out", "--set", "masked=0.3")
    assert made.returncode == 0, made.stderr
    assert f"--set text={tmp_path / 'out'}" in made.stderr
    facts = json.loads((tmp_path / "out/artefact.json").read_text())["facts"]
    assert facts["provenance"]["plan"]["masked"] == 0.3 and facts["data"][0]["texts"] > 20
