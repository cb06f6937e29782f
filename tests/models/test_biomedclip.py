"""BiomedCLIP's image tower: equal to open_clip's, cut at its taps, saved and loaded as a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_folder import PROJECTION, image_tower_of_open_clip, write_release
from torch import Tensor, nn

import whyray
from whyray.errors import SettingError, WeightsError
from whyray.io.weights import save_weights
from whyray.models._resolve import load_model
from whyray.models._store import Config, load_bundle, save_bundle
from whyray.models._torch import TorchClassifier
from whyray.models.biomedclip import HUB, image_tower
from whyray.testing import check_classifier

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
HIDDEN = 16


@pytest.fixture(scope="module")
def official() -> nn.Module:
    return image_tower_of_open_clip()


@pytest.fixture(scope="module")
def release(official: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("clip") / "BiomedCLIP", official)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a random head, its five columns far apart."""
    folder = tmp_path_factory.mktemp("head")
    draw = torch.Generator().manual_seed(1)
    shapes = {"fc1.weight": (HIDDEN, PROJECTION), "fc1.bias": (HIDDEN,), "fc2.weight": (5, HIDDEN), "fc2.bias": (5,)}
    save_weights(folder / "head.safetensors", {k: torch.randn(s, generator=draw) for k, s in shapes.items()})
    (folder / "card.json").write_text(json.dumps({"findings": FINDINGS, "licence": "MIT"}))
    return {"weights": folder / "head.safetensors", "card": folder / "card.json"}


@pytest.fixture(scope="module")
def classifier(release: Path, head: dict[str, Path]) -> TorchClassifier:
    made = load_model(f"biomedclip:{release}", **head)
    assert isinstance(made, TorchClassifier)
    return made


def pictures(n: int = 2) -> Tensor:
    return torch.randn(n, 3, 224, 224, generator=torch.Generator().manual_seed(2))


def test_the_embedding_is_open_clips(classifier: TorchClassifier, official: nn.Module) -> None:
    with torch.no_grad():
        wanted = nn.functional.normalize(official(pictures()), dim=-1)
        _, seen = classifier.run(pictures(), ("embedding",))
    assert seen["embedding"].shape == (2, PROJECTION)
    assert torch.allclose(seen["embedding"], wanted, atol=2e-6)


def test_the_contract_and_the_preparation_of_the_release(classifier: TorchClassifier) -> None:
    check_classifier(classifier)
    assert classifier.findings == ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
    assert classifier.card.preparation.size == (224, 224) and classifier.card.preparation.mean == (0.48, 0.46, 0.41)


def test_taps_and_where_the_network_can_be_cut(classifier: TorchClassifier) -> None:
    with torch.no_grad():
        logits, seen = classifier.run(pictures(), ("features", "embedding", "hidden"))
        assert seen["features"].shape == (2, 192, 14, 14) and seen["hidden"].shape == (2, HIDDEN)
        assert float(seen["hidden"].min()) == 0.0
        for tap in ("embedding", "hidden"):
            assert torch.allclose(classifier.head(tap, seen[tap]), logits, atol=1e-6)
        fc1 = classifier.module.get_submodule("head.fc1")
        assert torch.allclose(fc1(seen["embedding"]).relu(), seen["hidden"], atol=1e-6)


def test_the_patches_of_the_features_reach_the_logits(classifier: TorchClassifier) -> None:
    logits, seen = classifier.run(pictures(1), ("features",))
    (gradient,) = torch.autograd.grad(logits[0, 0], seen["features"])
    assert float((gradient.abs().sum(1) > 0).float().mean()) == 1.0


def test_explainers_read_it_as_any_other(classifier: TorchClassifier) -> None:
    picture = whyray.testing.sample_radiographs(1)[0]
    made = whyray.explain(classifier, picture, findings=["edema"], explainers=["gradcam", "gradient"])
    shapes = {name: made["edema", name].values.shape for name in ("gradcam", "gradient")}
    assert shapes == {"gradcam": (14, 14), "gradient": (224, 224)}
    assert all(np.abs(made["edema", name].values).max() > 0 for name in shapes)


def test_a_binary_release_is_the_same(classifier: TorchClassifier, official: nn.Module, head, tmp_path: Path) -> None:
    again = load_model(f"biomedclip:{write_release(tmp_path / 'bin', official, binary=True)}", **head)
    assert again.fingerprint == classifier.fingerprint


def test_as_a_bundle_it_needs_no_release(classifier: TorchClassifier, tmp_path: Path) -> None:
    config = Config(json.loads(classifier.architecture), FINDINGS)
    save_bundle(tmp_path / "model.json", classifier.module, config, classifier.card)
    again = load_bundle(tmp_path)
    assert again.fingerprint == classifier.fingerprint and set(again.taps) == {"features", "embedding", "hidden"}
    assert torch.allclose(again.logits(pictures()), classifier.logits(pictures()), atol=1e-6)


def test_without_a_head_it_says_what_to_do(release: Path) -> None:
    with pytest.raises(SettingError, match="tower = FOLDER in the plan"):
        load_model(f"biomedclip:{release}")
    with pytest.raises(SettingError, match="hf download"):
        load_model("biomedclip")


def test_nothing_is_downloaded() -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(SettingError, match="hf download whyray-tests/there-is-none"):
        image_tower("hf-hub:whyray-tests/there-is-none")
    assert HUB.startswith("hf-hub:microsoft/BiomedCLIP")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "open_clip_config.json").unlink(), "has no open_clip_config"),
        (lambda root: (root / "open_clip_config.json").write_text("[]"), "is not open_clip's"),
        (lambda root: (root / "open_clip_model.safetensors").unlink(), "holds neither"),
        (lambda root: save_weights(root / "open_clip_model.safetensors", {"a": torch.ones(1)}), "no image tower"),
    ],
)
def test_other_folders_are_refused(change, message: str, official: nn.Module, tmp_path: Path) -> None:
    write_release(tmp_path, official)
    change(tmp_path)
    with pytest.raises(WeightsError, match=message):
        image_tower(str(tmp_path))


def test_another_kind_of_tower_is_refused(official: nn.Module, tmp_path: Path) -> None:
    write_release(tmp_path, official)
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "convnext_base"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="a plain ViT is wanted"):
        image_tower(str(tmp_path))


def test_a_head_that_does_not_fit_is_refused(release: Path, head: dict[str, Path], tmp_path: Path) -> None:
    save_weights(tmp_path / "none.safetensors", {"a": torch.ones(1)})
    with pytest.raises(WeightsError, match="a head is"):
        load_model(f"biomedclip:{release}", weights=tmp_path / "none.safetensors", card=head["card"])
