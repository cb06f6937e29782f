"""Generators from a plan to an artefact: in-model and post-hoc, stopped and resumed, pairs, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import whyray
from whyray.errors import DataError, FingerprintError, SettingError, Stopped, UnmetNeed, WeightsError
from whyray.jobs.language import evaluate_language
from whyray.models._artefacts import artefact_folder
from whyray.models._narrators import KINDS, load_sentences
from whyray.networks.decoder import Decoder
from whyray.training._nle_measure import SIDES, ZONES, _named, _shuffled
from whyray.training._nle_pairs import LABELS, Pair, pairs_of, states_of
from whyray.training._nle_pretrained import fill
from whyray.training.artefact_card import artefact_page
from whyray.training.nle import NleTask, balance, forced, new_vision, plan_from, train_nle
from whyray.types import Case

SIZES = {"dpt": {"layers": 1, "heads": 2}, "ratchet": {"layers": 1, "heads": 2}, "tienet": {"hidden": 16}}


def table(network: str, **changes: Any) -> dict[str, Any]:
    """A plan of a few phantoms and a network of a few thousand numbers."""
    return {
        "name": "tiny",
        "data": [{"name": "phantom", "spec": "phantom:train=8,val=3,test=3"}],
        "architecture": {"network": network, "width": 16, **SIZES[network]},
        "vision": {"network": "densenet", "growth": 4, "blocks": [1, 1], "stem": 4},
        "loop": {"epochs": 2, "batch": 4, "keep": "best"},
        "size": 64,
        "stored": 72,
        "vocabulary": 300,
        **changes,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DPT with its classifier."""
    return train_nle(plan_from(table("dpt")), tmp_path_factory.mktemp("dpt"))


def test_a_generator_and_its_classifier_belong_together(trained: Path) -> None:
    classifier = whyray.load_model(trained)
    assert classifier.findings == LABELS
    whyray.testing.check_classifier(classifier)
    made = load_sentences(trained, "dpt", classifier.fingerprint)
    x = torch.rand(2, 1, 64, 64)
    logits, taps = classifier.run(x, ("features",))
    three = made.prediction(logits, taps["features"]).reshape(2, 10, 3)
    assert torch.allclose(three.sum(-1), torch.ones(2, 10), atol=1e-5)
    assert torch.allclose(1 - three[..., 0], logits.sigmoid(), atol=1e-4)  # the generator reads what is explained
    with pytest.raises(FingerprintError):
        load_sentences(trained, "dpt", "0" * 64)
    with pytest.raises(WeightsError):
        load_sentences(trained, "tienet", classifier.fingerprint)


def test_it_explains_and_is_measured(trained: Path) -> None:
    classifier, picture = whyray.load_model(trained), whyray.testing.sample_radiographs(1)[0]
    spec = f"dpt:sentences={trained},beams=2,longest=12,uncalled=true"
    found = whyray.explain(classifier, picture, findings=["pneumonia", "Pleural Other"], explainers=["gradcam", spec])
    statement = found["pneumonia", spec]
    assert isinstance(statement, whyray.Statement) and statement.text
    assert statement.evidence[0] == "pneumonia/gradcam" and statement.audience == "clinician"
    with pytest.raises(UnmetNeed, match="learned no sentence on pleural other"):
        found["pleural_other", spec]
    result = evaluate_language(trained / "generated.jsonl", trained / "references.jsonl", replicates=50)
    assert {"clev", "auc_binary"} <= {s.metric for s in result.scores} and not result.notes
    rows = json.loads((trained / "artefact.json").read_text())["facts"]["results"]
    assert {(r["metric"], r["writer"]) for r in rows} >= {("clev", "generated"), ("clev", "shuffled image")}


def test_a_stopped_run_goes_on_to_the_same_artefact(trained: Path, tmp_path: Path) -> None:
    plan = plan_from(table("dpt", loop={**table("dpt")["loop"], "save_s": 1e-4}))

    def stop(done: int, total: int, facts: str) -> None:
        if facts.startswith("epoch") and done == 2:
            raise Stopped("here")

    with pytest.raises(Stopped):
        train_nle(plan, tmp_path, stop)
    train_nle(plan, tmp_path)
    one, other = ((folder / "artefact.safetensors").read_bytes() for folder in (trained, tmp_path))
    assert one == other


