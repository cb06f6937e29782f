"""Autoencoders behind the contract: one that belongs to a classifier (an artefact), or torchxrayvision's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cards import Preparation, stored_preparation
from ..contracts import Classifier
from ..errors import WeightsError
from ..types import array_hash

if TYPE_CHECKING:
    from torch import Tensor, nn

KIND = "autoencoder"
PUBLISHED = "xrv-ae:"


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """``grey -> encode -> z -> decode -> grey``; grey is 0 = black .. 1 = white, ``[b, 1, h, w]``, of its own size.

    name         as it was asked for.
    fingerprint  of the classifier it was made for; "" = of none in particular.
    facts        what it was trained on and how well it reconstructs, plain JSON.
    """

    name: str
    module: nn.Module
    preparation: Preparation
    fingerprint: str = ""
    facts: Mapping[str, Any] = ()  # type: ignore[assignment]

    @property
    def sha256(self) -> str:
        """Hash of its weights and of how it is fed."""
        tensors = {name: array_hash(t.cpu().numpy()) for name, t in sorted(self.module.state_dict().items())}
        return hashlib.sha256(repr((self.preparation, tensors)).encode()).hexdigest()

    def encode(self, grey: Tensor) -> Tensor:
        """Latent ``[b, d, h', w']`` of grey pictures ``[b, 1, h, w]``; differentiable."""
        z: Tensor = self.module.encode(from_grey(sized(grey, self.preparation.size), self.preparation))  # type: ignore[operator]
        return z

    def decode(self, z: Tensor) -> Tensor:
        """Grey pictures ``[b, 1, h, w]`` of the autoencoder's size; not clipped; differentiable."""
        x: Tensor = self.module.decode(z)  # type: ignore[operator]
        return to_grey(x, self.preparation)


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """An autoencoder's network. Raises WeightsError for one whyray does not have."""
    from ..networks.autoencoder import ResNetAE, SmallAE

    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in architecture.items()}
    network = settings.pop("network", None)
    makers = {"small": (SmallAE, {"widths", "latent", "straight"}), "resnet": (ResNetAE, {"blocks"})}
    if network not in makers or not set(settings) <= makers[network][1]:
        raise WeightsError(
            f"the autoencoder {dict(architecture)!r:.80} came; known: small (widths, latent, straight), resnet (blocks)"
        )
    numbers = [n for v in settings.values() for n in (v if isinstance(v, tuple) else (v,))]
    if not all(type(n) is int and 0 < n <= 2048 for n in numbers) or len(numbers) > 12:
        raise WeightsError(f"the autoencoder {dict(architecture)!r:.80} came; give whole numbers from 1 to 2048")
    made: nn.Module = makers[network][0](**settings)
    return made


def load_autoencoder(spec: str | Path, fingerprint: str) -> Autoencoder:
    """The autoencoder in an artefact's folder, for the classifier with this fingerprint; or ``xrv-ae:101-elastic``.

    Raises WeightsError where it is missing or damaged, FingerprintError where it belongs to another classifier.
    """
    if str(spec).startswith(PUBLISHED):
        from .xrv import load_autoencoder as published

        name = str(spec).removeprefix(PUBLISHED)
        return Autoencoder(str(spec), quick(published(name)), Preparation(low=-1024.0, high=1024.0))
    from ..io.artefacts import load_artefact
    from ..io.weights import load_into, widened

    artefact = load_artefact(Path(spec), KIND, fingerprint)
    module = build(artefact.facts["architecture"])
    load_into(module, widened(artefact.tensors), f"the autoencoder {Path(spec).name}")
    preparation = stored_preparation(artefact.facts["preparation"])
    name = str(artefact.facts.get("name", Path(spec).name))
    return Autoencoder(name, quick(module), preparation, fingerprint, artefact.facts)


def quick(module: nn.Module) -> nn.Module:
    """As it explains: no training, no gradients of weights; channels last, which decodes batches up to 2.7 x faster."""
    import torch

    module.eval().requires_grad_(False)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def autoencoder_for(classifier: Classifier, spec: str = "") -> Autoencoder:
    """The one named, else the one that belongs to the classifier. Raises UnmetNeed where there is none."""
    from ._artefacts import artefact_folder

    return load_autoencoder(spec or artefact_folder(KIND, classifier), classifier.fingerprint)


def from_grey(grey: Tensor, preparation: Preparation) -> Tensor:
    """Grey 0..1 ``[b, 1, h, w]`` -> input ``[b, c, h, w]`` of a network with this preparation, at the same size."""
    mean, std = (grey.new_tensor(v).reshape(1, -1, 1, 1) for v in (preparation.mean, preparation.std))
    ranged = preparation.low + grey * (preparation.high - preparation.low)
    return (ranged.expand(-1, preparation.channels, -1, -1) - mean) / std


def to_grey(x: Tensor, preparation: Preparation) -> Tensor:
    """The inverse of ``from_grey``: of several channels, which hold the same picture, the first."""
    ranged = x[:, :1] * preparation.std[0] + preparation.mean[0]
    return (ranged - preparation.low) / (preparation.high - preparation.low)


def sized(grey: Tensor, size: tuple[int, int]) -> Tensor:
    """Grey pictures at another size, bilinear and without aliasing; the same tensor where they have it."""
    from torch.nn import functional as nf

    if tuple(grey.shape[-2:]) == tuple(size):
        return grey
    return nf.interpolate(grey, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
