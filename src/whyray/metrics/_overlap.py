"""Overlap of a sentence with its reference: BLEU-1..4, ROUGE-L, METEOR (sacrebleu, rouge-score, nltk), CIDEr.

Libraries score each sentence; what is ours is putting counts together again for every bootstrap draw, and CIDEr.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingExtra
from ._terms import Term, mean_term

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_WORD = re.compile(r"[a-z0-9]+(?:['\-][a-z0-9]+)*")
ORDERS = (1, 2, 3, 4)
SIGMA = 6.0  # of CIDEr-D's penalty for another length (Vedantam et al., 2015)


def words(text: str) -> list[str]:
    """Lower-case words and numbers; a hyphen or an apostrophe joins."""
    return _WORD.findall(text.lower())


def bleu_terms(texts: Sequence[str], references: Sequence[str]) -> list[Term]:
    """Corpus BLEU-1..4, 0..1 (Papineni et al., 2002). Raises MissingExtra."""
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise MissingExtra("sacrebleu", "BLEU", "text") from None
    scorer = BLEU(lowercase=True, smooth_method="none", effective_order=False)
    counts = np.array([_counts(scorer, t, r) for t, r in zip(texts, references, strict=True)]).reshape(-1, 10)
    made = version("sacrebleu")
    facts = f"nrefs:1|case:lc|tok:13a|smooth:none|level:corpus|sacrebleu:{made}"
    return [Term(f"bleu_{n}", f"BLEU-{n}|{facts}", _bleu(counts, n)) for n in ORDERS]


def _counts(scorer: Any, text: str, reference: str) -> list[float]:
    """[10]: n-grams found, n-grams there (1 to 4 each), lengths of text and reference."""
    found = scorer.corpus_score([text], [[reference]])
    return [*found.counts, *found.totals, found.sys_len, found.ref_len]


def _bleu(counts: Array, n: int) -> Any:
    def measure(weights: Array) -> Array:
        sums = weights @ counts
        with np.errstate(divide="ignore", invalid="ignore"):
            precisions = np.log(sums[..., :n] / sums[..., 4 : 4 + n]).mean(axis=-1)
            brevity = np.minimum(0.0, 1 - sums[..., 9] / sums[..., 8])
        value = np.where((sums[..., :n] > 0).all(axis=-1), np.exp(precisions + brevity), 0.0)
        return np.asarray(np.where(weights.sum(axis=-1) > 0, value, np.nan))

    return measure


def rouge_term(texts: Sequence[str], references: Sequence[str]) -> Term:
    """ROUGE-L, F1 of the longest common subsequence, 0..1 (Lin, 2004). Raises MissingExtra."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise MissingExtra("rouge_score", "ROUGE-L", "text") from None
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    values = [scorer.score(r, t)["rougeL"].fmeasure for t, r in zip(texts, references, strict=True)]
    return mean_term("rouge_l", f"ROUGE-L|F1|stem:no|rouge-score:{version('rouge_score')}", values)


def meteor_term(texts: Sequence[str], references: Sequence[str]) -> Term:
    """METEOR: exact words, then stems, then WordNet where it is installed, 0..1 (Banerjee and Lavie, 2005).

    The signature says which. Raises MissingExtra.
    """
    try:
        from nltk.translate.meteor_score import single_meteor_score
    except ImportError:
        raise MissingExtra("nltk", "METEOR", "text") from None
    net = _wordnet()
    values = [
        single_meteor_score(words(r), words(t), wordnet=net or _NoSynonyms()) if words(t) and words(r) else 0.0
        for t, r in zip(texts, references, strict=True)
    ]
    stages = "exact+stem+wordnet" if net else "exact+stem"
    facts = f"alpha:0.9|beta:3|gamma:0.5|match:{stages}|nltk:{version('nltk')}"
    return mean_term("meteor", f"METEOR|{facts}", values)


class _NoSynonyms:
    """What METEOR asks of WordNet, where there is none."""

    def synsets(self, _word: str) -> list[Any]:
        """No word has a synonym."""
        return []


def _wordnet() -> Any:
    """WordNet of nltk's data, or None."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return None
    return wordnet


def cider_term(texts: Sequence[str], references: Sequence[str]) -> Term:
    """CIDEr-D, 0..10 (Vedantam et al., 2015), document frequencies from the references."""
    values = cider_d([words(t) for t in texts], [[words(r)] for r in references])
    facts = f"n:4|sigma:{SIGMA:g}|df:references|documents:{len(references)}|tok:words|stem:no"
    return mean_term("cider", f"CIDEr-D|{facts}", values)


def cider_d(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> list[float]:
    """CIDEr-D of each candidate against its own references, 0..10: n-grams weighted by tf-idf, clipped to the
    reference, with a Gaussian penalty for another length; mean over 1- to 4-grams and references, times 10.

    The document frequency of an n-gram is the number of candidates' reference sets that hold it.
    """
    grams = [[[_ngrams(r, n) for n in ORDERS] for r in refs] for refs in references]
    frequency: Counter[tuple[str, ...]] = Counter()
    for refs in grams:
        frequency.update({g for orders in refs for held in orders for g in held})
    whole = np.log(max(1, len(references)))

    def weighted(held: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
        return {g: count * (whole - float(np.log(max(1, frequency[g])))) for g, count in held.items()}

    out = []
    for candidate, lengths, held in zip(candidates, references, grams, strict=True):
        own = [weighted(_ngrams(candidate, n)) for n in ORDERS]
        each = [_similarity(own, [weighted(h) for h in h4], len(candidate) - len(r)) for r, h4 in zip(lengths, held)]
        out.append(10 * float(np.mean(each)) if each else 0.0)
    return out


def _similarity(
    own: Sequence[dict[tuple[str, ...], float]], other: Sequence[dict[tuple[str, ...], float]], gap: int
) -> float:
    """Mean over orders of the clipped cosine, times the penalty for a difference of length of ``gap`` words."""
    values = []
    for mine, theirs in zip(own, other, strict=True):
        norms = np.sqrt(sum(v * v for v in mine.values())) * np.sqrt(sum(v * v for v in theirs.values()))
        product = sum(min(v, theirs[g]) * theirs[g] for g, v in mine.items() if g in theirs)
        values.append(product / norms if norms > 0 else 0.0)
    return float(np.mean(values) * np.exp(-(gap**2) / (2 * SIGMA**2)))


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
