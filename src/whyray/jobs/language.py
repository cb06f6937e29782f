"""Measure generated explanations against references: every metric with its signature, baselines, n and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._clev import MAJORITY, cited, clev_terms
from ..metrics._intervals import REPLICATES, patient_weights
from ..metrics.language import (
    CONSTANT,
    DIVERSITY,
    Overlap,
    Term,
    auc_terms,
    comparable,
    jackknife,
    overlap_terms,
    selection_term,
    wording_terms,
)
from ..text.labeller import Labeller, RuleLabeller
from ..types import Score
from ._language_pairs import LABELS, Material, material

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

GENERATED, FIXED, MOST, REAL = "generated", "constant sentence", "majority (Lung Opacity)", "references"
SLICES = ("all pairs", "correctly predicted")
NO_PREDICTIONS = "no line has img_probabilities or predicted: which pairs are correct is unknown"


@dataclass(frozen=True)
class Language:
    """What was measured.

    scores      a row a metric, slice and writer: "generated", "constant sentence", "references" (what the labeller and
                the measures of wording make of the references themselves), "majority (Lung Opacity)" for CLEV.
    differences generated less constant sentence, drawn together.
    signatures  metric -> everything its value depends on; values compare where these are equal.
    skipped     metric -> why it could not run.
    notes       what of the two files did not fit together.
    """

    scores: tuple[Score, ...]
    differences: tuple[Score, ...]
    signatures: Mapping[str, str]
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Scores, then differences, each with its signature."""
        known = [{k: v for k, v in vars(s).items() if v is not None} for s in (*self.scores, *self.differences)]
        return [{**row, "signature": self.signatures[row["metric"].removesuffix("_difference")]} for row in known]


