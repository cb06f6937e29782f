"""Grad-CAM of 18 findings: captum's 18 calls against one pass, in plain torch and with feature maps from OpenVINO."""

from __future__ import annotations

from functools import partial

import numpy as np
from attribution import Contestant, Subject, correlation, largest_difference

from whyray.contracts import Context
from whyray.explainers.gradcam import GradCam


def contestants(subject: Subject) -> list[Contestant]:
    """Ours three times (OpenVINO is compiled in the first, warming run), then captum on the same layer."""
    made = [
        Contestant(
            f"whyray {backend} {precision}",
            partial(ours, subject, GradCam(backend=backend, precision=precision)),  # type: ignore[arg-type]
            passes=1,
            agrees=agreement,
        )
        for backend, precision in (("torch", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
    ]
    return [*made, Contestant("captum LayerGradCam, 18 calls", partial(captum, subject), passes=18, agrees=agreement)]


def ours(subject: Subject, explainer: GradCam) -> np.ndarray:
    """Maps ``[f, h', w']``, each over its maximum, as the peer's have another scale."""
    findings = subject.classifier.findings
    made = explainer.explain(subject.classifier, [subject.radiograph], findings, Context())[0]
    return scaled(np.stack([made[f].attribution().values for f in findings]))  # type: ignore[attr-defined]


def captum(subject: Subject) -> np.ndarray:
    """All 18 calls, on the map that pooling reads."""
    from captum.attr import LayerGradCam

    peer = LayerGradCam(subject.module, subject.module.last_relu)
    targets = range(subject.findings)
    found = [peer.attribute(subject.x, target=t, relu_attributions=True)[0, 0].detach().numpy() for t in targets]
    return scaled(np.stack(found))


def scaled(maps: np.ndarray) -> np.ndarray:
    """Each map over its maximum."""
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)


def agreement(mine: np.ndarray, yardstick: np.ndarray) -> str:
    """Both measures."""
    return f"{correlation(mine, yardstick)}, {largest_difference(mine, yardstick)}"
