"""How perturbed inputs are run: plain torch in float32 or bfloat16, or OpenVINO where it is installed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..contracts import Classifier
from ..errors import MissingExtra, SettingError, UnmetNeed

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

Backend = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "float32", "bfloat16"]
SMALL = 100_000  # parameters below which half precision and an engine have nothing to win


class Runner(ABC):
    """A way to get logits without gradients.

    name       engine, precision and device: part of the key of what was paid for.
    precision  "float32" or "bfloat16".
    device     where inputs are built.
    most       inputs at once beyond which it is no faster.
    """

    name: str
    precision: str
    device: torch.device
    most: int = 2**16

    @abstractmethod
    def __call__(self, x: Tensor) -> NDArray[np.float32]:
        """Logits ``[b, f]`` of model inputs ``[b, c, h, w]``, float32."""


class TorchRunner(Runner):
    """The classifier's own forward pass (of an ONNX model: onnxruntime's); bfloat16 by autocast."""

    def __init__(self, classifier: Classifier, precision: str) -> None:
        import torch

        self.classifier, self.precision = classifier, precision
        engine, own, kind = (*classifier.backend.split("/"), "", "")[:3]
        self.name = f"{engine}/{precision if precision == 'bfloat16' else own}/{kind}"
        self.device = device_of(classifier)
        self._half = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def __call__(self, x: Tensor) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode(), self._half:
            found: NDArray[np.float32] = self.classifier.logits(x).float().cpu().numpy()
        return found


def runner_for(classifier: Classifier, backend: Backend = "auto", precision: Precision = "auto") -> Runner:
    """The runner that was asked for; "auto" takes the fastest that this machine and classifier allow."""
    for name, value, kinds in (("backend", backend, Backend), ("precision", precision, Precision)):
        if value not in get_args(kinds):
            raise SettingError(f"setting {name}={value!r} came; give {', '.join(get_args(kinds))}")
    device, large = device_of(classifier), _large(classifier)
    if precision == "auto":
        precision = "bfloat16" if large and half_supported(device) else "float32"
    if backend == "openvino" or (backend == "auto" and large and device.type == "cpu"):
        try:
            return _openvino(classifier, device, precision)
        except (UnmetNeed, MissingExtra):
            if backend == "openvino":
                raise
    return TorchRunner(classifier, precision if "module" in classifier.capabilities else "float32")


def _openvino(classifier: Classifier, device: torch.device, precision: str) -> Runner:
    from ._openvino import installed, openvino_runner

    if not installed():
        raise MissingExtra("openvino", "the OpenVINO backend", "fast")
    if device.type != "cpu":
        raise UnmetNeed(f"{classifier.name} is on {device}, and OpenVINO runs on the processor; use backend=torch")
    return openvino_runner(classifier, precision)


def half_supported(device: torch.device) -> bool:
    """Whether the processor (or GPU) multiplies bfloat16 itself."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def device_of(classifier: Classifier) -> torch.device:
    """Where the classifier's module lives; the processor for one without."""
    import torch

    if "module" not in classifier.capabilities:
        return torch.device("cpu")
    module = classifier.module
    return next((t.device for t in (*module.parameters(), *module.buffers())), torch.device("cpu"))


def _large(classifier: Classifier) -> bool:
    """A float32 network large enough to gain from half precision and from an engine; of an ONNX file, always."""
    if "/float32/" not in f"{classifier.backend}/" or "module" not in classifier.capabilities:
        return hasattr(classifier, "program")
    return sum(p.numel() for p in classifier.module.parameters()) >= SMALL
