"""The commonest slips in Python are said with the call that is right, not with an error from within."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import whyray
from whyray.errors import SettingError, UnknownName

PICTURE = whyray.radiograph_from_array(np.random.default_rng(0).random((40, 40)).astype(np.float32))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))


class LogitsOnly(whyray.Classifier):
    """A classifier of which nothing but logits is known."""

    name, findings, capabilities = "bare", ("mass",), frozenset()  # type: ignore[assignment]

    def prepare(self, radiograph: whyray.Radiograph) -> Any:
        raise NotImplementedError

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@pytest.fixture(scope="module")
def model() -> whyray.Classifier:
    return whyray.wrap(network(), findings=["mass"], size=32)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a.png", r"a str came as a radiograph; give whyray\.load_image"),
        (Path("a.png"), r"Path came as a radiograph; give whyray\.load_image"),
        (["a.png"], r"a str came as a radiograph; give whyray\.load_image"),
        (np.zeros((4, 4)), r"a ndarray came as a radiograph; give whyray\.radiograph_from_array"),
        (torch.zeros(1, 1, 4, 4), r"a Tensor came as a radiograph; give whyray\.radiograph_from_array"),
        ([PICTURE, np.zeros((4, 4))], r"a ndarray came as a radiograph"),
        (None, r"a NoneType came as a radiograph; give whyray\.load_image"),
    ],
)
def test_what_is_no_radiograph(given: Any, says: str, model: whyray.Classifier) -> None:
    for call in (whyray.explain, whyray.predict):
        with pytest.raises(SettingError, match=says):
            call(model, given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("mini", r"a str came as the classifier; give whyray\.load_model\('mini'\)"),
        (network(), r"a Sequential came as the classifier; give whyray\.wrap\(module, findings="),
        (5, r"a int came as the classifier; give whyray\.load_model\(NAME\), or"),
    ],
)
def test_what_is_no_classifier(given: Any, says: str) -> None:
    for call in (whyray.explain, whyray.predict):
        with pytest.raises(SettingError, match=says):
            call(given, PICTURE)


@pytest.mark.parametrize("given", [{"findings": "mass"}, {"explainers": "edges"}, {"findings": [1]}, {"explainers": 5}])
def test_what_is_no_list_of_names(given: dict[str, Any], model: whyray.Classifier) -> None:
    (option,) = given
    with pytest.raises(SettingError, match=f"such as {option}="):
        whyray.explain(model, PICTURE, **given)


def test_one_several_and_none(model: whyray.Classifier) -> None:
    assert len(whyray.predict(model, (p for p in [PICTURE, PICTURE]))) == 2  # type: ignore[call-overload]
    assert whyray.explain(model, [], explainers=["edges"]) == [] == whyray.predict(model, [])


def test_a_layer_as_on_the_command_line(model: whyray.Classifier) -> None:
    made = whyray.explain(model, PICTURE, explainers=["gradcam"], layer="0")
    assert made.classifier.taps["features"] == "0" and model.taps["features"] != "0"
    with pytest.raises(UnknownName, match="layer"):
        whyray.explain(model, PICTURE, layer="9")
    bare = LogitsOnly()
    with pytest.raises(SettingError, match=r"bare has no torch module, so no layer '0'; leave layer= out"):
        whyray.explain(bare, PICTURE, layer="0")
