"""Logits and last feature maps of one forward pass: by the classifier itself, or by OpenVINO (the ``fast`` extra)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import MissingExtra, UnmetNeed
from ._openvino import _traced, compiled, installed, shape_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

KEPT = 2  # programs held in this process
FAR = 30.0  # times the largest feature: where a head that bends would show it
EXACT, HALF = 1e-4, 0.2  # refused where the maps differ from torch's by more than this x the largest
_MADE: OrderedDict[tuple[str, str, str, int], FeatureProgram] = OrderedDict()
_LOCK = threading.RLock()


class FeatureProgram:
    """A compiled program from model input to logits and the tap "features", checked when made.

    head  what ``head_response`` gives for any features, of all findings: gradients ``[f, d]`` and logits ``[f]``; None
          where it depends on them, or where the head cannot be cut off.
    """

    def __init__(self, classifier: Classifier, precision: str, threads: int) -> None:
        wanted = shape_of(classifier)
        program = _traced(_Both(classifier), wanted)  # type: ignore[arg-type]
        self._request = compiled(program, (1, *wanted), precision, threads)
        self._lock = threading.Lock()
        self.head = _steady(classifier, self._check(classifier, wanted, EXACT if precision == "float32" else HALF))

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[b, f]`` and feature maps ``[b, d, h', w']`` of inputs ``[b, c, h, w]``."""
        import torch

        rows = [self._once(np.ascontiguousarray(row, np.float32)) for row in x.numpy()[:, None]]
        logits, features = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True))
        return logits, features

    def _once(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with self._lock:
            found = self._request.infer(x)
            return [np.array(found[i], np.float32) for i in range(2)]

    def _check(self, classifier: Classifier, shape: tuple[int, ...], bound: float) -> Tensor:
        """Torch's feature maps of the inputs it was checked on. Raises UnmetNeed where the program's are others."""
        import torch

        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits, taps = classifier.run(x, ("features",))
        for mine, own in zip(self(x), (logits, taps["features"]), strict=True):
            if mine.shape != own.shape or not (mine - own).abs().max() <= bound * max(1.0, float(own.abs().max())):
                raise UnmetNeed(
                    f"the feature maps of {classifier.name} on OpenVINO differ from torch's; use backend=torch"
                )
        return taps["features"]


def head_response(classifier: Classifier, features: Tensor, columns: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean gradient ``[b, f, d]`` of each logit, and the logits ``[f]`` at zero features; one pass through the head.

    The head sees one copy of the features a finding, and zeros; for pooling and a linear layer the gradient is its
    weight row / cells.
    """
    import torch

    b, f = len(features), len(columns)
    with torch.enable_grad():
        seen = features.new_zeros(b * f + 1, *features.shape[1:])
        seen[:-1].view(b, f, *features.shape[1:]).copy_(features.detach().unsqueeze(1))
        logits = classifier.head("features", seen.requires_grad_())
        asked = logits[:-1].view(b, f, -1)[:, range(f), columns].sum()
        (gradient,) = torch.autograd.grad(asked, seen)
    return gradient[:-1].mean((2, 3)).view(b, f, -1), logits[-1, columns].detach()


def _steady(classifier: Classifier, features: Tensor) -> tuple[Tensor, Tensor] | None:
    """The head's response, where it is the same at these features, at far larger ones of both signs, and at none."""
    import torch

    noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)) * FAR * float(features.abs().max())
    try:
        points = torch.cat([features, noise, -noise, torch.zeros_like(features[:1])])
        weights, rest = head_response(classifier, points, range(len(classifier.findings)))
    except UnmetNeed:
        return None
    return (weights[0], rest) if torch.equal(weights, weights[:1].expand_as(weights)) else None


def feature_program(classifier: Classifier, precision: str = "float32") -> FeatureProgram:
    """The program of this classifier; compiled once a process. Raises MissingExtra, or UnmetNeed with the reason."""
    import torch

    if not installed():
        raise MissingExtra("openvino", "the OpenVINO backend", "fast")
    if "/cpu" not in classifier.backend or not {"features", "module"} <= classifier.capabilities:
        raise UnmetNeed(f"{classifier.name} has no feature maps that OpenVINO could compute; use backend=torch")
    key = (classifier.fingerprint, classifier.taps["features"], precision, torch.get_num_threads())
    with _LOCK:
        if key not in _MADE:
            _MADE[key] = _made(classifier, precision, key[3])
            while len(_MADE) > KEPT:
                _MADE.popitem(last=False)
        _MADE.move_to_end(key)
        return _MADE[key]


def _made(classifier: Classifier, precision: str, threads: int) -> FeatureProgram:
    try:
        return FeatureProgram(classifier, precision, threads)
    except UnmetNeed:
        raise
    except Exception as error:  # converter and compiler raise RuntimeError, but also anything else, for what they lack
        why = f"the converter refuses it ({type(error).__name__})"
        raise UnmetNeed(f"{classifier.name} does not run on OpenVINO: {why}; use backend=torch") from None


class _Both:
    """The classifier with two outputs, as the tracer asks for them."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.module = classifier, classifier.module

    def logits(self, x: Tensor) -> Any:
        """(logits, feature maps)."""
        logits, taps = self.classifier.run(x, ("features",))
        return logits, taps["features"]
