"""``whyray patterns``: what it refuses, before anything is computed or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from whyray.cli.app import app
from whyray.errors import SettingError, UnmetNeed, WeightsError

RUN = CliRunner()


def refused(*words: str) -> BaseException:
    result = RUN.invoke(app, ["patterns", *words])
    assert result.exception is not None
    return result.exception


def test_a_folder_without_a_bank_says_how_to_get_one(tmp_path: Path) -> None:
    error = refused("show", str(tmp_path))
    assert isinstance(error, WeightsError) and "holds no patterns" in str(error)


def test_an_annotator_in_the_clear_is_refused(tmp_path: Path) -> None:
    words = ("name", str(tmp_path), "-a", str(tmp_path), "--annotator", "http://models.example.org/v1")
    error = refused(*words)
    assert isinstance(error, SettingError) and "use https" in str(error)
    assert not any(tmp_path.iterdir()), "nothing was begun"


def test_a_model_without_a_bank_is_an_unmet_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyray.models._artefacts.BUNDLED", tmp_path)
    monkeypatch.setattr("whyray.models._artefacts._cache", lambda: tmp_path)
    for words in (("show",), ("browse", "-o", str(tmp_path / "bank.html"))):
        assert isinstance(refused(*words), UnmetNeed)


def test_pictures_are_for_consent_only_by_default() -> None:
    text = RUN.invoke(app, ["patterns", "name", "--help"], env={"COLUMNS": "200"}).output
    assert "--send-images" in text and "Consent" in text and "--no-send-images" not in text


COMMANDS = {
    "build": ("build", "ensemble", "-a", "store", "-o", "bank"),
    "show": ("show",),
    "browse": ("browse", "-o", "bank.html"),
    "name": ("name", "bank", "-a", "store", "--annotator", "https://models.example.org/v1"),
}


STORE = ("activations", "-d", "phantom", "-o", "no/such/store")
WITH_MODEL = {"activations": STORE, **{name: ("patterns", *words) for name, words in COMMANDS.items()}}


@pytest.mark.parametrize("words", list(WITH_MODEL.values()), ids=list(WITH_MODEL))
def test_a_model_is_named_as_everywhere(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, card, layer and device reach the one loader."""
    asked: dict[str, Any] = {}

    def load_model(spec: str, **options: Any) -> None:
        asked.update(options, spec=spec)
        raise SettingError("enough")

    monkeypatch.setattr("whyray.api.load_model", load_model)
    monkeypatch.setattr("whyray.models._resolve.load_model", load_model)
    options = ("-m", "timm:resnet18", "--weights", "w", "--card", "c", "--layer", "layer4", "--device", "cuda")
    assert str(RUN.invoke(app, [*words, *options]).exception) == "enough"
    paths = {"weights": Path("w"), "card": Path("c")}
    assert asked == {"spec": "timm:resnet18", "layer": "layer4", "device": "cuda", **paths}


def test_gates_are_set_by_key_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def build_patterns(*_: Any, **options: Any) -> None:
        asked.update(options)
        raise SettingError("enough")

    monkeypatch.setattr("whyray.api.load_model", lambda *_, **__: None)
    monkeypatch.setattr("whyray.api.build_patterns", build_patterns)
    assert str(refused(*COMMANDS["build"], "--set", "split=train", "--set", "moves=0.003")) == "enough"
    assert asked["changes"] == ["split=train", "moves=0.003"]


def test_activations_are_read_at_the_layer_that_is_named(tmp_path: Path) -> None:
    """The logits of mini are not linear in its first layer, so its embedding is stored."""
    from whyray.api import model_layers
    from whyray.patterns.activations import ActivationStore

    first = next(iter(model_layers("mini")))
    words = ("activations", "-d", "phantom:train=1,val=1,test=0", "-o", str(tmp_path), "--layer", first)
    result = RUN.invoke(app, words)
    assert result.exit_code == 0, result.output
    assert ActivationStore(tmp_path).site.tap_in == "embedding"
