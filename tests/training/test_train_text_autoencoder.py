"""Text autoencoders from a plan to an artefact: texts and their splits, learning, stopping, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import whyray.api
from whyray.errors import DataError, SettingError, Stopped
from whyray.metrics._overlap import bleu_terms
from whyray.models._text_autoencoders import load_coder
from whyray.text.nle_database import mirrored
from whyray.training._text_corpora import split_of, texts_of
from whyray.training._text_measure import Held, measured, rebuilt
from whyray.training._text_plan import TextSource
from whyray.training.text_autoencoder import TextTask, load_plan, plan_from, train_text_autoencoder

RECIPE = Path(__file__).parents[2] / "recipes/mini.toml"


def table(**changes: Any) -> dict[str, Any]:
    """A plan of a few sentences and a network of a few thousand numbers."""
    return {
        "name": "tiny",
        "data": [{"name": "grammar", "spec": "phantom:clinician", "copies": 24}],
        "architecture": {"width": 16, "layers": 1, "heads": 2, "longest": 96},
        "loop": {"epochs": 2, "batch": 8, "keep": "best"},
        "vocabulary": 300,
        "validated": 4,
        "tested": 4,
        **changes,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_text_autoencoder(plan_from(table()), tmp_path_factory.mktemp("text"))


def test_an_artefact_says_what_it_was_taught_and_how_well_it_does(trained: Path) -> None:
    coder = load_coder(trained)
    facts = coder.facts
    assert facts["data"][0]["texts"] == 24 and len(facts["provenance"]["history"]) == 2
    rows = {(r["data"], r["metric"]): r for r in facts["results"]}
    assert set(rows) == {(d, m) for d in ("grammar", "grammar, known phrases", "all") for m in ("bleu_4", "equal")}
    assert all(
        r["n"] == (8 if r["data"] == "all" else 4) and 0 <= r["low"] <= r["value"] <= r["high"] <= 1
        for r in rows.values()
    )
    assert len(coder.texts(coder.encoded(["A small effusion."]))) == 1


def test_a_stopped_run_goes_on_to_the_same_artefact(trained: Path, tmp_path: Path) -> None:
    plan = plan_from(table(loop={**table()["loop"], "save_s": 1e-4}))

    def stop(done: int, total: int, facts: str) -> None:
        if facts.startswith("epoch") and done == 2:
            raise Stopped("here")

    with pytest.raises(Stopped):
        train_text_autoencoder(plan, tmp_path, stop)
    train_text_autoencoder(plan, tmp_path)
    one, other = ((folder / "artefact.safetensors").read_bytes() for folder in (trained, tmp_path))
    assert one == other


def test_it_learns_its_sentences_by_heart() -> None:
    changes = {"data": [{"name": "g", "spec": "phantom:clinician", "copies": 4}], "masked": 0.0, "smoothing": 0.0}
    task = TextTask(plan_from(table(**changes, architecture={**table()["architecture"], "width": 32, "dropout": 0.0})))
    torch.manual_seed(0)
    module = task.build()
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for epoch in range(80):
        loss = task.loss(module, range(len(task.texts)), epoch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.2
    assert rebuilt(task.coder(module.eval()), task.texts) == list(task.texts)


def test_the_loss_is_the_smoothed_cross_entropy_of_each_token_behind_its_text() -> None:
    task = TextTask(
        plan_from(table(masked=0.0, smoothing=0.1, architecture={**table()["architecture"], "dropout": 0.0}))
    )
    module = task.build().eval().requires_grad_(False)
    values = []
    for text in task.texts[:3]:
        tokens = task.tokenizer.encode(text)
        read = torch.tensor([[task.tokenizer.start, *tokens, task.tokenizer.bar]])
        z = module.encode(read, torch.ones_like(read, dtype=torch.bool))
        logp = module.decode(torch.tensor([[task.tokenizer.start, *tokens]]), z)[0].log_softmax(-1)
        for row, wanted in zip(logp, [*tokens, task.tokenizer.end], strict=True):
            values.append(-0.9 * float(row[wanted]) - 0.1 * float(row.mean()))
    assert float(task.loss(module, [0, 1, 2], 0)) == pytest.approx(math.fsum(values) / len(values), abs=1e-4)


def test_tokens_are_hidden_in_the_input_alone_and_words_are_changed_in_both() -> None:
    task = TextTask(plan_from(table(masked=0.5, swapped=0.5)))
    pairs = [task._changed(text, np.random.default_rng(i)) for i, text in enumerate(task.texts)]
    hidden = [h == task.tokenizer.blank for _, read in pairs for h in read]
    assert 0.4 < sum(hidden) / len(hidden) < 0.6
    assert all(t == r for tokens, read in pairs for t, r in zip(tokens, read, strict=True) if r != task.tokenizer.blank)
    changed = [task.tokenizer.decode(tokens).split() for tokens, _ in pairs]
    kept = [a == b for told, text in zip(changed, task.texts) for a, b in zip(told, text.split(), strict=True)]
    assert 0.4 < sum(kept) / len(kept) < 0.65
    assert {word for told in changed for word in told} <= set(task.words)


def test_a_crossed_text_begins_as_one_and_ends_as_another() -> None:
    task = TextTask(plan_from(table(crossed=0.99)))
    ends = {text.split()[-1] for text in task.texts}
    told = [task.tokenizer.decode(task._changed(t, np.random.default_rng(i))[0]) for i, t in enumerate(task.texts)]
    assert sum(a != b for a, b in zip(told, task.texts)) > 12
    assert all(a.split()[0] == b.split()[0] and a.split()[-1] in ends for a, b in zip(told, task.texts))


def test_splits_do_not_meet_and_a_text_stays_with_its_mirror() -> None:
    source = TextSource("database:clinician", "d", mirrored=True)
    parts = {split: set(texts_of(source, split)) for split in ("train", "val", "test")}
    whole = set().union(*parts.values())
    assert sum(map(len, parts.values())) == len(whole) and len(parts["train"]) > 0.7 * len(whole)
    for split, texts in parts.items():
        assert {mirrored(text) for text in texts} == texts and all(split_of(text) == split for text in texts)
    grammar = TextSource("phantom:lay", "g", copies=400)
    seen = [set(texts_of(grammar, split)) for split in ("train", "val", "known", "test")]
    assert all(seen) and all(not a & b for a, b in itertools.combinations(seen, 2))


def test_what_is_only_measured_is_not_learned(tmp_path: Path) -> None:
    only = {"name": "rules", "spec": "rules", "learns": False, "draws": 9}
    plan = plan_from(table(data=[only, *table()["data"]]))
    assert TextTask(plan).texts == TextTask(plan_from(table())).texts
    facts = load_coder(train_text_autoencoder(plan, tmp_path)).facts
    assert [source["texts"] for source in facts["data"]] == [0, 24]
    assert {row["data"] for row in facts["results"]} == {"rules", "grammar", "grammar, known phrases", "all"}


def test_texts_come_from_files_and_from_rules(tmp_path: Path) -> None:
    lines = [f"Sentence number {i} on the left." for i in range(60)]
    (tmp_path / "a.txt").write_text("\n".join([*lines, "", lines[0]]))
    (tmp_path / "a.csv").write_text("diagnosis,nle\n" + "".join(f"edema,{line}\n" for line in lines))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    found = [texts_of(TextSource(str(tmp_path / f"a.{end}"), "f"), "train") for end in ("txt", "csv", "jsonl")]
    assert found[0] == found[1] == found[2] and set(found[0]) < set(lines)
    rules = texts_of(TextSource("rules", "r"), "train")
    assert len(rules) > 150 and not any("[" in text for text in rules)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("phantom:child", SettingError, "phantom:clinician or phantom:lay"),
        ("database:", SettingError, "database:clinician"),
        ("/nowhere/a.txt", DataError, "cannot be read"),
        ("a.csv", DataError, "with nle or text"),
        ("b.txt", DataError, "no texts for the train split"),
    ],
)
def test_texts_that_cannot_be_are_said(spec: str, error: type[Exception], says: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("diagnosis,sentence\nedema,Nothing.\n")
    (tmp_path / "b.txt").write_text("\n")
    spec = str(tmp_path / spec) if spec in ("a.csv", "b.txt") else spec
    with pytest.raises(error, match=says):
        texts_of(TextSource(spec, "x"), "train")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": []}, "at least one set"),
        ({"data": [{"name": "a", "spec": "rules", "learns": False}]}, "that it learns from"),
        ({"data": [{"name": "a", "spec": "rules"}] * 2}, "name them apart"),
        ({"masked": 1.0}, "from 0 to below 1"),
        ({"vocabulary": 10}, "258 or more"),
        ({"noise": -1.0}, "noise is 0 or more"),
        ({"encodr": "x"}, "did you mean encoder"),
    ],
)
def test_a_plan_that_cannot_be_is_said(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        plan_from({**table(), **change})


def test_measures_are_those_of_the_texts_together(trained: Path) -> None:
    coder = load_coder(trained)
    held = [Held("a", ("One left.", "Two.")), Held("b", ("Three at the base.",))]
    rows = {(r["data"], r["metric"]): r for r in measured(coder, held)}
    assert rows["a", "equal"]["n"] == 2 and rows["all", "bleu_4"]["n"] == 3
    wanted = [text for part in held for text in part.texts]
    bleu = next(t for t in bleu_terms(rebuilt(coder, wanted), wanted) if t.name == "bleu_4")
    assert rows["all", "bleu_4"]["value"] == pytest.approx(float(bleu.measure(torch.ones(1, 3).numpy())[0]))


def test_the_stage_of_a_recipe_and_a_plan_are_the_same_run(trained: Path, tmp_path: Path) -> None:
    assert load_plan(RECIPE).name == "mini-text"
    (tmp_path / "recipe.toml").write_text(
        '[stage.text]\nname = "tiny"\nvocabulary = 300\nvalidated = 4\ntested = 4\n'
        "architecture = {width = 16, layers = 1, heads = 2, longest = 96}\n"
        'loop = {epochs = 2, batch = 8, keep = "best"}\n'
        '[[stage.text.data]]\nname = "grammar"\nspec = "phantom:clinician"\ncopies = 24\n'
    )
    assert load_plan(tmp_path / "recipe.toml") == plan_from(table())
    made = [
        whyray.api.train_text_autoencoder(tmp_path / "recipe.toml", tmp_path / "alone"),
        whyray.api.run_recipe(tmp_path / "recipe.toml", tmp_path / "stack")["text"],
    ]
    wanted = (trained / "artefact.safetensors").read_bytes()
    assert all((folder / "artefact.safetensors").read_bytes() == wanted for folder in made)
