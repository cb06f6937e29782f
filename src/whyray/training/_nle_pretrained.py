"""GPT-2's published weights and tokens, from a folder of files; no package is needed for them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from ..errors import WeightsError
from ..io.weights import load_weights
from ..models.biomedclip import folder_of
from ..networks.decoder import Decoder
from ..text.bpe import published

__all__ = ["fill", "folder_of", "published"]

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def fill(narrator: nn.Module, source: str) -> None:
    """Put GPT-2's weights into a generator's decoder; what it has beside them keeps its first values.

    Raises WeightsError where the sizes are not those of the weights, with the ones that would fit.
    """
    folder = folder_of(source)
    decoder = getattr(narrator, "decoder", None)
    if not isinstance(decoder, Decoder):
        raise WeightsError(f"{folder.name}: an LSTM takes no weights of GPT-2; leave out pretrained")
    tensors = {k.removeprefix("transformer."): v for k, v in load_weights(folder / "model.safetensors").items()}
    mine = decoder.state_dict()
    with torch.no_grad():
        for key, own in mine.items():
            came = tensors.get(key)
            if came is None:
                if "cross" not in key:
                    raise WeightsError(f"{folder.name} has no tensor {key}; {_sizes(folder)}")
                continue
            came = came.T if key.endswith(TRANSPOSED) else came
            if came.shape[1:] != own.shape[1:] or (came.shape != own.shape and key not in ("wte.weight", "wpe.weight")):
                raise WeightsError(
                    f"{folder.name}: {key} is {tuple(came.shape)}, not {tuple(own.shape)}; {_sizes(folder)}"
                )
            rows = min(len(own), len(came))
            own[:rows] = came[:rows]


def _sizes(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = {"width": config["n_embd"], "layers": config["n_layer"], "heads": config["n_head"]}
    except (OSError, ValueError, KeyError):
        return "the folder has no config.json that says its sizes"
    return "the plan's architecture needs " + ", ".join(f"{k} = {v}" for k, v in found.items())
