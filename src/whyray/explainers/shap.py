"""Shapley values of superpixels: what each segment adds to a logit, averaged over all orders (KernelSHAP in pairs).

The players are the segments of the radiograph, the value of a coalition is the logit with every other segment filled.
All findings of the classifier come from the same passes. The values of a map's segments sum to the logit of the whole
radiograph less that of the filled one, which is the check "baseline".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..engine.perturb import DEFAULT_FILL, Backend, Perturbed, Precision, painted
from ..engine.superpixels import Segments, slic, view
from ..explanations import Explanation
from ..types import Frame, Radiograph
from ._shapley import Pairs, Regression, Stock, all_coalitions, evaluated, exact, scheme
from ._shapley_surrogate import adjusted, windows
from ._surrogate import antithetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

EXACT = 12  # segments up to which every coalition is run
ROUND = 64  # pairs of the first round; later ones add half of what there is
SHARED = 500  # pairs that LIME draws first from the same seed: where it ran on these segments they cost nothing


@dataclass(frozen=True)
class Shap(Explainer):
    """Shapley values of SLIC segments with their standard errors.

    segments    asked of SLIC, which gives a few more or fewer; with 12 or fewer every coalition is run.
    samples     most coalitions of one radiograph (one forward pass each).
    tolerance   a finding is done when its largest standard error is this share of its largest value; 0 = never.
    fill        what stands in place of a segment that is taken away: a word of the engine, or a value of the input.
    surrogate   let a model of the game take out what it predicts; False is KernelSHAP as published.
    compactness, sigma    of SLIC.
    precision, backend    of the forward passes; both ends (nothing, everything filled) are always float32.
    """

    paper: ClassVar[str] = "Lundberg and Lee, NeurIPS 2017; Covert and Lee, Improving KernelSHAP, AISTATS 2021"

    segments: int = 50
    samples: int = 1000
    tolerance: float = 0.05
    fill: str = DEFAULT_FILL
    surrogate: bool = True
    compactness: float = 0.1
    sigma: float = 1.0
    precision: Precision = "auto"
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        in_range("segments", self.segments, 2, 1000)
        in_range("samples", self.samples, 100, 10_000_000)
        in_range("tolerance", self.tolerance, 0, 1)

    def passes(self, findings: int) -> float:
        """All coalitions of a few segments, else the cap on samples."""
        return float(min(self.samples, 2**self.segments) if self.segments > EXACT else 2**self.segments)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input, in logits a segment."""
        asked = Asked(self, classifier, radiographs, findings, context)
        maps = np.zeros((len(asked.frames), len(findings), *asked.frames[0].pixels.shape[1:]), np.float32)
        checks: list[dict[str, Floats]] = []
        backend = classifier.backend
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            segments = slic(view(frame), segments=self.segments, compactness=self.compactness, sigma=self.sigma)
            run = self._passes_of(classifier, frame, segments, context)
            game = Game(self._player(run, (i, len(maps))), segments.count, run.baseline, run.full, tuple(asked.columns))
            found = self._values(game, segments, context.rng(radiograph))
            maps[i], backend = painted(found.values.T, segments), run.backend
            checks.append(found.checks())
        stacked = {name: np.stack([each[name] for each in checks]) for name in checks[0]}
        made = asked.attributions(maps, unit="logit/segment", checks=stacked)
        return [
            {f: replace(e, provenance=replace(e.provenance, backend=backend)) for f, e in one.items()} for one in made
        ]

    def _passes_of(self, classifier: Classifier, frame: Frame, segments: Segments, context: Context) -> Perturbed:
        return Perturbed(
            classifier, frame, segments, self.fill, context, precision=self.precision, backend=self.backend
        )

    def _player(self, run: Perturbed, at: tuple[int, int]) -> Callable[[NDArray[np.bool_]], Floats]:
        """Logits of coalitions, reporting the share of all passes of picture ``at[0]`` of ``at[1]``."""
        most, used = self.passes(len(run.classifier.findings)), 0.0

        def play(keep: NDArray[np.bool_]) -> Floats:
            nonlocal used
            start, used = used, min(1.0, used + len(keep) / most)
            return run.logits(keep, span=((at[0] + start) / at[1], (at[0] + used) / at[1]))

        return play

    def _values(self, game: Game, segments: Segments, rng: np.random.Generator) -> Found:
        if game.players <= EXACT:
            return all_of_them(game)
        near = neighbourhoods(segments) if self.surrogate else None
        own = rng.spawn(1)[0]
        stock = Stock(antithetic(rng, SHARED, game.players)[::2])
        return in_rounds(game, near, (self.samples, self.tolerance), own, stock)


