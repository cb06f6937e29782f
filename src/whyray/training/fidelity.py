"""What a reconstruction keeps of a prediction: the same logits before and after (prediction fidelity), MAE and SSIM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..cards import Preparation
from ..contracts import Classifier
from ..metrics._intervals import interval_of, known_mean, patient_weights
from ..models._autoencoders import from_grey, sized, to_grey
from ..types import Report
from .classifier import as_pixels
from .examples import gathered
from .plan import Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 32


def logits_before_and_after(
    module: nn.Module,
    preparation: Preparation,
    classifier: Classifier,
    pictures: NDArray[np.uint8],
    *,
    check: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Logits ``[n, f]`` of pictures and of their reconstructions, and (MAE, SSIM) of each ``[n, 2]`` in grey 0..1."""
    before, after, errors = [], [], []
    wanted = classifier.card.preparation
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    for start in range(0, len(pictures), BATCH):
        with torch.inference_mode():
            grey = sized(as_pixels(pictures[start : start + BATCH]), preparation.size).to(device)
            made = to_grey(module(from_grey(grey, preparation)).float(), preparation).clamp(0, 1)
            pair = [classifier.logits(from_grey(sized(g, wanted.size), wanted)) for g in (grey, made)]
        before.append(pair[0].double().cpu().numpy())
        after.append(pair[1].double().cpu().numpy())
        mae = (made - grey).abs().mean((1, 2, 3))
        errors.append(torch.stack([mae.double().cpu(), ssim(grey, made)], 1).double().cpu().numpy())
        check()
    return np.concatenate(before), np.concatenate(after), np.concatenate(errors)


def ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Structural similarity ``[b]`` of grey pictures ``[b, 1, h, w]`` in 0..1, Gaussian window (Wang et al., 2004)."""
    from skimage.metrics import structural_similarity

    told = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1.0}
    pairs = zip(*(pictures[:, 0].double().cpu().numpy() for pictures in (first, second)), strict=True)
    return torch.tensor([float(structural_similarity(a, b, **told)) for a, b in pairs], dtype=torch.float64)  # type: ignore[no-untyped-call]


def correlation(
    before: NDArray[np.float64], after: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Pearson's r of each row of weights ``[r, n]`` (one row of ones where None); NaN where one side is constant."""
    w = np.ones((1, len(before))) if weights is None else weights
    w = w / w.sum(1, keepdims=True)
    before, after = before - before.mean(), after - after.mean()  # of small numbers the variance is exact
    a, b = w @ before, w @ after
    spread = np.sqrt(np.maximum(w @ before**2 - a**2, 0) * np.maximum(w @ after**2 - b**2, 0))
    out: NDArray[np.float64] = np.full(len(w), np.nan)
    result: NDArray[np.float64] = np.divide(w @ (before * after) - a * b, spread, out=out, where=spread > 1e-12)
    return result


def mean_correlation(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Mean over findings of the correlation of logits ``[n, f]``; NaN where none has one."""
    r = np.stack([correlation(b, a) for b, a in zip(before.T, after.T, strict=True)], 1)
    return float(known_mean(r, axis=1)[0])


def measured(
    module: nn.Module,
    preparation: Preparation,
    classifier: Classifier,
    sources: Sequence[Source],
    cache: Path,
    stored: int,
    report: Report | None = None,
) -> list[dict[str, Any]]:
    """Rows ``{data, finding, metric, value, low, high, n}`` on the test split of each source.

    Per finding the correlation ("fidelity") and the mean change of the logit; over all findings the mean correlation;
    MAE and SSIM of the pictures. 95 % intervals over patients.
    """
    rows: list[dict[str, Any]] = []
    for source in sources:
        held = gathered([source], "test", classifier.findings, cache, stored=stored, report=report)
        before, after, errors = logits_before_and_after(module, preparation, classifier, held.pictures)
        weights = np.concatenate([np.ones((1, len(before))), *patient_weights(held.patients)])
        r = np.stack([correlation(b, a, weights) for b, a in zip(before.T, after.T, strict=True)], 1)  # [r, f]
        mean = weights / weights.sum(1, keepdims=True)
        change = mean @ (after - before)
        for k, name in enumerate(classifier.findings):
            rows += [_row(source, name, "fidelity", r[:, k], len(before))]
            rows += [_row(source, name, "logit_change", change[:, k], len(before))]
        rows += [_row(source, "mean", "fidelity", known_mean(r, axis=1), len(before))]
        rows += [_row(source, "", m, mean @ errors[:, i], len(before)) for i, m in enumerate(("mae", "ssim"))]
    return rows


def _row(source: Source, finding: str, metric: str, values: NDArray[np.float64], n: int) -> dict[str, Any]:
    """The value of the first row of weights, with the 95 % interval of the others."""
    (low,), (high,) = interval_of(values[1:, None], "patient")
    return {
        "data": source.name,
        "finding": finding,
        "metric": metric,
        **{
            k: round(float(v), 4) if np.isfinite(v) else None
            for k, v in zip(("value", "low", "high"), (values[0], low, high))
        },
        "n": n,
    }
