"""Logits and last feature maps of one forward pass: by the classifier itself, or by OpenVINO (the ``fast`` extra)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import MissingExtra, UnmetNeed
from ._openvino import _traced, compiled, installed, shape_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

KEPT = 2  # programs held in this process
EXACT, HALF = 1e-4, 0.2  # refused where the maps differ from torch's by more than this x the largest
_MADE: OrderedDict[tuple[str, str, str, int], FeatureProgram] = OrderedDict()
_LOCK = threading.RLock()


class FeatureProgram:
    """A compiled program from model input to logits and the tap "features", checked when made."""

    def __init__(self, classifier: Classifier, precision: str, threads: int) -> None:
        wanted = shape_of(classifier)
        program = _traced(_Both(classifier), wanted)  # type: ignore[arg-type]
        self._request = compiled(program, (1, *wanted), precision, threads)
        self._lock = threading.Lock()
        self._check(classifier, wanted, EXACT if precision == "float32" else HALF)

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

    def _check(self, classifier: Classifier, shape: tuple[int, ...], bound: float) -> None:
        import torch

        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits, taps = classifier.run(x, ("features",))
        for mine, own in zip(self(x), (logits, taps["features"]), strict=True):
            if mine.shape != own.shape or not (mine - own).abs().max() <= bound * max(1.0, float(own.abs().max())):
                raise UnmetNeed(
                    f"the feature maps of {classifier.name} on OpenVINO differ from torch's; use backend=torch"
                )


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
