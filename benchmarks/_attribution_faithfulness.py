"""Deletion and insertion curves of one map, 49 steps each, against Quantus' PixelFlipping (deletion only, so twice).

The same order of pixels, the same fill (0), the same network: the deletion curves are compared too.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from attribution import Contestant, Subject

from whyray.contracts import Context
from whyray.engine.perturb import Perturbed
from whyray.engine.superpixels import Segments
from whyray.metrics.faithfulness import bands, deletion_rows, insertion_rows

STEPS = 49


def contestants(subject: Subject) -> list[Contestant]:
    """Ours in every precision and backend, and Quantus with all its pixels of a step at once."""
    made = [
        Contestant(
            f"whyray {backend} {precision}",
            partial(ours, subject, backend, precision),
            2 * STEPS,
            agrees=deletion_difference,
        )
        for backend, precision in (
            ("torch", "float32"),
            ("torch", "bfloat16"),
            ("openvino", "float32"),
            ("openvino", "bfloat16"),
        )
    ]
    peer = Contestant("quantus PixelFlipping", partial(quantus, subject), 2 * STEPS, 2, deletion_difference)
    return [*made, peer]


def a_map(subject: Subject) -> np.ndarray:
    """A smooth signed map ``[h, w]`` without ties."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.random.default_rng(0).normal(size=(subject.size, subject.size)), 12)


def ours(subject: Subject, backend: str, precision: str) -> np.ndarray:
    """Both curves of all findings: ``[2, steps + 1, f]``."""
    frame = subject.classifier.prepare(subject.radiograph)
    segments = Segments.of(bands(a_map(subject), STEPS), "bands")
    engine = Perturbed(
        subject.classifier,
        frame,
        segments,
        0.0,
        Context(),
        backend=backend,
        precision=precision,  # type: ignore[arg-type]
    )
    rows = np.concatenate([deletion_rows(STEPS), insertion_rows(STEPS)])
    return engine.logits(rows).reshape(2, STEPS + 1, -1)


def quantus(subject: Subject) -> np.ndarray:
    """The deletion curve of the first finding, after each step: ``[1, steps, 1]``."""
    from whyray._torchvision import ensure_torchvision

    ensure_torchvision()
    import quantus as peer

    metric = peer.PixelFlipping(
        features_in_step=subject.size**2 // STEPS,
        abs=False,
        normalise=False,
        perturb_baseline=0.0,
        disable_warnings=True,
    )
    x = subject.x.numpy().copy()
    curve = metric(
        model=subject.module,
        x_batch=x,
        y_batch=np.zeros(1, int),
        a_batch=a_map(subject)[None, None].copy(),
        softmax=False,
        device="cpu",
        channel_first=True,
    )
    return np.asarray(curve, np.float32).reshape(1, -1, 1)


def deletion_difference(mine: np.ndarray, yardstick: np.ndarray) -> str:
    """Largest difference of the first finding's deletion curves after steps 1 to 49, over the curve's range."""
    curves = [c[0, -STEPS:, 0] for c in (mine, yardstick)]
    return f"deletion differs by {np.abs(curves[0] - curves[1]).max() / np.ptp(curves[1]):.1e} of its range"
