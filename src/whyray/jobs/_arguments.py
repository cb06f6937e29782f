"""What Python callers hand over, checked at the door: the commonest slips are said with the call that is right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..contracts import Classifier
from ..errors import SettingError
from ..types import Radiograph


def check_classifier(classifier: object) -> None:
    """Raises SettingError for what is no Classifier, with the call that makes one."""
    if isinstance(classifier, Classifier):
        return
    ways = "whyray.load_model(NAME), or whyray.wrap(module, findings=[...]) around a network of yours"
    if isinstance(classifier, str):
        ways = f"whyray.load_model({classifier!r:.60})"
    elif callable(getattr(classifier, "forward", None)):
        ways = "whyray.wrap(module, findings=[...], size=..., mean=..., std=...)"
    raise SettingError(f"a {type(classifier).__name__} came as the classifier; give {ways}")


def radiographs_of(given: object) -> list[Radiograph]:
    """One radiograph, or several, as a list. Raises SettingError for anything else, with the call that makes one."""
    if isinstance(given, Radiograph):
        return [given]
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes) and not hasattr(given, "shape")
    parts: list[Any] = list(given) if several else [given]  # type: ignore[call-overload]
    strange = [part for part in parts if not isinstance(part, Radiograph)]
    if not strange:
        return parts
    wrong, way = strange[0], "whyray.load_image(PATH)"
    if hasattr(wrong, "shape"):
        way = "whyray.radiograph_from_array(array): grey values [h, w] from 0 = black to 1 = white"
    raise SettingError(f"a {type(wrong).__name__} came as a radiograph; give {way}")


def names_of(given: Sequence[str], option: str, example: str) -> tuple[str, ...]:
    """A list of names. Raises SettingError for a single text, or what is no text."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise SettingError(f"{option}={given!r:.60} came; give a list, such as {option}=[{example!r}]")
    names = tuple(given)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise SettingError(f"{option} holds {wrong[0]!r:.60}; give names, such as {option}=[{example!r}]")
    return names


def at_layer(classifier: Classifier, layer: str | None) -> Classifier:
    """The classifier with the output of the named layer as "features". Raises UnknownName and SettingError."""
    if layer is None:
        return classifier
    from ..models._torch import TorchClassifier

    if not isinstance(classifier, TorchClassifier):
        raise SettingError(f"{classifier.name} has no torch module, so no layer {layer!r:.60}; leave layer= out")
    return classifier.with_layer(layer)
