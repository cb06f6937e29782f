"""Generated explanations: overlap with references, CLEV, diversity, mentions of earlier films, readability, AUC.

Every measure is a `Term` with its signature, or a function of a set of texts. What cannot run here, for want of a
package or a model, is named, never replaced, and changes the signature of every mean it drops out of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Metric
from ..errors import MissingExtra
from ._bertscore import bertscore_term
from ._clev import Evidence, cited, clev_terms, published
from ._overlap import bleu_terms, cider_d, cider_term, meteor_term, rouge_term
from ._terms import Term, comparable, mean_term
from ._three_states import auc_terms
from ._wording import distinct, grade, jackknife, reading_ease, self_bleu, share_unique, speaks_of_earlier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = [
    "CONSTANT",
    "CONSTANTS",
    "DIVERSITY",
    "METRICS",
    "Overlap",
    "Term",
    "auc_terms",
    "cider_d",
    "cited",
    "clev",
    "clev_terms",
    "comparable",
    "distinct",
    "grade",
    "jackknife",
    "overlap_terms",
    "published",
    "reading_ease",
    "selection_term",
    "self_bleu",
    "share_unique",
    "speaks_of_earlier",
    "wording_terms",
]

CONSTANT = "There is an opacity, which may represent atelectasis or pneumonia."
CONSTANTS = {"clinician": CONSTANT, "lay": "There is a hazy spot in the lung, which may be a sign of illness."}
DIVERSITY: Mapping[str, tuple[Callable[[Sequence[str]], float], str]] = {
    "distinct_1": (lambda texts: distinct(texts, 1), "distinct-1|tok:words"),
    "distinct_2": (lambda texts: distinct(texts, 2), "distinct-2|tok:words"),
    "self_bleu": (self_bleu, "self-BLEU-4|smooth:0.1|tok:words"),
    "share_unique": (share_unique, "share unique|by:words"),
}
NO_MODEL = "no model was named (--bertscore FOLDER)"


@dataclass(frozen=True)
class Overlap:
    """Terms that ran, and name -> why for those that did not."""

    terms: tuple[Term, ...]
    skipped: Mapping[str, str]


def overlap_terms(texts: Sequence[str], references: Sequence[str], bertscore: str | Path | None = None) -> Overlap:
    """BLEU-1..4, ROUGE-L, METEOR, CIDEr-D and BERTScore of texts with one reference each, as far as they can run."""
    ways: dict[str, Callable[[], list[Term]]] = {
        "bleu": lambda: bleu_terms(texts, references),
        "rouge_l": lambda: [rouge_term(texts, references)],
        "meteor": lambda: [meteor_term(texts, references)],
        "cider": lambda: [cider_term(texts, references)],
    }
    if bertscore:
        ways["bertscore"] = lambda: [bertscore_term(texts, references, bertscore)]
    terms: list[Term] = []
    skipped = {} if bertscore else {"bertscore": NO_MODEL}
    for name, way in ways.items():
        try:
            terms += way()
        except MissingExtra as missing:
            skipped[name] = str(missing)
    return Overlap(tuple(terms), skipped)


def wording_terms(texts: Sequence[str]) -> list[Term]:
    """Share that speaks of an earlier film or time, Flesch reading ease, Flesch-Kincaid grade, share of empty texts.

    A text without a word is in neither readability mean.
    """
    ease, school = (np.array([measure(t) for t in texts]) for measure in (reading_ease, grade))
    return [
        mean_term(
            "speaks_of_earlier", "speaks of an earlier film|rules:assertion", _each(speaks_of_earlier, texts), "lower"
        ),
        mean_term("empty", "share without a word", [float(not t.strip()) for t in texts], "lower"),
        _known("reading_ease", "Flesch reading ease|syllables:estimated", ease, "higher"),
        _known("grade", "Flesch-Kincaid grade|syllables:estimated", school, "lower"),
    ]


def selection_term(auc: Term, clev: Term, overlap: Overlap) -> tuple[str, tuple[Term, ...]]:
    """(signature, terms of the mean) of the published criterion AUC x CLEV x mean(BERTScore, METEOR).

    A term that did not run is left out of the mean and named in the signature. The product needs weights of two kinds
    (sentences for the AUC, pairs for the rest), so that a caller puts it together.
    """
    wanted = ("bertscore", "meteor")
    ran = tuple(t for t in overlap.terms if t.name in wanted)
    dropped = [name for name in wanted if name not in {t.name for t in ran}]
    parts = [t.signature for t in (auc, clev, *ran)]
    return " x ".join(parts) + (f" | dropped: {', '.join(dropped)}" if dropped else ""), ran


def _each(measure: Callable[[str], bool], texts: Sequence[str]) -> list[float]:
    return [float(measure(t)) for t in texts]


def _known(name: str, signature: str, values: Array, better: str) -> Term:
    """The mean over texts that have a value."""
    known = np.isfinite(values)
    held = np.where(known, values, 0.0)

    def measure(weights: Array) -> Array:
        whole = weights @ known
        return np.asarray(np.divide(weights @ held, whole, out=np.full(whole.shape, np.nan), where=whole > 0))

    return Term(name, signature, measure, better)  # type: ignore[arg-type]


def clev(found: Sequence[Evidence], wanted: Sequence[Evidence]) -> float:
    """Share of sentences whose set of evidence is that of the reference, 0..1."""
    return float(np.mean([a == b for a, b in zip(found, wanted, strict=True)])) if len(wanted) else float("nan")


_NLE = "Kayser et al., Explaining Chest X-ray Pathologies in Natural Language, MICCAI 2022"
METRICS: tuple[Metric, ...] = (
    Metric("clev", clev, "higher", (0.0, 1.0), frozenset({"references"}), paper=_NLE),
    Metric("self_bleu", self_bleu, "lower", (0.0, 1.0)),
    Metric("share_unique", share_unique, "higher", (0.0, 1.0)),
)