def evaluate_language(
    generated: str | Path,
    references: str | Path,
    *,
    bertscore: str | Path | None = None,
    constant: str = CONSTANT,
    labeller: Labeller | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Language:
    """Every metric over all pairs and over correctly predicted ones, with 95 % intervals by patient.

    generated, references  JSON lines; see ``jobs/_language_pairs.py`` and docs/metrics-language.md.
    bertscore  folder of the model for BERTScore; without one the term is skipped, and named in the selection score.
    constant   the sentence of the baseline that looks at no picture.
    labeller   gives sentences their evidence; the rules by default.
    Raises DataError for files of another form.
    """
    labeller = labeller or RuleLabeller(LABELS)
    held = material(generated, references, labeller)
    draws = np.concatenate(
        list(patient_weights([p.patient for p in held.pairs], replicates, seed)) or [np.empty((0, 0))]
    )
    table = _Table(held, draws)
    overlap = table.writers(bertscore, constant, labeller)
    skipped = dict(overlap.skipped)
    table.predictions(overlap, skipped, replicates, seed)
    facts = {
        "pairs": len(held.pairs),
        "correctly predicted": sum(p.correct is True for p in held.pairs),
        "sentences with a prediction": len(held.patients),
        "patients": len({p.patient for p in held.pairs}),
        "evidence of the references": held.evidence,
        "constant sentence": constant,
        "seed": seed,
        "replicates": replicates,
    }
    if all(p.correct is None for p in held.pairs if p.text):
        skipped["correctly predicted"] = NO_PREDICTIONS
    return Language(tuple(table.scores), tuple(table.differences), table.signatures, skipped, held.notes, facts)


class _Table:
    """Rows as they are made; all of them share the draws of patients ``[r, n]``."""

    def __init__(self, held: Material, draws: Array) -> None:
        self.held, self.draws = held, draws
        self.scores: list[Score] = []
        self.differences: list[Score] = []
        self.signatures: dict[str, str] = {}
        self.masks = dict(zip(SLICES, (np.ones(len(held.pairs)), np.array([p.correct is True for p in held.pairs]))))
        self.known: dict[str, Term] = {}

    def writers(self, bertscore: str | Path | None, constant: str, labeller: Labeller) -> Overlap:
        """Rows of all writers; the overlap of the generated ones."""
        pairs = self.held.pairs
        references, texts = [p.reference for p in pairs], [p.text for p in pairs]
        by = f"labeller:{type(labeller).__name__}|references:{self.held.evidence}"
        wanted = [p.wanted for p in pairs]

        def evidence(written: Sequence[str]) -> list[Term]:
            held = {key: cited(*key, labeller) for key in {(t, p.diagnosis) for t, p in zip(written, pairs)}}
            return clev_terms([held[t, p.diagnosis] for t, p in zip(written, pairs)], wanted, by)

        overlap = overlap_terms(texts, references, bertscore)
        fixed = [constant] * len(pairs)
        mine = [*overlap.terms, *evidence(texts), *wording_terms(texts)]
        theirs = [*overlap_terms(fixed, references, bertscore).terms, *evidence(fixed), *wording_terms(fixed)]
        self.add(GENERATED, mine)
        self.add(FIXED, theirs)
        self.add(MOST, clev_terms([MAJORITY] * len(pairs), wanted, by))
        self.add(REAL, [*evidence(references), *wording_terms(references)])
        for writer, written in ((GENERATED, texts), (FIXED, fixed), (REAL, references)):
            self.diversity(writer, written)
        self.compare(mine, theirs)
        self.known = {t.name: t for t in mine}
        return overlap

    def add(self, writer: str, terms: Sequence[Term]) -> None:
        """A row a term and slice."""
        for name, mask in self._slices():
            for term in terms:
                self.signatures.setdefault(term.name, term.signature)
                value, low, high = self.measured(term, mask)
                self.scores.append(Score("all", term.name, value, low, high, int(mask.sum()), writer, name))

    def diversity(self, writer: str, texts: Sequence[str]) -> None:
        """Rows of measures of a set; a text of several diagnoses counts once a pair."""
        for name, mask in self._slices():
            kept = [(t, p.patient) for t, p, on in zip(texts, self.held.pairs, mask) if on]
            for metric, (measure, signature) in DIVERSITY.items():
                self.signatures.setdefault(metric, signature)
                value, low, high = jackknife(measure, [t for t, _ in kept], [p for _, p in kept])
                self.scores.append(Score("all", metric, value, low, high, len(kept), writer, name))

    def compare(self, mine: Sequence[Term], theirs: Sequence[Term]) -> None:
        """Generated less constant sentence, from the same draws."""
        for name, mask in self._slices():
            for one, other in zip(mine, theirs, strict=True):
                comparable(one, other)
                a, b = (self.values(t, mask) for t in (one, other))
                value = float(a[0] - b[0])
                low, high = _ends(a[1:] - b[1:])
                metric, n = f"{one.name}_difference", int(mask.sum())
                self.differences.append(Score("all", metric, value, low, high, n, GENERATED, name, FIXED))

    def predictions(self, overlap: Overlap, skipped: dict[str, str], replicates: int, seed: int) -> None:
        """AUC both ways, and the published selection score over all pairs."""
        held = self.held
        if not held.patients:
            skipped |= dict.fromkeys(("auc_three_state", "auc_binary", "selection"), "no line has img_probabilities")
            return
        both = [p.patient for p in held.pairs] + list(held.patients)
        drawn = np.concatenate(list(patient_weights(both, replicates, seed)))
        ones = np.concatenate([np.ones((1, len(both))), drawn])
        pairs, sentences = ones[:, : len(held.pairs)], ones[:, len(held.pairs) :]
        three, binary = auc_terms(held.probabilities, held.truth)
        for term in (three, binary):
            self._row(term.name, term.signature, term.measure(sentences), len(held.patients))
        signature, ran = selection_term(binary, self.known["clev"], overlap)
        if not ran:
            skipped["selection"] = "neither BERTScore nor METEOR could run"
            return
        likeness = np.mean([t.measure(pairs) for t in ran], axis=0)
        product = binary.measure(sentences) * self.known["clev"].measure(pairs) * likeness
        self._row("selection", signature, product, len(held.pairs))

    def _row(self, name: str, signature: str, values: Array, n: int) -> None:
        self.signatures[name] = signature
        low, high = _ends(values[1:])
        self.scores.append(Score("all", name, float(values[0]), low, high, n, GENERATED, SLICES[0]))

    def values(self, term: Term, mask: Array) -> Array:
        """[1 + r]: the value, then that of each draw."""
        weights = np.concatenate([np.ones((1, len(mask))), self.draws]) * mask
        return term.measure(weights)

    def measured(self, term: Term, mask: Array) -> tuple[float, float, float]:
        """Value and 95 % interval."""
        values = self.values(term, mask)
        return (float(values[0]), *_ends(values[1:]))

    def _slices(self) -> Iterator[tuple[str, Array]]:
        """Slices that hold a pair."""
        yield from ((name, np.asarray(mask, np.float64)) for name, mask in self.masks.items() if mask.any())


def _ends(values: Array) -> tuple[float, float]:
    """2.5th and 97.5th percentile of what is finite."""
    kept = values[np.isfinite(values)]
    low, high = np.percentile(kept, (2.5, 97.5)) if len(kept) else (np.nan, np.nan)
    return float(low), float(high)