def test_one_for_a_classifier_that_stays_as_it_is(tmp_path: Path) -> None:
    plan = plan_from(table("ratchet", classifier="mini", forcing="predictions", diagnoses=["edema", "nodule", "mass"]))
    mini = whyray.load_model("mini")
    folder = train_nle(plan, tmp_path / "out")
    assert not (folder / "model.json").exists()
    assert whyray.load_model("mini").fingerprint == mini.fingerprint
    made = load_sentences(folder, "ratchet", mini.fingerprint)
    assert set(made.diagnoses) == {"edema", "nodule", "mass"}
    other = train_nle(plan, tmp_path / "again", activations=folder / "cache/activations-train")
    tensors = [(place / "artefact.safetensors").read_bytes() for place in (folder, other)]
    assert tensors[0] == tensors[1]  # the same features, from a store that was there


def test_a_generator_for_lay_readers_is_one_of_its_own(tmp_path: Path) -> None:
    plan = plan_from(table("ratchet", classifier="mini", audience="lay", forcing="predictions"))
    folder, mini = train_nle(plan, tmp_path), whyray.load_model("mini")
    data = json.loads((folder / "artefact.json").read_text())
    assert data["kind"] == "sentences-ratchet-lay" and data["facts"]["audience"] == "lay"
    assert "- audience: lay" in artefact_page(data)
    assert not (folder / "references.jsonl").exists()  # its evidence is read by lay words, which that command has not
    rows = {(r["metric"], r["writer"]): r for r in data["facts"]["results"]}
    assert rows["clev", "constant sentence"]["n"] and rows["grade", "reference"]["value"] < 10
    assert "mass" in load_sentences(folder, "ratchet", mini.fingerprint, "lay").diagnoses
    with pytest.raises(WeightsError, match="holds no sentences-ratchet;"):
        load_sentences(folder, "ratchet", mini.fingerprint)
    picture, spec = whyray.testing.sample_radiographs(1)[0], f"ratchet:sentences={folder},longest=12,uncalled=true"
    made = whyray.explain(mini, picture, findings=["mass"], explainers=["gradcam", spec], audience="lay")
    assert made["mass", spec].audience == "lay"  # type: ignore[union-attr]


def test_a_network_that_no_generator_reads_is_refused() -> None:
    plan = plan_from(table("dpt", vision={"network": "resnet", "blocks": [1, 1], "stem": 4}))
    with pytest.raises(SettingError, match=r"vision\.network = 'resnet'; known: densenet"):
        new_vision(plan)


def test_what_a_clinician_wrote_is_not_taught_as_lay(tmp_path: Path) -> None:
    picture = whyray.testing.sample_radiographs(1)[0]
    told = Case("b", lambda: picture, {}, "p", report={"findings": "Left basal opacity may represent atelectasis."})
    silent = Case("c", lambda: picture, {}, "p", report={"findings": "No effusion."})
    with pytest.raises(DataError, match="b is explained in a clinician's words"):
        pairs_of([told], tmp_path, audience="lay")
    assert pairs_of([silent], tmp_path, audience="lay") == ()
    phantoms = whyray.load_dataset("phantom:train=1").cases("train")
    lay, clinician = (pairs_of(phantoms, tmp_path, audience=whom) for whom in ("lay", "clinician"))
    assert [p.diagnosis for p in lay] == [p.diagnosis for p in clinician]
    assert all(a.texts != b.texts for a, b in zip(lay, clinician, strict=True))


def test_the_generators_of_mini_differ_in_their_audience_alone() -> None:
    stages = tomllib.loads((Path(__file__).parents[2] / "recipes/mini.toml").read_text())["stage"]
    clinician, lay = plan_from(stages["sentences"]), plan_from(stages["sentences_lay"])
    assert dataclasses.replace(lay, name=clinician.name, audience="clinician") == clinician and lay.audience == "lay"


def test_places_are_read_in_the_words_of_the_audience() -> None:
    said = "A patch in the middle part of the right lung, right there."
    pair = Pair(0, "mass", (said,), "", "")
    texts = ["In the middle part of the right lung.", "In the lower part of the right lung."]
    assert _named(ZONES["lay"], texts, [pair, pair]).tolist() == [1, 0]
    assert _named(SIDES, texts, [pair, pair]).tolist() == [1, 1]
    assert np.isnan(_named(ZONES["clinician"], ["A dot."], [pair])).all()


