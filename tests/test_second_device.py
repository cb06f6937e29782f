"""What works on the CPU works on another device too; where no GPU is, on a pretended one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPLAINERS = ("gradcam", "gradient:samples=2", "guided_backprop", "integrated_gradients:steps=8", "patterns")
SPEAK = ("template", "ratchet")
PHANTOMS = '[[data]]\nname = "phantom"\nspec = "phantom:train=6,val=4,test=4,size=64"\n'
PLANS = {
    "classifier": 'name = "tiny"\nfindings = ["pleural_effusion", "cardiomegaly"]\nsize = 48\nstored = 54\n'
    'architecture = {network = "densenet", growth = 4, blocks = [1, 1], stem = 8}\n'
    'loop = {epochs = 1, batch = 8, device = "pretend"}\n' + PHANTOMS,
    "autoencoder": 'name = "tiny"\nclassifier = "mini"\nsize = 64\nstored = 72\n'
    'architecture = {network = "small", widths = [4, 8, 8], latent = 4}\n'
    'loop = {epochs = 1, batch = 4, device = "pretend"}\n' + PHANTOMS,
    "nle": 'name = "tiny"\nsize = 64\nstored = 72\nvocabulary = 300\narchitecture = {network = "ratchet", width = 16}\n'
    'vision = {network = "densenet", growth = 4, blocks = [1, 1], stem = 4}\nforcing = "labels"\n'
    'loop = {epochs = 1, batch = 4, keep = "best", device = "pretend"}\n' + PHANTOMS,
}
TEXT = (
    'name = "tiny"\nvocabulary = 300\narchitecture = {width = 16, layers = 1, heads = 2}\n'
    'validated = 4\ntested = 4\nloop = {epochs = 1, batch = 8, device = "pretend"}\n'
    '[[data]]\nname = "grammar"\nspec = "phantom:clinician"\ncopies = 16\n'
)


def pretended(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line where "pretend" is a device."""
    command = [sys.executable, str(ROOT / "tests/second_device.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_two_devices_do_not_meet() -> None:
    code = (
        "import torch; from second_device import SecondDevice\n"
        "with SecondDevice():\n"
        "    there = torch.ones(3).to('pretend')\n"
        "    assert (there * 2).cpu().tolist() == [2, 2, 2] and (there + torch.tensor(1)).device.type == 'pretend'\n"
        "    there + torch.ones(3)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests")
    assert ran.returncode == 1 and "two devices meet in aten.add.Tensor: pretend:0 and cpu" in ran.stderr


def test_explanations_are_those_of_the_cpu(tmp_path: Path) -> None:
    words = ["explain", "examples/phantom.png", "-f", "pleural_effusion"]
    words += [w for x in (*EXPLAINERS, *SPEAK) for w in ("-x", x)]
    there = pretended(*words, "-o", tmp_path / "there", "--device", "pretend", "--json")
    assert there.returncode == 0, there.stderr
    (record,) = json.loads(there.stdout)
    made = [e for finding in record["findings"] for e in finding["explanations"]]
    assert len(made) == len(EXPLAINERS) + len(SPEAK) and not [e["skipped"] for e in made if e["skipped"]]
    here = subprocess.run(
        [sys.executable, "-m", "whyray", *words, "-o", str(tmp_path / "here")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert here.returncode == 0, here.stderr
    maps = sorted(p.name for p in (tmp_path / "here").glob("*/*.npz"))
    assert len(maps) == len(EXPLAINERS)
    for name in maps:
        one, other = (np.load(next((tmp_path / where).glob(f"*/{name}"))) for where in ("here", "there"))
        for key in one.files:
            if one[key].dtype.kind == "f":
                gap = np.linalg.norm(other[key] - one[key]) / np.linalg.norm(one[key])
                assert gap < 1e-3, (name, key, gap)  # a ReLU near 0 may go either way


@pytest.mark.parametrize("what", sorted(PLANS))
def test_what_is_trained_there_is_written_for_all_devices(what: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLANS[what])
    made = pretended("train", what, tmp_path / "plan.toml", "-o", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "out").glob("*.safetensors"))


def test_sentences_without_pairs_are_learned_there(tmp_path: Path) -> None:
    (tmp_path / "text.toml").write_text(TEXT)
    text = pretended("train", "text-autoencoder", tmp_path / "text.toml", "-o", tmp_path / "text")
    assert text.returncode == 0, text.stderr
    (tmp_path / "plan.toml").write_text(
        f'name = "tiny"\nclassifier = "mini"\ntext = "{tmp_path}/text"\ndiagnoses = ["edema", "nodule"]\n'
        'examples = 2\nleast = 2\nthrough = "words"\nmatched = 0.5\nqueue = 4\njoint = true\n'
        'corpus = ["database:lay"]\nterms = {side = true, severity = true}\npictures = {widths = [8, 8], start = 4}\n'
        'adapter = {adapter = "llama", side = 2, tokens = 2, blocks = 1, heads = 2}\n'
        'loop = {epochs = 1, batch = 3, device = "pretend"}\n' + PHANTOMS
    )
    made = pretended("train", "wenlex", tmp_path / "plan.toml", "-o", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "out/artefact.safetensors").is_file()
