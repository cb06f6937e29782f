"""Grad-CAM: feature maps weighted by the mean gradient of a finding's logit (Selvaraju et al., ICCV 2017).

On the tap "features": the last spatial map after its ReLU (or the token grid), unless ``--layer`` names another. Of
torchvision-style DenseNets this is the map that the pooling reads; peers that hook ``norm5`` explain another tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer
from ..engine.features import FeatureProgram, feature_program, head_response
from ..errors import SettingError, UnmetNeed
from ..explanations import Explanation
from ..types import Radiograph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GradCam(Explainer):
    """Grad-CAM for all findings from one forward pass.

    relu  keep only evidence for the finding, as published; False keeps the signed map, whose sum plus the head's
          value at zero features is the logit where the head is pooling and a linear layer (check "completeness_gap").
    backend    "openvino" computes the feature maps there (the ``fast`` extra): seconds to compile, then twice as fast.
    precision  of that program: "float32" or "bfloat16".
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"features", "gradients"})
    paper: ClassVar[str] = "Selvaraju et al., Grad-CAM, ICCV 2017"

    relu: bool = True
    backend: Literal["torch", "openvino"] = "torch"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.backend not in ("torch", "openvino") or self.precision not in ("float32", "bfloat16"):
            given = f"backend={self.backend!r:.40}, precision={self.precision!r:.40}"
            raise SettingError(f"{given} came; give torch or openvino, and float32 or bfloat16")
        if self.backend == "torch" and self.precision == "bfloat16":
            raise SettingError("precision=bfloat16 needs backend=openvino: gradients in torch stay in float32")

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h', w']`` at the resolution of the feature maps, in logits."""
        import torch

        asked = Asked(self, classifier, radiographs, findings, context)
        program = feature_program(classifier, self.precision) if self.backend == "openvino" else None
        maps, gaps = [], []
        for start in range(0, len(asked.frames), context.batch):
            x = torch.from_numpy(np.stack([f.pixels for f in asked.frames[start : start + context.batch]]))
            signed, gap = class_activation(classifier, x, asked.columns, program)
            maps.append(signed.clamp(min=0) if self.relu else signed)
            gaps.append(gap)
            context.step(min(1.0, (start + context.batch) / len(asked.frames)))
        checks = {"completeness_gap": torch.cat(gaps).cpu().numpy()}
        return asked.attributions(torch.cat(maps).cpu().numpy(), signed=not self.relu, unit="logit", checks=checks)


def class_activation(
    classifier: Classifier, x: Tensor, columns: Sequence[int], program: FeatureProgram | None = None
) -> tuple[Tensor, Tensor]:
    """Signed maps ``[b, f, h', w']`` and the completeness gap ``[b, f]`` (NaN where the head cannot be cut off)."""
    import torch

    try:
        with torch.no_grad():
            logits, features = program(x) if program is not None else _pass(classifier, x)
        if program is not None and program.head is not None:
            weights, rest = (part[list(columns)] for part in program.head)
            weights = weights.expand(len(features), -1, -1)
        else:
            weights, rest = head_response(classifier, features, columns)
    except UnmetNeed:
        features, weights = tail_gradients(classifier, x, columns)
        return torch.einsum("bfd,bdhw->bfhw", weights, features), torch.full(weights.shape[:2], torch.nan)
    maps = torch.einsum("bfd,bdhw->bfhw", weights, features)
    return maps, logits[:, columns] - rest - maps.sum((2, 3))


def _pass(classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    logits, taps = classifier.run(x, ("features",))
    return logits, taps["features"]


def tail_gradients(classifier: Classifier, x: Tensor, columns: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Features ``[b, d, h', w']`` and mean gradients ``[b, f, d]`` where the head cannot be cut off: one forward pass,
    one backward pass a finding that goes no deeper than the tap."""
    import torch

    with torch.enable_grad():
        logits, taps = classifier.run(x, ("features",))
        features = taps["features"]
        rows = [torch.autograd.grad(logits[:, c].sum(), features, retain_graph=True)[0].mean((2, 3)) for c in columns]
    return features.detach(), torch.stack(rows, 1)
