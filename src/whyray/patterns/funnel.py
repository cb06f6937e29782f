"""How many are left after each gate, and how many would be left at other thresholds. Nothing is tuned by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import in_range
from ..errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GatePlan:
    """The gates, in order.

    split, images  pictures of the store that the gates look at: a split, at most so many, drawn by ``seed``.
    density        bounds of the share of ``unit`` ("tokens" or "images") on which a latent fires. A token is what a
                   transcoder reads: with one token an image the two are one.
    cosine, correlation, members  a latent is stable where at least this share of the other members has one alike.
    merge          mean cosine at which latents are one pattern.
    top            strongest images that stand for a pattern.
    leading        share of the patterns kept by what they add to logits (mean magnitude over images).
    moves          least change of a logit, over the strongest images, when the pattern is taken out; in logits.
    cohesion       least mean cosine of the strongest images above that of random sets.
    """

    split: str = "val"
    images: int = 1000
    density: tuple[float, float] = (1e-4, 0.1)
    unit: str = "tokens"
    cosine: float = 0.7
    correlation: float = 0.5
    members: float = 0.2
    merge: float = 0.7
    top: int = 20
    leading: float = 0.5
    moves: float = 0.01
    cohesion: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        in_range("images", self.images, 2, 10**6)
        in_range("density[0]", self.density[0], 0, self.density[1])
        in_range("density[1]", self.density[1], 0, 1)
        if self.unit not in ("tokens", "images"):
            raise SettingError(f"unit = {self.unit!r} came; give tokens or images")
        for name in ("cosine", "correlation", "cohesion"):
            in_range(name, getattr(self, name), -1, 1)
        for name in ("members", "leading"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("merge", self.merge, 0.05, 1)
        in_range("top", self.top, 2, 1000)
        in_range("moves", self.moves, 0, 100)


@dataclass(frozen=True)
class Gate:
    """One gate: how many came and how many passed.

    what    "latents" or "patterns"; ``rule`` in words.
    curves  name -> (thresholds, how many would pass at each, all gates before it as they are).
    """

    name: str
    what: str
    rule: str
    before: int
    after: int
    curves: Mapping[str, tuple[tuple[float, ...], tuple[int, ...]]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Plain JSON."""
        curves = {name: {"threshold": list(x), "count": list(y)} for name, (x, y) in self.curves.items()}
        return {
            "gate": self.name,
            "what": self.what,
            "rule": self.rule,
            "before": self.before,
            "after": self.after,
            "curves": curves,
        }


def passing(
    values: NDArray[np.floating[Any]], thresholds: Sequence[float], *, above: bool = True
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """(thresholds, how many values are at or above each); ``above=False``: at or below. NaN passes none."""
    known = values[~np.isnan(values)]
    counts = [int((known >= t).sum() if above else (known <= t).sum()) for t in thresholds]
    return tuple(float(t) for t in thresholds), tuple(counts)
