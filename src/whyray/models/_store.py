"""A bundle: one of whyray's own networks as a JSON card with a safetensors file beside it; see docs/models.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..cards import Card
from ..errors import WeightsError
from ..io.weights import load_into, load_weights, save_weights
from ..io.whole import write_whole
from ._networks import build, wiring, with_unfamiliar
from ._predict import chosen_columns
from ._torch import TorchClassifier

FORMAT = "whyray-model/1"
EXTRA = "unfamiliar."
TOLERANCE = 1e-4
MOST_CARD = 4 << 20


@dataclass(frozen=True)
class Config:
    """What the weights need to become a network again.

    architecture  {"network": "densenet", "growth": 16, "blocks": [4, 8, 12], "stem": 32, ...}.
    findings      labels in the order of the outputs; "" for an output that is dropped.
    extras        "unfamiliar.mean" ``[d]`` and "unfamiliar.whitening" ``[d, k]``, where measured.
    """

    architecture: Mapping[str, object]
    findings: Sequence[str]
    extras: Mapping[str, Tensor] = field(default_factory=dict)


def save_bundle(
    path: str | Path, module: nn.Module, config: Config, card: Card, *, provenance: Mapping[str, object] | None = None
) -> TorchClassifier:
    """Write ``path`` (a ``.json`` file) and the weights beside it, weights first, and load them back as the proof.

    The folder is made where it is not there.
    ``config.extras`` may hold "unfamiliar.mean" ``[d]`` and "unfamiliar.whitening" ``[d, k]``.
    """
    path = Path(path)
    weights = path.with_suffix(".safetensors")
    classifier = _classifier(_copy(module, config), config, card)
    path.parent.mkdir(parents=True, exist_ok=True)
    sha256 = save_weights(weights, {**module.state_dict(), **config.extras})
    data = {
        "format": FORMAT,
        "architecture": dict(config.architecture),
        "findings": list(config.findings),
        "card": card.to_dict(),
        "weights": {"file": weights.name, "sha256": sha256},
        "fingerprint": classifier.fingerprint,
        "known_answer": known_answer(classifier),
        "provenance": dict(provenance or {}),
    }
    write_whole(path, (json.dumps(data, indent=1) + "\n").encode())
    return load_bundle(path)


def load_bundle(path: str | Path, *, device: str = "cpu") -> TorchClassifier:
    """The classifier of a card (or of the one card in a folder: ``model.json``).

    Hash, names, shapes, fingerprint and the known answer are checked; raises WeightsError where one does not hold.
    """
    path = Path(path)
    path = path / "model.json" if path.is_dir() else path
    data = read_card(path)
    tensors = load_weights(path.with_name(data["weights"]["file"]), sha256=data["weights"]["sha256"])
    extras = {k: tensors.pop(k) for k in list(tensors) if k.startswith(EXTRA)}
    config = Config(data["architecture"], tuple(data["findings"]), extras)
    module = build(config.architecture, len(config.findings))
    load_into(module, tensors, path.name)
    classifier = _classifier(module, config, Card.from_dict(data["card"]))
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if classifier.fingerprint != data["fingerprint"]:
        raise WeightsError(f"{path.name}: the fingerprint is not that of these weights and settings; restore the card")
    check_answer(classifier, data["known_answer"], path.name)
    return classifier


def read_card(path: Path) -> dict[str, Any]:
    """The JSON card of a bundle with every field it must have. Raises WeightsError."""
    try:
        if path.stat().st_size > MOST_CARD:
            raise ValueError
        data = json.loads(path.read_text(encoding="utf-8"))
        data["fingerprint"] + data["weights"]["sha256"] + data["weights"]["file"]
        shapes = data["format"] == FORMAT and all(isinstance(data[k], dict) for k in ("architecture", "card"))
        if not shapes or not data["findings"] or Path(data["weights"]["file"]).name != data["weights"]["file"]:
            raise ValueError
    except FileNotFoundError:
        raise WeightsError(f"no model card {path}; a bundle is model.json + model.safetensors") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(f"{path.name} is not a model card of format {FORMAT}; see docs/models.md") from None
    return dict(data)


def probe(classifier: TorchClassifier) -> Tensor:
    """A built-in picture ``[1, c, h, w]`` in the model's own range: smooth waves, the same on every machine."""
    preparation = classifier.card.preparation
    y, x = (torch.arange(n, dtype=torch.float64) / n for n in preparation.size)
    waves = 0.5 + 0.25 * torch.sin(9 * y)[:, None] + 0.25 * torch.cos(7 * x + 1)[None]
    grey = preparation.low + waves * (preparation.high - preparation.low)
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in (preparation.mean, preparation.std))
    return ((grey - mean) / std).expand(preparation.channels, *preparation.size)[None].float()


def known_answer(classifier: TorchClassifier) -> list[float]:
    """The logits of the built-in picture."""
    with torch.inference_mode():
        return [float(v) for v in classifier.logits(probe(classifier))[0]]


def check_answer(classifier: TorchClassifier, expected: object, source: str) -> None:
    """Raises WeightsError unless the built-in picture gets the logits the card says."""
    came = torch.tensor(known_answer(classifier))
    try:
        wanted = torch.tensor(expected, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        wanted = torch.zeros(0)
    if wanted.shape != came.shape or not bool(((came - wanted).abs() <= TOLERANCE * (1 + wanted.abs())).all()):
        raise WeightsError(f"{source}: the network does not give its known answer; restore the card and its weights")


def _copy(module: nn.Module, config: Config) -> nn.Module:
    """A network of its own, so that the one in training stays as it is. Raises WeightsError where they do not fit."""
    copy = build(config.architecture, len(config.findings))
    load_into(copy, {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}, "the network to be saved")
    return copy


def _classifier(module: nn.Module, config: Config, card: Card) -> TorchClassifier:
    module.eval().requires_grad_(False)
    columns, known = chosen_columns(config.findings)
    wired = replace(with_unfamiliar(wiring(module), config.extras), columns=columns)
    architecture = json.dumps(dict(config.architecture), sort_keys=True)
    return TorchClassifier(module, known, card, architecture=architecture, wiring=wired)
