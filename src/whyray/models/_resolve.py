"""From what a user writes (``-m SPEC``) to a classifier."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Classifier
from ..errors import SettingError, UnknownName, WhyrayError
from ..registry import MODELS

if TYPE_CHECKING:
    import torch

OWN = "package.module:factory"
WANTS = {  # of the kinds that are nothing without an argument
    "wrapped": f"{OWN}: a function of yours that returns the network",
    "exported": "exported:FILE: a .pt2, .pt or .onnx file, with a card FILE.json beside it",
    "timm": "timm:NAME with --weights FILE and --card FILE",
    "xrv": "xrv:NAME; `whyray models` lists them",
}


def load_model(
    spec: str | os.PathLike[str],
    *,
    layer: str | None = None,
    device: str = "cpu",
    weights: str | os.PathLike[str] | None = None,
    card: str | os.PathLike[str] | None = None,
) -> Classifier:
    """A classifier by name (``mini``, ``xrv:...``, ``timm:...``), bundle folder, or ``package.module:factory``.

    layer    module whose output is the tap "features".
    weights, card  state dict and JSON card, where the model takes them (``timm:``, ``package.module:factory``).
    """
    text = os.fspath(spec)
    place = _device(device)
    loaded = _load(text, {k: os.fspath(v) for k, v in (("weights", weights), ("card", card)) if v is not None})
    if layer is None and place.type == "cpu":
        return loaded
    return _adapted(loaded, layer, place)


def published() -> dict[str, str]:
    """``xrv:NAME`` -> one line about it, and whether it has been fetched. Imports nothing heavy."""
    from . import _fetch, xrv

    lines = {}
    for name in xrv.names():
        known = xrv.entry(name)
        here = "fetched" if _fetch.is_here(name) else "not fetched"
        what = f"{known.network}, {known.size} px, trained on {known.training}"
        lines[f"xrv:{name}"] = f"{what} ({here})"
    return lines


def kinds() -> dict[str, str]:
    """What may stand before the colon -> one line about it. Imports nothing heavy."""
    return {OWN if name == "wrapped" else name: line for name, line in MODELS.summaries().items()}


def _load(text: str, options: dict[str, str]) -> Classifier:
    name, _, argument = text.partition(":")
    if not argument and name in WANTS:
        raise SettingError(f"{name} alone names no model; give {WANTS[name]}")
    if name in MODELS.names():
        load = MODELS.module(name).load
    elif Path(text).is_dir() or (text.endswith(".json") and Path(text).is_file()):
        from ._store import load_bundle

        load, argument = load_bundle, text
    elif argument and name.endswith(".py"):
        raise SettingError(f"{text} names a file; write {Path(name).stem}:{argument} in the folder of {name}")
    elif argument and all(part.isidentifier() for part in name.split(".")):
        load, argument = MODELS.module("wrapped").load, text
    elif Path(text).is_file():
        raise SettingError(f"{text} is a file, and a model was wanted: {_file_as_model(text)}")
    else:
        raise UnknownName("model", text, (*kinds(), "a folder with model.json"))
    taken = inspect.signature(load).parameters
    for key in options:
        if key not in taken:
            raise SettingError(f"{text} takes no --{key}; it brings its own")
    made: Classifier = load(argument, **options)
    return made


def _file_as_model(path: str) -> str:
    """What to write for a file, by its content."""
    from ..io.exports import kind_of
    from ..io.weights import read_bytes

    try:
        kind_of(read_bytes(path), path)
    except WhyrayError:
        return f"weights go with their network: timm:NAME or package.module:factory, --weights {path} and --card FILE"
    return f"write exported:{path}, with its card beside it"


def _adapted(loaded: Classifier, layer: str | None, place: torch.device) -> Classifier:
    """The classifier on another device, or with another layer as "features"."""
    from ._torch import TorchClassifier

    if not isinstance(loaded, TorchClassifier):
        raise SettingError(f"{loaded.name} has no torch module: leave out --layer, and use --device cpu")
    loaded.module.to(place)
    return loaded.with_layer(layer) if layer is not None else loaded


def _device(device: str) -> torch.device:
    import torch

    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise SettingError(f"device {device!r:.40} is not there; give cpu, cuda or mps") from None
    return place
