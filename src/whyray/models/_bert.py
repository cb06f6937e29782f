"""A published BERT (BERT, PubMedBERT, CXR-BERT ...) as a frozen text encoder: its tensors in our own network.

A folder with ``config.json``, ``vocab.txt`` and the weights is read, or ``hf-hub:ORG/NAME`` out of Hugging Face's own
cache; nothing is downloaded, and no package is needed for the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from ..networks.text_encoder import TextEncoder
    from ..text.wordpiece import WordPieces

FILES = ("model.safetensors", "pytorch_model.bin")
LAYER = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}
"""BERT's names in a layer -> ours."""


@dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """A published encoder with its tokenizer; ``source`` as it was named, ``sha256`` of its weights file."""

    source: str
    sha256: str
    module: TextEncoder
    tokenizer: WordPieces


def frozen_encoder(source: str, *, sha256: str | None = None) -> FrozenEncoder:
    """The encoder in a folder, or ``hf-hub:ORG/NAME`` of the local cache, without gradients and dropout.

    ``sha256``: the file that is meant. Raises SettingError, WeightsError, MissingExtra.
    """
    from ..io.weights import load_into, load_weights
    from ..text.wordpiece import published
    from .biomedclip import folder_of

    folder = folder_of(source)
    file = next((folder / f for f in FILES if (folder / f).is_file()), None)
    if file is None:
        raise WeightsError(f"{folder.name} holds neither of {', '.join(FILES)}; download the release whole")
    tensors = load_weights(file, sha256=sha256)
    module = _sized(_config(folder), folder.name)
    load_into(module, _ours(tensors, folder.name), f"the encoder {folder.name}")
    found = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
    return FrozenEncoder(source, found, module.eval().requires_grad_(False), published(folder))


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if (
            config.get("hidden_act", "gelu") != "gelu"
            or config.get("position_embedding_type", "absolute") != "absolute"
        ):
            raise ValueError
        return config
    except (OSError, ValueError, AttributeError):
        raise WeightsError(
            f"{folder.name} has no config.json of a BERT (gelu, absolute positions); name another encoder"
        ) from None


def _sized(config: Mapping[str, Any], name: str) -> TextEncoder:
    from ..networks.text_encoder import TextEncoder

    try:
        return TextEncoder(
            config["vocab_size"],
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            longest=config["max_position_embeddings"],
            dropout=0.0,
            hidden=config["intermediate_size"],
        )
    except (KeyError, TypeError, RuntimeError):
        raise WeightsError(f"{name}/config.json lacks the sizes of a BERT; name another encoder") from None


def _ours(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """BERT's tensors by our names; that of the first kind of text is added to the positions, heads are left out."""
    plain = {k.removeprefix("bert."): v.float() for k, v in tensors.items()}
    try:
        kind = plain["embeddings.token_type_embeddings.weight"][0]
        out = {
            "tokens.weight": plain["embeddings.word_embeddings.weight"],
            "positions.weight": plain["embeddings.position_embeddings.weight"] + kind,
            "norm.weight": plain["embeddings.LayerNorm.weight"],
            "norm.bias": plain["embeddings.LayerNorm.bias"],
        }
    except (KeyError, IndexError):
        raise WeightsError(f"{name} holds no BERT's embeddings; name another encoder") from None
    for key, value in plain.items():
        if key.startswith("encoder.layer."):
            number, _, rest = key.removeprefix("encoder.layer.").partition(".")
            part, _, what = rest.rpartition(".")
            out[f"layers.{number}.{LAYER.get(part, part)}.{what}"] = value
    return out
