"""Occlusion, window 32, stride 16: one set of passes for 18 findings against captum's loop of 18 calls."""

from __future__ import annotations

from functools import partial

import numpy as np
from attribution import Contestant, Subject, correlation, largest_difference

from whyray.contracts import Context
from whyray.explainers.occlusion import Occlusion

WINDOW, STRIDE, PASSES = 32, 16, 170


def contestants(subject: Subject) -> list[Contestant]:
    """Ours in every precision and backend, captum with its best batch."""
    made = [
        Contestant(
            f"whyray {backend} {precision}", partial(ours, subject, backend, precision), PASSES, agrees=agreement
        )
        for backend, precision in (
            ("torch", "float32"),
            ("torch", "bfloat16"),
            ("openvino", "float32"),
            ("openvino", "bfloat16"),
        )
    ]
    peer = Contestant(
        "captum perturbations_per_eval=16",
        partial(captum, subject),
        PASSES * 18,
        scale=18,
        agrees=lambda mine, yardstick: f"its finding: {largest_difference(mine, yardstick[:1])}",
    )
    return [*made, peer]


def ours(subject: Subject, backend: str, precision: str) -> np.ndarray:
    """Maps ``[f, h, w]`` of all findings."""
    explainer = Occlusion(window=WINDOW, stride=STRIDE, fill=0.0, backend=backend, precision=precision)  # type: ignore[arg-type]
    findings = subject.classifier.findings
    made = explainer.explain(subject.classifier, [subject.radiograph], findings, Context())[0]
    return np.stack([made[f].attribution().values for f in findings])  # type: ignore[attr-defined]


def captum(subject: Subject) -> np.ndarray:
    """One of its 18 calls."""
    from captum.attr import Occlusion as Peer

    peer, window, stride = Peer(subject.module), (1, WINDOW, WINDOW), (1, STRIDE, STRIDE)
    return peer.attribute(subject.x, window, stride, baselines=0.0, target=0, perturbations_per_eval=16)[0].numpy()


def agreement(mine: np.ndarray, yardstick: np.ndarray) -> str:
    """Both measures."""
    return f"{correlation(mine, yardstick)}, {largest_difference(mine, yardstick)}"
