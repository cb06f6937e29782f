"""BiomedCLIP's image tower under a two-layer head: ``biomedclip:FOLDER`` in open_clip's layout (Zhang et al., 2023)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cards import Card, Preparation
from ..errors import MissingExtra, SettingError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from ._torch import TorchClassifier

HUB = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
CONFIG = "open_clip_config.json"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
PREFIX = "visual."
HEAD_WIDTH = 64  # of one attention head, in every plain vision transformer of timm


@dataclass(frozen=True, eq=False)
class ImageTower:
    """An image tower as it was published.

    settings     of the network "clip_vit", all but ``hidden``.
    tensors      "visual..." -> values.
    preparation  size, mean and standard deviation of the release.
    """

    name: str
    settings: Mapping[str, int]
    preparation: Preparation
    tensors: Mapping[str, Tensor] = field(repr=False)


def load(argument: str = "", *, weights: str | None = None, card: str | None = None) -> TorchClassifier:
    """The tower of a folder (or ``hf-hub:ORG/NAME`` out of Hugging Face's own cache) under a trained head.

    weights  state dict of the head: fc1.weight ``[hidden, d]``, fc1.bias, fc2.weight ``[f, hidden]``, fc2.bias.
    card     JSON with "findings".

    A classifier that whyray trained is loaded by its folder alone (``-m OUT``); it holds the tower.
    """
    from ..io.weights import load_weights
    from .wrapped import card_file

    tower = image_tower(argument)
    if weights is None or card is None:
        raise SettingError(
            f"biomedclip:{argument} has no findings of its own; train a head (whyray train classifier, with tower = "
            "FOLDER in the plan) and give -m OUT, or give --weights HEAD and --card FILE.json"
        )
    labels, facts = card_file(card, f"biomedclip:{argument}")
    return classifier(tower, load_weights(weights), labels, facts)


def classifier(tower: ImageTower, head: Mapping[str, Tensor], labels: Sequence[str], card: Card) -> TorchClassifier:
    """Tower and head as one classifier; the preparation is the tower's. Raises WeightsError where they do not fit."""
    from dataclasses import replace

    from ..io.weights import load_into
    from ._networks import build, wiring
    from ._predict import chosen_columns
    from ._torch import TorchClassifier

    first = head.get("fc1.weight")
    if first is None or first.ndim != 2:
        raise WeightsError(f"a head is fc1.weight, fc1.bias, fc2.weight, fc2.bias; {', '.join(head) or 'nothing'} came")
    architecture = {**tower.settings, "network": "clip_vit", "hidden": len(first)}
    module = build(architecture, len(labels))
    load_into(module, {**tower.tensors, **{f"head.{k}": v for k, v in head.items()}}, f"the head on {tower.name}")
    module.eval().requires_grad_(False)
    columns, known = chosen_columns(labels)
    facts = replace(card, preparation=tower.preparation)
    written = json.dumps(architecture, sort_keys=True)
    return TorchClassifier(module, known, facts, architecture=written, wiring=replace(wiring(module), columns=columns))


def image_tower(source: str) -> ImageTower:
    """The tower of a folder with open_clip_config.json and the weights, or of ``hf-hub:ORG/NAME`` in the local cache.

    Nothing is downloaded. Raises SettingError, WeightsError or MissingExtra.
    """
    from ..io.weights import load_weights

    folder = folder_of(source)
    config = read_config(folder)
    file = next((folder / f for f in FILES if (folder / f).is_file()), None)
    if file is None:
        raise WeightsError(f"{folder.name} holds neither of {', '.join(FILES)}; download the release whole")
    tensors = {k: v.float() for k, v in load_weights(file).items() if k.startswith(PREFIX)}
    settings = _settings(config["model_cfg"], tensors, folder.name)
    shown = config.get("preprocess_cfg", {})
    preparation = Preparation(
        size=(settings["size"], settings["size"]),
        channels=settings["channels"],
        mean=tuple(shown.get("mean", (0.48145466, 0.4578275, 0.40821073))),
        std=tuple(shown.get("std", (0.26862954, 0.26130258, 0.27577711))),
    )
    return ImageTower(folder.name, settings, preparation, tensors)


def folder_of(source: str) -> Path:
    """The folder that is meant. Raises SettingError where there is none."""
    if not source:
        raise SettingError(f"biomedclip needs a folder: hf download {HUB.removeprefix('hf-hub:')} --local-dir FOLDER")
    if not source.startswith("hf-hub:"):
        return Path(source).expanduser()
    name = source.removeprefix("hf-hub:")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        raise MissingExtra("huggingface_hub", source, "zoo") from None
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        raise SettingError(
            f"{source} is not in Hugging Face's cache on this machine; run: hf download {name}"
        ) from None


def read_config(folder: Path) -> dict[str, Any]:
    """open_clip_config.json. Raises WeightsError where it is missing, or is none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config["model_cfg"]["vision_cfg"], dict):
            raise ValueError
    except OSError:
        raise WeightsError(f"{folder.name} has no {CONFIG}; give the folder of an open_clip release") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise WeightsError(f"{folder.name}/{CONFIG} is not open_clip's; download the release again") from None
    return dict(config)


def _settings(model: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> dict[str, int]:
    """The network's settings, from the shapes of its tensors; raises WeightsError for another kind of tower."""
    vision = model["vision_cfg"]
    kind = str(vision.get("timm_model_name", ""))
    plain = re.fullmatch(r"vit_(tiny|small|base|large)_patch\d+_\d+", kind) is not None
    if not plain or vision.get("timm_proj", "linear") != "linear" or vision.get("timm_pool", "") not in ("", "token"):
        raise WeightsError(f"{name}: the image tower {kind or 'without a timm name'!r} came; a plain ViT is wanted")
    try:
        width, channels, patch, _ = tensors["visual.trunk.patch_embed.proj.weight"].shape
        patches = tensors["visual.trunk.pos_embed"].shape[1] - 1
        projection = tensors["visual.head.proj.weight"].shape[0]
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{name}: the weights hold no image tower under {PREFIX}trunk and {PREFIX}head") from None
    depth = len({k.split(".")[3] for k in tensors if k.startswith("visual.trunk.blocks.")})
    side = round(patches**0.5) * patch
    made = {"size": side, "patch": patch, "width": width, "depth": depth, "heads": width // HEAD_WIDTH}
    return {"channels": channels, **made, "projection": projection}
