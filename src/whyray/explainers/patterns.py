"""A prediction as a sum of patterns: what the classifier saw, each with its map (Tang et al., CXR-LanIC)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..cards import Operation
from ..contracts import Asked, Capability, Classifier, Context, Explainer, cells_to_pixels, in_range
from ..explanations import Explanation, PatternSum
from ..models._predict import sigmoid
from ..types import Frame, Provenance, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..patterns.sums import Sum

    Array = NDArray[np.float64]

LITTLE = 0.5  # named patterns that carry less than this share of what speaks for a finding get a warning


@dataclass(frozen=True)
class Patterns(Explainer):
    """logit = bias + named patterns + unnamed + residual, exact; shown is the smallest set of patterns that carries it.

    mass     share of what speaks for the finding (named, unnamed and residual) that the set reaches.
    against  patterns shown besides: the strongest against the finding.
    bank     a folder; empty = the bank that belongs to the classifier.

    Checks: "sum_gap" (the parts against the classifier's own logit), "size" (patterns of the set), "named_share" (of
    what speaks for the finding, how much named patterns carry) and "named_share_least" (the same where unnamed latents
    and cells of the residual do not cancel each other: a lower bound), "ablation_gap" (largest difference between what
    a pattern adds and how far the logit moves when the head is run without it).
    """

    kind: ClassVar[str] = "pattern_sum"
    needs: ClassVar[frozenset[Capability]] = frozenset({"features"})
    cost: ClassVar[float] = 8.0
    paper: ClassVar[str] = "Tang et al., CXR-LanIC, arXiv 2510.21464"

    mass: float = 0.9
    against: int = 5
    bank: str = ""

    def __post_init__(self) -> None:
        in_range("mass", self.mass, 0.01, 1)
        in_range("against", self.against, 0, 1000)

    def reads(self, classifier: Classifier) -> Mapping[str, str]:
        """The bank."""
        from ..models._artefacts import artefact_hash
        from ..patterns.bank import KIND

        return {"bank": artefact_hash(KIND, classifier, self.bank)}

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One PatternSum a finding; all findings of a picture share its pass and its codes."""
        import torch

        from ..patterns.bank import KIND, bank_for
        from ..patterns.site import read_tokens
        from ..patterns.sums import decompose

        asked = Asked(self, classifier, radiographs, findings, context)
        bank = context.resolved(KIND, classifier, bank_for, self.bank)
        results: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            tokens, outputs, logits = read_tokens(classifier, bank.site, torch.from_numpy(frame.pixels)[None])
            found = decompose(bank, tokens[0], outputs[0])
            view = _View(self, classifier, frame, found, outputs[0], logits[0].astype(np.float64))
            made = [view.part(finding, column) for finding, column in zip(asked.findings, asked.columns, strict=True)]
            view.measure(made)
            provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
            results.append({part.finding: view.explanation(part, provenance) for part in made})
            context.step((i + 1) / len(asked.frames))
        return results


@dataclass(eq=False)
class _Part:
    """One finding of one picture: the patterns shown, ``size`` of them carrying it; ``maps [p, cells]``; logits without
    each pattern, measured, ``without [p]``."""

    finding: str
    column: int
    shown: NDArray[np.int64]
    size: int
    maps: Array
    without: Array