@dataclass(frozen=True, eq=False)
class Game:
    """What is played: logits ``[n, all findings]`` of coalitions ``[n, players]``, those of nobody (``empty``) and of
    everybody (``full``), and the columns that were asked."""

    play: Callable[[NDArray[np.bool_]], Floats]
    players: int
    empty: Floats
    full: Floats
    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("empty", "full"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))

    def pairs(self, keep: NDArray[np.bool_], weight: Floats) -> Pairs:
        """Both members of each pair, in one call."""
        values = self.play(np.concatenate([keep, ~keep])) if len(keep) else np.zeros((0, len(self.full)))
        return evaluated(keep, weight, values[: len(keep)], values[len(keep) :])

    def found(self, values: Floats, errors: Floats, coalitions: Floats) -> Found:
        """The result for the asked columns."""
        columns = list(self.columns)
        return Found(values, errors, coalitions, self.empty[columns], self.full[columns])


@dataclass(frozen=True, eq=False)
class Found:
    """Shapley values and standard errors ``[players, f]`` of the asked findings; per finding ``[f]`` the coalitions
    they rest on, and the logits of nobody and of everybody."""

    values: Floats
    errors: Floats
    coalitions: Floats
    empty: Floats
    full: Floats

    def checks(self) -> dict[str, Floats]:
        """The facts that stand beside each map, ``[f]`` a name."""
        return {
            "baseline": self.empty,
            "efficiency_gap": self.values.sum(0) - (self.full - self.empty),
            "standard_error": self.errors.max(0),
            "standard_error_share": share_of_maximum(self.values, self.errors),
            "coalitions": self.coalitions,
            "segments": np.full(len(self.empty), float(len(self.values))),
        }


def all_of_them(game: Game) -> Found:
    """Exact values from every coalition."""
    keep = all_coalitions(game.players)
    inner = game.play(keep[1:-1]) if len(keep) > 2 else np.zeros((0, len(game.full)))
    values = exact(np.concatenate([game.empty[None], inner, game.full[None]])[:, list(game.columns)])
    return game.found(values, np.zeros_like(values), np.full(len(game.columns), float(len(keep))))


def in_rounds(
    game: Game, near: Floats | None, limits: tuple[int, float], rng: np.random.Generator, stock: Stock | None = None
) -> Found:
    """Values from pairs drawn in rounds, up to ``limits`` = (samples, tolerance).

    Each finding keeps what it had when its own error was small enough, so its map does not depend on what else was
    asked; the draw ends when all asked findings have theirs. Without a tolerance there is one round.
    """
    samples, tolerance = limits
    plan = scheme(game.players, samples - 2, even=near is not None)
    gain, columns = game.full - game.empty, list(game.columns)
    run = Regression(gain, game.pairs(plan.keep, plan.weight))
    values, errors = np.full((2, game.players, len(columns)), np.nan)
    coalitions, waiting = np.zeros(len(columns)), np.ones(len(columns), bool)
    left = 0 if plan.complete else samples // 2 - 1 - len(plan.keep)
    while True:
        more = min(left, max(ROUND, len(run.drawn) // 2)) if tolerance else left
        left -= more
        if more:
            run.add(game.pairs(*plan.draw(rng, more, stock)))
        solved = run.solve() if near is None or plan.complete else adjusted(gain, run.fixed, run.drawn, near)
        values[:, waiting], errors[:, waiting] = (part[:, columns][:, waiting] for part in solved)
        coalitions[waiting] = 2 + 2 * (len(run.fixed) + len(run.drawn))
        waiting &= ~(share_of_maximum(values, errors) <= tolerance)
        if not left or not waiting.any():
            return game.found(values, errors, coalitions)


def share_of_maximum(values: Floats, errors: Floats) -> Floats:
    """The largest error of each finding as a share of its largest value; 0 where there is no error."""
    top, error = np.abs(values).max(0), errors.max(0)
    return np.asarray(np.divide(error, top, out=np.where(error == 0, 0.0, np.nan), where=top > 0))


def neighbourhoods(segments: Segments) -> Floats:
    """The surrogate's neighbourhoods ``[count, count]`` of segments, from their centres."""
    middles = [segments.sums(grid.astype(float)) / segments.sizes for grid in np.indices(segments.labels.shape)]
    return windows(np.stack(middles, 1), float(np.sqrt(segments.sizes.mean())))
