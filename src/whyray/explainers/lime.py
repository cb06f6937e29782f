"""LIME: a linear model of the logits on which superpixels stay, fitted near the whole radiograph.

Segments are removed at random, and a ridge weighted by how much is left says what keeping each one adds. All findings
share the passes. Samples come in antithetic pairs, in rounds, until another draw would rank the segments alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..engine.perturb import DEFAULT_FILL, Backend, Perturbed, Precision, painted
from ..engine.superpixels import Segments, quickshift, slic, view
from ..errors import SettingError
from ..explanations import Explanation, Unit
from ..types import Frame, Radiograph
from ._surrogate import Fit, antithetic, block, fitted, independent, nearness, stability

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Play = Callable[[Rows], Floats]

SURE = 0.02  # a finding is also done when no standard error is above this share of its largest weight
Superpixels = Literal["slic", "quickshift"]
Output = Literal["logit", "probability"]


@dataclass(frozen=True)
class Lime(Explainer):
    """Signed weights of superpixels, with how well they fit (r2) and how far another draw would agree (stability).

    superpixels   "slic", or "quickshift" with the settings of the package ``lime``.
    segments      asked of SLIC, which gives a few more or fewer.
    samples       most perturbed pictures of one radiograph (one forward pass each).
    stop          a finding is done when another draw would rank its segments with this correlation; 0 = take them all.
    antithetic    draw complementary pairs of orthogonal rows; False draws each sample by itself, as ``lime`` does.
    fill          what stands in place of a removed segment: a word of the engine, or a value of the model input.
    kernel_width  of the exponential kernel on cosine distance; alpha: penalty of the ridge.
    output        "logit", or "probability" (the plain sigmoid), which ``lime`` is usually given.
    compactness, sigma    of SLIC.
    precision, backend    of the forward passes.
    """

    paper: ClassVar[str] = "Ribeiro et al., Why should I trust you?, KDD 2016"

    superpixels: Superpixels = "slic"
    segments: int = 50
    samples: int = 1000
    stop: float = 0.9
    antithetic: bool = True
    fill: str | float = DEFAULT_FILL
    kernel_width: float = 0.25
    alpha: float = 1.0
    output: Output = "logit"
    compactness: float = 0.1
    sigma: float = 1.0
    precision: Precision = "auto"
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        in_range("segments", self.segments, 2, 1000)
        in_range("samples", self.samples, 2, 10_000_000)
        in_range("stop", self.stop, 0, 0.999)
        in_range("kernel_width", self.kernel_width, 0.01, 100)
        in_range("alpha", self.alpha, 0, 1e6)
        for name, kinds in (("superpixels", Superpixels), ("output", Output)):
            if getattr(self, name) not in get_args(kinds):
                raise SettingError(f"setting {name}={getattr(self, name)!r} came; give {' or '.join(get_args(kinds))}")

    def passes(self, findings: int) -> float:
        """The cap on samples; the stop rule often ends before it."""
        return float(self.samples)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input: each pixel has the weight of its segment."""
        asked = Asked(self, classifier, radiographs, findings, context)
        maps, checks, backend = [], [], classifier.backend
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            segments = self.cut(frame)
            run = Perturbed(
                classifier, frame, segments, self.fill, context, precision=self.precision, backend=self.backend
            )
            play = self._player(run, asked.columns, i, len(asked.frames))
            found = self.drawn(play, segments.count, len(findings), context.rng(radiograph))
            maps.append(painted(found.weights.T, segments))
            checks.append(found.checks())
            backend = run.backend
        stacked = {name: np.stack([each[name] for each in checks]) for name in (checks[0] if checks else {})}
        unit: Unit = "logit/segment" if self.output == "logit" else "a.u."
        made = asked.attributions(np.stack(maps), unit=unit, checks=stacked)
        return [
            {f: replace(e, provenance=replace(e.provenance, backend=backend)) for f, e in one.items()} for one in made
        ]

    def cut(self, frame: Frame) -> Segments:
        """The superpixels of a model input."""
        if self.superpixels == "quickshift":
            return quickshift(view(frame))
        return slic(view(frame), segments=self.segments, compactness=self.compactness, sigma=self.sigma)

    def drawn(self, play: Play, segments: int, findings: int, rng: np.random.Generator) -> Found:
        """Weights from samples drawn in rounds; ``play`` gives the asked outputs ``[n, f]`` of samples.

        Each finding keeps what it had when it was stable itself, so its map does not depend on what else was asked.
        """
        keep, values = np.zeros((0, segments), bool), np.zeros((0, findings))
        found, waiting = Found.nothing(segments, findings), np.ones(findings, bool)
        while waiting.any() and len(keep) < self.samples:
            more = self._round(rng, segments, len(keep))
            keep, values = np.concatenate([keep, more]), np.concatenate([values, play(more)])
            near = nearness(keep, self.kernel_width)
            fit = fitted(keep, values[:, waiting], near, self.alpha, together=2 if self.antithetic else 1)
            found.update(waiting, fit, len(keep))
            if self.stop:
                waiting &= ~found.settled(self.stop)
        return found

    def _round(self, rng: np.random.Generator, segments: int, had: int) -> Rows:
        """The next samples: whole blocks of pairs where the rounds stop by themselves, else all there are."""
        left = self.samples - had
        some = min(left, 2 * block(segments)) if self.stop else left
        if self.antithetic:
            return antithetic(rng, -(-some // 2), segments)[:some]
        rows = independent(rng, some, segments)
        if not had:
            rows[0] = True  # the picture itself, as ``lime`` has it
        return rows

    def _player(self, run: Perturbed, columns: Sequence[int], at: int, of: int) -> Play:
        """Outputs of the asked columns, reporting progress as picture ``at`` of ``of``."""
        used = 0.0

        def play(keep: Rows) -> Floats:
            nonlocal used
            start, used = used, used + len(keep) / self.samples
            logits = run.logits(keep, span=((at + start) / of, (at + used) / of))[:, list(columns)].astype(np.float64)
            return logits if self.output == "logit" else np.exp(-np.logaddexp(0, -logits))

        return play


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of each finding so far: ``weights`` and standard ``errors [segments, f]``; per finding ``[f]`` the
    weighted ``r2``, the ``stability`` and the ``samples`` they rest on. The arrays grow old in place."""

    weights: Floats
    errors: Floats
    r2: Floats
    stability: Floats
    samples: Floats

    @staticmethod
    def nothing(segments: int, findings: int) -> Found:
        """Before the first round."""
        weights, errors = np.zeros((2, segments, findings))
        r2, stable = np.full((2, findings), np.nan)
        return Found(weights, errors, r2, stable, np.zeros(findings))

    def update(self, which: NDArray[np.bool_], fit: Fit, samples: int) -> None:
        """Take over a fit of the findings ``which``."""
        self.weights[:, which], self.errors[:, which], self.r2[which] = fit.weights, fit.errors, fit.r2
        self.stability[which] = stability(fit.weights, fit.errors)
        self.samples[which] = samples

    def settled(self, stop: float) -> NDArray[np.bool_]:
        """``[f]``: ranked alike by another draw, or known so well that only segments of no weight could change ranks,
        or nothing to rank."""
        sure = self.errors.max(0) <= SURE * np.abs(self.weights).max(0)
        return np.asarray((self.stability >= stop) | sure | np.isnan(self.r2))

    def checks(self) -> dict[str, Floats]:
        """The facts that stand beside each map, ``[f]`` a name; NaN where there were too few samples to know."""
        error = self.errors.max(0)
        return {
            "r2": self.r2,
            "stability": self.stability,
            "samples": self.samples,
            "segments": np.full(len(self.r2), float(len(self.weights))),
            "standard_error": np.where(np.isfinite(error), error, np.nan),
        }
