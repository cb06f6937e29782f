"""Transfer learning: start a network from weights that somebody trained before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from ..errors import MissingExtra, SettingError
from ..io.weights import load_weights
from ..models._store import read_card

FIRST = ("features.conv0.weight", "conv1.weight")  # of a DenseNet, of a ResNet
HEADS = ("classifier.", "fc.")


def start_from(module: nn.Module, init: str, findings: Sequence[str]) -> None:
    """Fill ``module`` from a weights file, a trained folder, or ``timm:NAME`` (timm fetches what the user named).

    The head is new, unless a trained folder has the same findings. A first layer for three colours is summed into one
    for grey. Raises SettingError where fewer than nine in ten tensors fit, with the first that does not.
    """
    same = _findings(init) == list(findings)
    tensors = _grey(_tensors(init), module.state_dict())
    mine = {k: v for k, v in module.state_dict().items() if same or not k.startswith(HEADS)}
    fits = {k: tensors[k].to(v.dtype) for k, v in mine.items() if k in tensors and tensors[k].shape == v.shape}
    if len(fits) < 0.9 * len(mine):
        first = next(k for k in mine if k not in fits)
        raise SettingError(
            f"init={init!r} fits {len(fits)} of {len(mine)} tensors (first that does not: {first}); "
            "give weights of the plan's architecture, or change the architecture to that of the weights"
        )
    module.load_state_dict(fits, strict=False)


def _findings(init: str) -> list[str] | None:
    """The findings of a trained folder; None for anything else."""
    card = Path(init) / "model.json"
    return list(read_card(card)["findings"]) if not init.startswith("timm:") and card.is_file() else None


def _tensors(init: str) -> Mapping[str, Tensor]:
    if not init.startswith("timm:"):
        path = Path(init)
        return load_weights(path / "model.safetensors" if path.is_dir() else path)
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", f"init={init!r}", "zoo") from None
    made: nn.Module = timm.create_model(init.removeprefix("timm:"), pretrained=True)
    return made.state_dict()


def _grey(tensors: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = dict(tensors)
    for name in FIRST:
        first, want = out.get(name), mine.get(name)
        if first is not None and want is not None and first.ndim == 4 and first.shape[1] == 3 and want.shape[1] == 1:
            out[name] = first.sum(1, keepdim=True)
    return out
