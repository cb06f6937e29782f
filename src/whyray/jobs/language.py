"""Measure generated explanations against references: every metric with its signature, baselines, n and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._clev import MAJORITY, cited, clev_terms
from ..metrics._intervals import REPLICATES, patient_weights, value_and_interval
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
    table = _Table(held, seed, replicates)
    overlap = table.writers(bertscore, constant, labeller)
    skipped = dict(overlap.skipped)
    table.predictions(overlap, skipped)
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
    """Rows as they are made; all of them rest on the same draws of patients."""

    def __init__(self, held: Material, seed: int, replicates: int) -> None:
        self.held, self.seed, self.replicates = held, seed, replicates
        self.scores: list[Score] = []
        self.differences: list[Score] = []
        self.signatures: dict[str, str] = {}
        masks = (np.ones(len(held.pairs)), np.array([float(p.correct is True) for p in held.pairs]))
        self.masks = {name: mask for name, mask in zip(SLICES, masks, strict=True) if mask.any()}
        self.clev: Term | None = None

    def writers(self, bertscore: str | Path | None, constant: str, labeller: Labeller) -> Overlap:
        """Rows of all writers; the overlap of the generated ones."""
        pairs = self.held.pairs
        references, texts, fixed = [p.reference for p in pairs], [p.text for p in pairs], [constant] * len(pairs)
        by = f"labeller:{type(labeller).__name__}|references:{self.held.evidence}"
        wanted = [p.wanted for p in pairs]

        def evidence(written: Sequence[str]) -> list[Term]:
            held = {key: cited(*key, labeller) for key in {(t, p.diagnosis) for t, p in zip(written, pairs)}}
            return clev_terms([held[t, p.diagnosis] for t, p in zip(written, pairs)], wanted, by)

        overlap = overlap_terms(texts, references, bertscore)
        plain = overlap_terms(fixed, references, bertscore)
        mine, theirs, real = evidence(texts), evidence(fixed), evidence(references)
        self.clev = mine[0]
        self.rows(
            {
                GENERATED: [*overlap.terms, *mine, *wording_terms(texts)],
                FIXED: [*plain.terms, *theirs, *wording_terms(fixed)],
                MOST: clev_terms([MAJORITY] * len(pairs), wanted, by),
                REAL: [*real, *wording_terms(references)],
            }
        )
        for writer, written in ((GENERATED, texts), (FIXED, fixed), (REAL, references)):
            self.diversity(writer, written)
        return overlap

    def rows(self, terms: Mapping[str, Sequence[Term]]) -> None:
        """A row a writer, term and slice; then generated less constant sentence."""
        asked = {
            (w, t.name, name): (t, mask) for name, mask in self.masks.items() for w, ts in terms.items() for t in ts
        }
        values = dict(zip(asked, self.values(list(asked.values())), strict=True))
        for (writer, metric, name), found in values.items():
            self.signatures.setdefault(metric, asked[writer, metric, name][0].signature)
            n = int(self.masks[name].sum())
            self.scores.append(Score("all", metric, *value_and_interval(found), n, writer, name))
            if writer == GENERATED:
                other = FIXED, metric, name
                comparable(asked[writer, metric, name][0], asked[other][0])
                gap = value_and_interval(found - values[other])
                self.differences.append(Score("all", f"{metric}_difference", *gap, n, writer, name, FIXED))

    def diversity(self, writer: str, texts: Sequence[str]) -> None:
        """Rows of measures of a set; a text of several diagnoses counts once a pair."""
        for name, mask in self.masks.items():
            kept = [(t, p.patient) for t, p, on in zip(texts, self.held.pairs, mask) if on]
            for metric, (measure, signature) in DIVERSITY.items():
                self.signatures.setdefault(metric, signature)
                found = jackknife(measure, [t for t, _ in kept], [p for _, p in kept])
                self.scores.append(Score("all", metric, *found, len(kept), writer, name))

    def predictions(self, overlap: Overlap, skipped: dict[str, str]) -> None:
        """AUC both ways, and the published selection score over all pairs."""
        held = self.held
        if not held.patients or self.clev is None:
            skipped |= dict.fromkeys(("auc_three_state", "auc_binary", "selection"), "no line has img_probabilities")
            return
        three, binary = auc_terms(held.probabilities, held.truth)
        signature, ran = selection_term(binary, self.clev, overlap)
        parts: list[list[Array]] = []
        for weights in self.draws([p.patient for p in held.pairs] + list(held.patients)):
            pairs, sentences = weights[:, : len(held.pairs)], weights[:, len(held.pairs) :]
            likeness = np.mean([t.measure(pairs) for t in ran], axis=0) if ran else np.nan
            auc = binary.measure(sentences)
            parts.append([three.measure(sentences), auc, auc * self.clev.measure(pairs) * likeness])
        for metric, told, values in zip(
            (three.name, binary.name, "selection"),
            (three.signature, binary.signature, signature),
            map(np.concatenate, zip(*parts)),
            strict=True,
        ):
            if metric == "selection" and not ran:
                skipped["selection"] = "neither BERTScore nor METEOR could run"
                continue
            self.signatures[metric] = told
            n = len(held.pairs) if metric == "selection" else len(held.patients)
            self.scores.append(Score("all", metric, *value_and_interval(values), n, GENERATED, SLICES[0]))

    def values(self, asked: Sequence[tuple[Term, Array]]) -> list[Array]:
        """[1 + r] each: the value, then that of each draw; a piece of the draws at a time."""
        pieces = [
            [term.measure(weights * mask) for term, mask in asked]
            for weights in self.draws([p.patient for p in self.held.pairs])
        ]
        return [np.concatenate(held) for held in zip(*pieces)]

    def draws(self, patients: Sequence[str]) -> Iterator[Array]:
        """Everything once, then pieces of the bootstrap ``[r, n]``."""
        yield np.ones((1, len(patients)))
        yield from patient_weights(patients, self.replicates, self.seed)
