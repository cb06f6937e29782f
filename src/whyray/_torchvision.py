"""Makes torchvision importable where its compiled operators do not load (a CUDA build beside a CPU torch).

Call ``ensure_torchvision`` before anything that may import torchvision: a broken torchvision also breaks timm,
transformers, torchxrayvision and others.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Literal

State = Literal["absent", "works", "patched"]
_KEPT: list[Any] = []  # a Library object takes its definitions with it when it dies


def ensure_torchvision() -> State:
    """Import torchvision, declaring the two operators its import names where they are missing.

    "patched" = models, transforms and utils work; ``ops.nms`` and the image codecs do not.
    """
    if importlib.util.find_spec("torchvision") is None:
        return "absent"
    if not _KEPT:
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            _declare()
    importlib.import_module("torchvision")
    return "patched" if _KEPT else "works"


def _declare() -> None:
    """Forget the half-made import, then declare the schemas of the operators."""
    import torch

    for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _KEPT.append(library)
