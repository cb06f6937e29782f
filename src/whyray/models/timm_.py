"""Any timm architecture with your own weights: ``timm:NAME`` with a checkpoint and a card."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._torchvision import ensure_torchvision
from ..cards import Preparation
from ..errors import MissingExtra, SettingError, UnknownName
from .wrapped import card_file, classifier, fill

if TYPE_CHECKING:
    from torch import nn

    from ._torch import TorchClassifier


def load(argument: str, *, weights: str | None = None, card: str | None = None) -> TorchClassifier:
    """A timm network filled with a checkpoint. Nothing is downloaded.

    weights  state dict (safetensors, or a torch zip of tensors) whose head has one output a finding.
    card     JSON with "findings"; without "preparation", timm's own size, mean and std and three channels are taken.
    """
    if weights is None or card is None:
        raise SettingError(f"timm:{argument} knows no chest radiographs; give --weights FILE and --card FILE.json")
    labels, facts = card_file(card, f"timm:{argument}")
    given = "preparation" in json.loads(Path(card).read_text(encoding="utf-8"))
    module = network(argument, len(labels), facts.preparation.channels if given else 3)
    if not given:
        facts = replace(facts, preparation=usual(module))
    fill(module, weights)
    return classifier(module.eval().requires_grad_(False), labels, facts)


def network(name: str, outputs: int, channels: int) -> nn.Module:
    """An untrained timm network. Raises UnknownName with the nearest names, or MissingExtra."""
    ensure_torchvision()
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", f"timm:{name}", "zoo") from None
    if not re.fullmatch(r"[\w.-]+", name) or not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())
    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=outputs, in_chans=channels)
    return made


def usual(module: nn.Module) -> Preparation:
    """The preparation that timm documents for an architecture."""
    facts: dict[str, Any] = getattr(module, "pretrained_cfg", {})
    _, height, width = facts.get("input_size", (3, 224, 224))
    mean, std = facts.get("mean", (0.0,)), facts.get("std", (1.0,))
    return Preparation(size=(height, width), channels=3, mean=tuple(mean), std=tuple(std))
