"""GradientShap, 50 samples from one black baseline, one finding: captum and shap as their documentation has it."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from attribution import Contestant, Subject, correlation

from whyray.contracts import Context
from whyray.explainers.gradient_shap import GradientShap
from whyray.explainers.integrated_gradients import IntegratedGradients

SAMPLES = 50


def contestants(subject: Subject) -> list[Contestant]:
    """What is compared is the distance to the expectation, which is integrated gradients of 256 steps."""
    agrees = distance_to(expectation(subject))
    return [
        Contestant("whyray, 1 finding", partial(ours, subject), passes=2 * SAMPLES, agrees=agrees),
        Contestant("captum", partial(captum, subject), passes=2 * SAMPLES, agrees=agrees),
        Contestant("shap GradientExplainer", partial(shap, subject), passes=2 * SAMPLES, agrees=agrees),
    ]


def expectation(subject: Subject) -> np.ndarray:
    """The map ``[1, h, w]`` that all three estimate."""
    return _values(IntegratedGradients(baseline="0", steps=256, tolerance=0), subject)


def ours(subject: Subject) -> np.ndarray:
    """One finding."""
    return _values(GradientShap(samples=SAMPLES, baselines=1, baseline="0", spread=0.0), subject)


def captum(subject: Subject) -> np.ndarray:
    """One call; it has no setting for the batch."""
    from captum.attr import GradientShap as Peer

    base = torch.zeros_like(subject.x)
    return Peer(subject.module).attribute(subject.x, base, n_samples=SAMPLES, target=0).detach()[0].numpy()


def shap(subject: Subject) -> np.ndarray:
    """The first output alone."""
    import shap as peer

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = subject.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.inner(x)[:, :1]
            return out

    explainer = peer.GradientExplainer(First(), torch.zeros_like(subject.x))
    return np.asarray(explainer.shap_values(subject.x, nsamples=SAMPLES)).reshape(1, *subject.x.shape[2:])


def _values(explainer: GradientShap | IntegratedGradients, subject: Subject) -> np.ndarray:
    asked = subject.classifier.findings[:1]
    made = explainer.explain(subject.classifier, [subject.radiograph], asked, Context())[0]
    return made[asked[0]].attribution().values[None]  # type: ignore[attr-defined]


def distance_to(truth: np.ndarray):
    """For ``Contestant.agrees``: error against the expectation, over its size."""

    def words(mine: np.ndarray, _yardstick: np.ndarray) -> str:
        error = np.sqrt(np.square(mine - truth).mean() / np.square(truth).mean())
        return f"error against its expectation {error:.3f}, {correlation(mine, truth)}"

    return words
