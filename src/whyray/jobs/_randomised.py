"""Cascading randomisation of parameters: copies of a classifier that forget, layer by layer, from the logits down.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018. The caller's network is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Context, Explainer
from ..errors import UnmetNeed
from ..metrics._similarity import spearman, spearman_absolute, ssim
from ..types import Radiograph

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from ..models._torch import TorchClassifier

    Map = NDArray[np.float32]

SIMILARITIES = {"weights_spearman": spearman, "weights_absolute": spearman_absolute, "weights_ssim": ssim}
PAIRS = 50
CALIBRATED_ON = 16  # pictures from which BatchNorm statistics of randomised layers are estimated again


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of the cascade: the last ``layers`` of ``total`` layers are random, down to ``lowest``."""

    layers: int
    total: int
    lowest: str
    classifier: TorchClassifier


def cascade(classifier: Classifier, inputs: NDArray[np.float32], *, stages: int = 5, seed: int = 0) -> Iterator[Stage]:
    """The untouched copy, then ``stages`` copies with more and more random layers: the last one first, all at the end.

    inputs  ``[b, c, h, w]``: pictures from which BatchNorm statistics of randomised layers are estimated again, without
            which activations die or explode.
    Raises UnmetNeed where there is no torch module, or none with parameters.
    """
    import torch

    from ..models._torch import TorchClassifier

    if not isinstance(classifier, TorchClassifier):
        raise UnmetNeed(f"{classifier.name} has no torch module whose weights could be randomised")
    x = torch.from_numpy(np.ascontiguousarray(inputs[:CALIBRATED_ON]))
    names = parameterised(classifier, x[:1])
    if not names:
        raise UnmetNeed(f"{classifier.name} has no parameters to randomise")
    counts = np.unique(np.rint(np.linspace(1, len(names), min(stages, len(names)))).astype(int))
    for count in (0, *map(int, counts)):
        made = _copied(classifier)
        randomise(made.module, names[::-1][:count], x, seed)
        yield Stage(count, len(names), names[-count] if count else "", made)


def parameterised(classifier: TorchClassifier, x: Tensor) -> list[str]:
    """Names of the modules that hold parameters of their own, in the order in which a forward pass reaches them."""
    import torch

    owners = {m: n for n, m in classifier.module.named_modules() if any(True for _ in m.parameters(recurse=False))}
    reached: dict[str, None] = {}

    def remember(module: nn.Module, *_: Any) -> None:
        reached.setdefault(owners[module])

    hooks = [m.register_forward_pre_hook(remember) for m in owners]
    try:
        with torch.no_grad():
            classifier.logits(x)
    finally:
        for hook in hooks:
            hook.remove()
    return list(reached)


def randomise(module: nn.Module, layers: Sequence[str], x: Tensor, seed: int = 0) -> None:
    """Draw the named layers of ``module`` again, in place: weights normal with mean 0 and the size they had, biases 0,
    gains of normalisation 1. BatchNorm among them takes the statistics of ``x``. A layer's draw depends on the seed and
    its name only, so that stages of one cascade agree."""
    import torch

    norms = []
    with torch.no_grad():
        for name in layers:
            part = module.get_submodule(name)
            generator = torch.Generator().manual_seed(_seed_of(name, seed))
            for key, parameter in part.named_parameters(recurse=False):
                parameter.copy_(_drawn(parameter, key, generator))
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.track_running_stats:
                norms.append(part)
        if norms:
            _calibrate(module, norms, x)


@dataclass(frozen=True, eq=False)
class Dependence:
    """How far the maps of one explainer depend on the weights.

    layers  int64 ``[s + 1]``: random layers at each stage, from 0 to all.
    alike   ``[s + 1, m, 3]``: similarity of each stage's maps to those of the untouched copy, one row a picture and
            finding of it, in the order of ``SIMILARITIES``.
    others  ``[p, 3]``: the same between maps of different pictures, untouched: how alike two maps of this method are
            that have nothing to do with each other. At most ``PAIRS`` pairs.
    """

    layers: NDArray[np.int64]
    alike: NDArray[np.float64]
    others: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As stored."""
        return {"layers": self.layers, "alike": self.alike, "others": self.others}


def weight_dependence(
    explainer: Explainer,
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    findings: Sequence[Sequence[str]],
    context: Context,
    *,
    stages: int = 5,
) -> Dependence:
    """Explain with every stage of the cascade and compare; ``findings``: those of each picture. Raises UnmetNeed."""
    inputs = np.stack([classifier.prepare(r).pixels for r in radiographs[:CALIBRATED_ON]])
    layers: list[int] = []
    rows: list[list[list[float]]] = []
    first: list[list[Map]] = []
    for stage in cascade(classifier, inputs, stages=stages, seed=context.seed):
        own = replace(context, earlier={}, paid={}, progress=lambda _share: None)
        made = _maps(explainer, stage.classifier, radiographs, findings, own)
        first = first or made
        layers.append(stage.layers)
        rows.append([_alike(a, b) for x, y in zip(first, made, strict=True) for a, b in zip(x, y, strict=True)])
    others = [_alike(x[0], y[0]) for x, y in list(combinations(first, 2))[:PAIRS]]
    return Dependence(
        np.array(layers, np.int64), np.array(rows, np.float64), np.reshape(others, (-1, len(SIMILARITIES)))
    )


def _maps(
    explainer: Explainer,
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    findings: Sequence[Sequence[str]],
    context: Context,
) -> list[list[Map]]:
    """Maps of each picture's own findings; pictures with the same findings are explained together."""
    out: list[list[Map]] = [[] for _ in radiographs]
    for asked in dict.fromkeys(tuple(f) for f in findings):
        members = [i for i, f in enumerate(findings) if tuple(f) == asked]
        made = explainer.explain(classifier, [radiographs[i] for i in members], asked, context)
        for i, explained in zip(members, made, strict=True):
            out[i] = [explained[f].attribution().values for f in asked]  # type: ignore[attr-defined]
    return out


def _alike(first: Map, second: Map) -> list[float]:
    return [measure(first, second) for measure in SIMILARITIES.values()]


def _copied(classifier: TorchClassifier) -> TorchClassifier:
    """The same network in memory of its own. Heads are left out: they are functions of the original's layers."""
    from ..models._torch import TorchClassifier

    module = copy.deepcopy(classifier.module).eval().requires_grad_(False)
    wiring = replace(classifier.wiring, heads={}, unfamiliar=None)
    return TorchClassifier(
        module, classifier.findings, classifier.card, architecture=classifier.architecture, wiring=wiring
    )


def _drawn(parameter: Tensor, key: str, generator: torch.Generator) -> Tensor:
    import torch

    if parameter.ndim < 2:
        return torch.ones_like(parameter) if key == "weight" else torch.zeros_like(parameter)
    size = parameter.detach().float().square().mean().sqrt().cpu()
    drawn = size * torch.randn(parameter.shape, generator=generator)
    return drawn.to(parameter.device, parameter.dtype)


def _calibrate(module: nn.Module, norms: Sequence[nn.Module], x: Tensor) -> None:
    """Running statistics of ``norms`` from one pass over ``x``; every other layer stays in evaluation mode."""
    first = next(module.parameters())
    for norm in norms:
        norm.reset_running_stats()  # type: ignore[operator]
        norm.momentum, norm.training = None, True  # type: ignore[assignment]
    module(x.to(first.device, first.dtype))
    for norm in norms:
        norm.training = False


def _seed_of(name: str, seed: int) -> int:
    import hashlib

    return int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:15], 16)