@dataclass(frozen=True, eq=False)
class _View:
    """One picture: its sum, what the head read ``outputs [cells, d]``, and the classifier's own logits ``[f]``."""

    explainer: Patterns
    classifier: Classifier
    frame: Frame
    found: Sum
    outputs: NDArray[np.float32]
    logits: Array

    def part(self, finding: str, column: int) -> _Part:
        """The smallest set that carries the finding, and the strongest against it."""
        from ..patterns.sums import carriers

        found = self.found
        parts = found.named[:, column]
        chosen, _ = carriers(parts, found.unnamed[column], found.residual[column], self.explainer.mass)
        low = np.argsort(parts, kind="stable")[: self.explainer.against]
        shown = np.concatenate([chosen, low[parts[low] < 0][::-1]])
        return _Part(finding, column, shown, len(chosen), found.maps(shown, column), np.full(len(shown), np.nan))

    def measure(self, parts: Sequence[_Part]) -> None:
        """The logits without each shown pattern: the head is run on features from which its part was taken.

        The bank holds no decoder, so the change of the features is the smallest one that takes out what the pattern
        adds to all logits in each cell; of a linear head, that is as good as any.
        """
        import torch

        site = self.found.bank.site
        every = np.unique(np.concatenate([p.shown for p in parts])).astype(np.int64)
        if not len(every):
            return
        back = np.linalg.pinv(site.weights).T  # [f, d]
        logits = []
        for start in range(0, len(every), 32):
            adds = self.found.named[every[start : start + 32]]  # [p, f], in logits of the whole picture
            changed = self.outputs[None].astype(np.float64) - (adds @ back)[:, None, :]
            value = torch.from_numpy(changed.astype(np.float32))
            value = value.transpose(1, 2).reshape(len(value), -1, *site.grid) if site.grid != (1, 1) else value[:, 0]
            with torch.inference_mode():
                logits.append(self.classifier.head(site.tap_out, value).double().cpu().numpy())
        measured = np.concatenate(logits)
        for part in parts:
            part.without[:] = measured[np.searchsorted(every, part.shown), part.column]

    def explanation(self, part: _Part, provenance: Provenance) -> PatternSum:
        """With its checks, and what a reader ought to know."""
        found, c, bank = self.found, part.column, self.found.bank
        shown = [bank.patterns[i] for i in part.shown]
        adds = found.named[part.shown, c]
        checks = self._checks(part)
        grid = bank.site.grid
        return PatternSum(
            finding=part.finding,
            provenance=provenance,
            checks=checks,
            notes=self._notes(part, checks),
            patterns=tuple(p.id for p in shown),
            names=tuple(p.label for p in shown),
            categories=tuple(p.category for p in shown),
            contributions=adds,
            probabilities=np.array([self._probability(part.finding, v) for v in part.without]),
            probability=self._probability(part.finding, float(self.logits[c])),
            bias=float(found.bias[c]),
            others=float(found.named[:, c].sum() - adds.sum()),
            unnamed=float(found.unnamed[c]),
            residual=float(found.residual[c]),
            maps=part.maps.reshape(-1, *grid).astype(np.float32),
            rest=found.rest(part.shown, c).reshape(grid).astype(np.float32),
            to_source=self.frame.to_source @ cells_to_pixels(grid, self.frame.pixels.shape[1:]),
            source_shape=self.frame.source_shape,
        )

    def _checks(self, part: _Part) -> dict[str, float]:
        found, c = self.found, part.column
        named = float(np.maximum(found.named[:, c], 0).sum())
        loose = max(float(found.unnamed[c]), 0.0) + max(float(found.residual[c]), 0.0)
        gross = float(found.unnamed_for[c] + found.residual_for[c])
        gaps = np.abs(self.logits[c] - part.without - found.named[part.shown, c])
        return {
            "sum_gap": float(abs(found.logits[c] - self.logits[c])),
            "size": float(part.size),
            "named_share": named / (named + loose) if named + loose > 0 else float("nan"),
            "named_share_least": named / (named + gross) if named + gross > 0 else float("nan"),
            "ablation_gap": float(gaps.max()) if len(gaps) else 0.0,
        }

    def _notes(self, part: _Part, checks: dict[str, float]) -> tuple[str, ...]:
        words = part.finding.replace("_", " ")
        share = checks["named_share"]
        if np.isnan(share):
            return (f"Nothing in the picture speaks for {words} beyond the average picture.",)
        if share < LITTLE:
            return (f"Named patterns carry {100 * share:.0f} % of what speaks for {words}: most of it has no name.",)
        return ()

    def _probability(self, finding: str, logit: float) -> float:
        operation = self.classifier.card.operations.get(finding, Operation())
        return sigmoid(operation.slope * logit + operation.intercept)