def test_an_lstm_learns_its_sentences_by_heart(tmp_path: Path) -> None:
    changes = {"loop": {"epochs": 30, "batch": 2, "lr": 1e-2, "keep": "last", "every": 30, "ema": 0.0}}
    plan = plan_from(table("tienet", data=[{"name": "p", "spec": "phantom:train=2,val=2,test=2"}], **changes))
    task = NleTask(plan, None, tmp_path)
    torch.manual_seed(0)
    module = task.build()
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    losses = []
    for epoch in range(30):
        loss = task.loss(module, range(len(task.train.pairs)), epoch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_labels_take_the_place_of_predictions() -> None:
    states = torch.tensor([[2, 0, -1]])
    three = torch.full((1, 9), 1 / 3)
    assert forced(three, states).reshape(3, 3)[:2].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert torch.allclose(forced(three, states).reshape(3, 3)[2], torch.full((3,), 1 / 3))
    assert forced(torch.full((1, 3), 0.4), states)[0].tolist() == pytest.approx([1, 0, 0.4])


def test_rare_states_count_more() -> None:
    states = np.array([[0], [0], [0], [2], [-1]])
    weights = balance(states, 1.0)[0]
    assert float(weights[2] / weights[0]) == pytest.approx(3)
    assert float((3 * weights[0] + weights[2]) / 4) == pytest.approx(1)
    assert balance(states, 0.0).eq(1).all()


def test_pairs_come_from_lines_phantoms_and_reports(tmp_path: Path) -> None:
    picture = whyray.testing.sample_radiographs(1)[0]
    label = [int(name == "pneumonia") for name in LABELS]
    states = [[1 - on, on, 0] for on in label]
    line = {"nle": "Opacity may be pneumonia.", "diagnosis_label": label, "img_labels": states, "sentence_ID": "s1#0"}
    told = "Left basal opacity may represent atelectasis. No effusion."
    cases = [
        Case("a", lambda: picture, {"pneumonia": np.nan}, "p1", facts={"nles": (line,), "uncertain": ("pneumonia",)}),
        Case("b", lambda: picture, {"atelectasis": 1.0}, "p2", report={"findings": told}),
        *whyray.load_dataset("phantom:train=1").cases("train"),
    ]
    pairs = pairs_of(cases, tmp_path)
    assert [(p.case, p.diagnosis) for p in pairs[:2]] == [(0, "pneumonia"), (1, "atelectasis")]
    assert {p.case for p in pairs[2:]} <= {2} and all(len(p.texts) > 1 for p in pairs[2:])
    assert pairs_of(cases, tmp_path) == pairs  # what was planted is read from the cache
    assert states_of(cases, pairs, ("pneumonia", "atelectasis")).tolist()[:2] == [[1, -1], [-1, 1]]


def test_a_shuffled_image_has_the_same_diagnosis() -> None:
    pairs = [Pair(i, d, ("",), "", "") for i, d in enumerate(["edema", "mass", "edema", "edema"])]
    assert _shuffled(pairs) == [2, 1, 3, 0]


def test_published_weights_fit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = Decoder(20, width=8, layers=1, heads=2, context=6)
    tensors = {f"transformer.{k}": v for k, v in theirs.state_dict().items()}
    for key in [k for k in tensors if k.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))]:
        tensors[key] = tensors[key].T.contiguous()
    save_file(tensors, tmp_path / "model.safetensors")
    mine = torch.nn.Module()
    mine.decoder = Decoder(22, width=8, layers=1, heads=2, context=9, cross=True)
    fill(mine, str(tmp_path))
    assert torch.equal(mine.decoder.h[0].attn.c_attn.weight, theirs.h[0].attn.c_attn.weight)
    assert torch.equal(mine.decoder.wte.weight[:20], theirs.wte.weight)
    mine.decoder = Decoder(22, width=16, layers=1, heads=2)
    with pytest.raises(WeightsError, match="not"):
        fill(mine, str(tmp_path))
    mine.decoder = None
    with pytest.raises(WeightsError, match="LSTM"):
        fill(mine, str(tmp_path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": []}, "at least one data set"),
        ({"vocabulary": 10}, "258 or more"),
        ({"classifier": "mini", "init": "somewhere"}, "leave out init"),
        ({"forcing": "nothing"}, "forcing"),
        ({"audience": "friend"}, "audience"),
        ({"architektur": {}}, "did you mean architecture"),
    ],
)
def test_a_plan_that_cannot_be_is_said(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        plan_from({**table("dpt"), **change})


def test_without_a_generator_the_way_out_is_said() -> None:
    with pytest.raises(UnmetNeed, match="whyray train nle"):
        artefact_folder(KINDS["tienet", "clinician"], whyray.load_model("mini"))
    with pytest.raises(UnmetNeed, match="audience=lay"):
        artefact_folder(KINDS["tienet", "lay"], whyray.load_model("mini"))
