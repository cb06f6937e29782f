"""A BiomedCLIP release in open_clip's layout, small and with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

VISION = {
    "timm_model_name": "vit_tiny_patch16_224",
    "timm_model_pretrained": False,
    "timm_pool": "",
    "timm_proj": "linear",
}
PROJECTION = 24


def image_tower_of_open_clip() -> nn.Module:
    """open_clip's own wrapper of timm, as it builds BiomedCLIP's image tower, 192 wide."""
    from whyray._torchvision import ensure_torchvision

    ensure_torchvision()
    pytest.importorskip("open_clip")
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    made: nn.Module = TimmModel("vit_tiny_patch16_224", PROJECTION, pool="", proj="linear").eval()
    with torch.no_grad():
        for parameter in made.parameters():  # so that no bias or norm is at its trivial start
            parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def write_release(folder: Path, tower: nn.Module, *, binary: bool = False) -> Path:
    """open_clip_config.json and the weights, the text tower left out of them."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": {"embed_dim": PROJECTION, "vision_cfg": VISION, "text_cfg": {"context_length": 256}},
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tensors = {f"visual.{k}": v.contiguous() for k, v in tower.state_dict().items()}
    tensors |= {"logit_scale": torch.tensor(4.6), "text.proj.0.weight": torch.ones(2, 2)}
    if binary:
        torch.save(tensors, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
