"""A folder is a registry: names without imports, settings from text, and did-you-mean."""

from __future__ import annotations

import pytest

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
