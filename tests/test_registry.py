"""A folder is a registry: names without imports, settings from text, and did-you-mean."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from whyray import registry as source
from whyray.errors import SettingError, UnknownName
from whyray.registry import DATASETS, EXPLAINERS, METRICS, MODELS, explainer, explainer_class


def test_every_entry_has_a_summary() -> None:
    for registry in (EXPLAINERS, MODELS, DATASETS, METRICS):
        assert registry.names()
        assert all(text.endswith((".", ")", ":")) for text in registry.summaries().values()), registry.summaries()


def test_the_folder_is_the_registry() -> None:
    assert {"gradcam", "edges", "centre", "random"} <= set(EXPLAINERS.names())
    assert explainer_class("gradcam").__name__ == "GradCam"


def test_settings_are_typed() -> None:
    made = explainer("gradcam:relu=false")
    assert made.relu is False and made.name == "gradcam"  # type: ignore[attr-defined]
    assert explainer("random:cells=7").cells == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("gradcamm", UnknownName, "did you mean gradcam"),
        ("gradcam:rleu=1", UnknownName, "did you mean relu"),
        ("random:cells=seven", SettingError, "is no int; the default is 14"),
        ("random:cells", SettingError, "has no value"),
        ("random:cells=2,cells=3", SettingError, "sets cells twice"),
    ],
)
def test_bad_settings_fail_with_the_choices(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        explainer(spec)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of another package: a module, and one of its classes."""
    named = {
        "plain": "whyray.explainers.gradcam",
        "by_class": "whyray.explainers.gradcam:GradCam",
        "no_class": "whyray.explainers.gradcam:head_response",
        "gone": "whyray.explainers.gradcam:Gone",
    }
    points = [EntryPoint(name, value, "whyray.explainers") for name, value in named.items()]
    monkeypatch.setattr(source, "entry_points", lambda group: points if group.endswith("explainers") else [])


@pytest.mark.usefixtures("installed")
def test_entry_points_name_a_module_or_a_class() -> None:
    assert {"plain", "by_class"} <= set(EXPLAINERS.names())
    assert explainer_class("plain") is explainer_class("by_class") is explainer_class("gradcam")
    assert explainer("by_class:relu=false").relu is False  # type: ignore[attr-defined]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["no_class", "gone"])
def test_an_entry_point_that_names_no_explainer_is_said(name: str) -> None:
    with pytest.raises(TypeError, match=f"the entry point {name} names .* is no Explainer subclass"):
        explainer_class(name)
