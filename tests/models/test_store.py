"""Bundles: written whole, read back exactly, and refused where a part does not belong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from whyray.cards import Card, Operation, Preparation
from whyray.errors import UnknownName, WeightsError
from whyray.models import mini
from whyray.models._familiar import distance, fit_unfamiliar
from whyray.models._predict import chosen_columns, predictions, sigmoid
from whyray.models._resolve import load_model, published
from whyray.models._store import Config, load_bundle, save_bundle
from whyray.models._torch import TorchClassifier
from whyray.networks.densenet import DenseNet
from whyray.networks.resnet import ResNet

DENSE = {"network": "densenet", "growth": 4, "blocks": [2, 2], "stem": 8}
CARD = Card(name="tiny", preparation=Preparation(size=(48, 48)), operations={"mass": Operation(2.0, -1.0, 0.1, 0.3)})


@pytest.fixture
def module() -> DenseNet:
    torch.manual_seed(0)
    return DenseNet(3, growth=4, blocks=(2, 2), stem=8).train()


@pytest.fixture
def folder(module: DenseNet, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "new" / "model.json", module, Config(DENSE, ("Mass", "", "Edema"), extras()), CARD)
    return tmp_path / "new"


def extras() -> dict[str, torch.Tensor]:
    mean, whitening = fit_unfamiliar(torch.rand(50, 16, generator=torch.Generator().manual_seed(0)))
    return {"unfamiliar.mean": mean, "unfamiliar.whitening": whitening}


def test_a_bundle_comes_back_exactly(module: DenseNet, folder: Path) -> None:
    assert module.training and all(p.requires_grad for p in module.parameters())
    classifier = load_model(folder)
    assert isinstance(classifier, TorchClassifier)
    x = torch.rand(2, 1, 48, 48)
    wanted = module.eval()(x)[:, [0, 2]]
    assert torch.allclose(classifier.logits(x), wanted, atol=1e-6)
    assert classifier.findings == ("mass", "edema") and classifier.card == CARD
    assert classifier.taps == {"features": "last_relu", "embedding": "input of classifier"}
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert load_model(folder / "model.json").fingerprint == classifier.fingerprint
    for tap, value in classifier.run(x, ("features", "embedding"))[1].items():
        assert torch.allclose(classifier.head(tap, value), wanted, atol=1e-5)


def test_calibration_is_not_part_of_the_fingerprint(module: DenseNet, tmp_path: Path) -> None:
    config = Config(DENSE, ("mass", "nodule", "edema"))
    first = save_bundle(tmp_path / "a.json", module, config, CARD)
    other = save_bundle(tmp_path / "b.json", module, config, Card(name="b", preparation=CARD.preparation))
    moved = save_bundle(tmp_path / "c.json", module, config, Card(name="c", preparation=Preparation(size=(64, 64))))
    assert first.fingerprint == other.fingerprint != moved.fingerprint


@pytest.mark.parametrize(
    ("further", "shape"), [({}, (1, 64, 6, 6)), ({"expansion": 1, "stride": 2, "surround": [5, 9]}, (1, 16, 12, 12))]
)
def test_resnet_bundle(further: dict[str, Any], shape: tuple[int, ...], tmp_path: Path) -> None:
    settings = {"network": "resnet", "blocks": [1, 1], "stem": 8, **further}
    module = ResNet(1, blocks=(1, 1), stem=8, **further)
    save_bundle(tmp_path / "model.json", module, Config(settings, ("mass",)), CARD)
    classifier = load_bundle(tmp_path)
    logits, taps = classifier.run(torch.rand(1, 1, 48, 48), ("features",))
    assert taps["features"].shape == shape
    assert torch.allclose(classifier.head("features", taps["features"]), logits, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"expansion": 2}, {"stride": 3}, {"surround": [4]}, {"surround": 5}])
def test_a_resnet_that_cannot_be_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    settings = {"network": "resnet", "blocks": [1, 1], "stem": 8}
    save_bundle(tmp_path / "model.json", ResNet(1, blocks=(1, 1), stem=8), Config(settings, ("mass",)), CARD)
    edited(lambda d: d["architecture"].update(wrong))(tmp_path)
    with pytest.raises(WeightsError, match="architecture"):
        load_bundle(tmp_path)


def test_a_network_that_is_not_the_one_declared(module: DenseNet, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="network to be saved does not fit"):
        save_bundle(tmp_path / "model.json", module, Config({**DENSE, "blocks": [2, 3]}, ("a", "b", "c")), CARD)
    assert not list(tmp_path.iterdir())


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        data = json.loads((folder / "model.json").read_text())
        change(data)
        (folder / "model.json").write_text(json.dumps(data))

    return do


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "model.json").unlink(), "no model card"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot be read"),
        (lambda f: (f / "model.json").write_text("{"), "not a model card"),
        (lambda f: (f / "model.json").write_text("[" * 100_000), "not a model card"),
        (edited(lambda d: d.pop("findings")), "not a model card"),
        (edited(lambda d: d.update(format="whyray-model/9")), "not a model card"),
        (edited(lambda d: d["weights"].update(file="../model.safetensors")), "not a model card"),
        (edited(lambda d: d["weights"].update(sha256="0" * 64)), "sha256"),
        (edited(lambda d: d["findings"].reverse()), "fingerprint"),
        (edited(lambda d: d["card"]["preparation"].update(low=-1.0)), "fingerprint"),
        (edited(lambda d: d["known_answer"].__setitem__(0, 9.0)), "known answer"),
        (edited(lambda d: d.update(known_answer=["x"])), "known answer"),
        (edited(lambda d: d["card"].update(colour="red")), "unknown field"),
        (edited(lambda d: d["architecture"].update(network="os.system")), "network"),
        (edited(lambda d: d["architecture"].update(growth=10**9)), "growth"),
        (edited(lambda d: d["architecture"].update(blocks=[300])), "256"),
        (edited(lambda d: d["architecture"].update(blocks=[2, 3])), "does not fit"),
        (edited(lambda d: d["architecture"].update(trust=True)), "trust"),
    ],
)
def test_damaged_bundles_are_refused(damage: Callable[[Path], None], says: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(WeightsError, match=says):
        load_bundle(folder)


def test_far_inputs_are_far() -> None:
    generator = torch.Generator().manual_seed(1)
    near = torch.randn(400, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    mean, whitening = fit_unfamiliar(near)
    typical = distance(near, mean, whitening)
    assert typical.square().mean() == pytest.approx(1, rel=1e-4)
    far = distance(near.mean(0) + 100 * torch.eye(6), mean, whitening)
    assert far.min() > 3 * typical.max()


def test_unfamiliarity_of_a_bundle(folder: Path) -> None:
    classifier = load_model(folder)
    distances = classifier.unfamiliarity(torch.cat([torch.rand(1, 1, 48, 48), torch.full((1, 1, 48, 48), 50.0)]))
    assert distances is not None and distances.shape == (2,) and distances[1] > 5 * distances[0]
    assert load_model("analytic").unfamiliarity(torch.zeros(1, 1, 128, 128)) is None


def test_mini_is_bundled_or_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mini, "CARD", tmp_path / "mini.json")
    with pytest.raises(WeightsError, match="bundled weights"):
        mini.load()
    with pytest.raises(UnknownName):
        mini.load("maxi")


def test_predictions_are_three_different_numbers() -> None:
    rows = predictions(np.array([[0.5, -800.0]]), ("mass", "edema"), CARD)
    mass, edema = rows[0]
    assert (mass.logit, mass.threshold, mass.prevalence, mass.calibrated) == (0.5, 0.3, 0.1, True)
    assert mass.probability == pytest.approx(0.5) and mass.positive
    assert edema.probability == 0 and not edema.calibrated and edema.threshold is None
    assert sigmoid(2) == pytest.approx(1 / (1 + np.exp(-2)))


def test_columns() -> None:
    assert chosen_columns(["Effusion", "", "Mass"]) == ((0, 2), ("pleural_effusion", "mass"))
    assert chosen_columns(["Effusion"]) == (None, ("pleural_effusion",))


def test_published_models_are_listed() -> None:
    lines = published()
    assert "NIH" in lines["xrv:densenet121-res224-nih"] and len(lines) == 9
