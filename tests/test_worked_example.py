"""Every command of docs/counterfactuals.md, in its order, on a phantom and with a classifier of one's own."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from whyray.cli import main
from whyray.datasets.phantom import phantom
from whyray.models import mini

PAGE = Path(__file__).parents[1] / "docs" / "counterfactuals.md"
TINY = {"network": "small", "widths": [4, 8, 8], "latent": 4}
SMALL = [
    "size=64",
    "sizes=[32]",
    "stored=72",
    "loop.epochs=1",
    "loop.batch=4",
    *(f"architecture.{k}={v}" for k, v in TINY.items()),
]
SHORT = {  # what the test adds to a command of the page, so that it takes seconds
    "train autoencoder": [w for key in SMALL for w in ("--set", key)],
    "evaluate counterfactual": ["--limit", "13", "--few", "0"],  # the thirteenth has a large heart
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


COMMANDS = [shlex.split(re.sub(r"\s#.*", "", line))[1:] for block in blocks("console") for line in block.splitlines()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the page has it: my.png, my-model (a copy of mini), my-pictures without labels, plan.toml."""
    folder = tmp_path_factory.mktemp("desk")
    Image.fromarray((phantom(2_000_044).pixels * 255).round().astype("uint8")).save(folder / "my.png")
    weights = Path(mini.__file__).parent / "weights"
    (folder / "my-model").mkdir()
    shutil.copy(weights / "mini.json", folder / "my-model" / "model.json")
    shutil.copy(weights / "mini.safetensors", folder / "my-model")
    (folder / "my-pictures").mkdir()
    with open(folder / "my-pictures" / "images.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image_id", "file", "split"])
        for i, split in enumerate(["train"] * 8 + ["val"] * 4 + ["test"] * 4):
            pixels = (phantom(i, size=72).pixels * 255).round().astype("uint8")
            Image.fromarray(pixels).save(folder / "my-pictures" / f"{i}.png")
            rows.writerow([i, f"{i}.png", split])
    (folder / "plan.toml").write_text(blocks("toml")[0], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHYRAY_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("words", COMMANDS, ids=[f"{i}-{' '.join(w[:2])}" for i, w in enumerate(COMMANDS)])
def test_the_commands_run_in_their_order(desk: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words, *SHORT.get(" ".join(words[:2]), [])])
    assert not stop.value.code
    if words[0] == "explain":
        (folder,) = (desk / words[words.index("-o") + 1]).glob("my-*")
        record = json.loads((folder / "explanation.json").read_text())
        (finding,) = (f for f in record["findings"] if f["explanations"])
        assert not any(e["skipped"] for e in finding["explanations"]), finding["explanations"]
        kind = words[words.index("--animation") + 1] if "--animation" in words else "webp"
        assert len(list(folder.glob(f"pleural_effusion-latent_shift*.{kind}"))) == 1


def test_the_files_that_the_page_lists_are_there(desk: Path) -> None:
    with pytest.raises(SystemExit):
        main([*COMMANDS[0][:-1], "listed"])
    (folder,) = (desk / "listed").glob("my-*")
    listed = re.findall(r"^\| `([\w.-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) == 5
    for name in listed:
        assert (folder / name).is_file(), name


def test_the_reasons_and_badges_are_those_of_the_code() -> None:
    from whyray.explainers._latent_path import FIDELITY, REASONS

    text = PAGE.read_text(encoding="utf-8")
    for stop, words in REASONS.items():
        assert re.search(rf"^\| {re.escape(words)} \| `{stop}` \|", text, re.MULTILINE), stop
    assert f"below {FIDELITY:g} or above {1 / FIDELITY:.1f} times" in text
