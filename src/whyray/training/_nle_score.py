"""Sentences of a split, and the published criterion by which an epoch is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..datasets._phantom_nle import Audience
from ..metrics._clev import Evidence, cited, clev_terms
from ..metrics.classification import auc
from ..metrics.language import auc_terms, overlap_terms, selection_term
from ..models._narrators import prompt
from ..networks.decoding import greedy
from ..text.labeller import RuleLabeller
from ..text.lay_evidence import lay_evidence
from ._nle_pairs import LABELS, Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .nle import NleTask, Split

BATCH = 32
Check = Callable[[], None]


def reader(audience: Audience) -> Callable[[str, str], Evidence]:
    """(sentence, diagnosis) -> the evidence that it cites, read in the words of its audience."""
    if audience == "lay":
        return lay_evidence
    labeller = RuleLabeller(LABELS)
    return lambda text, diagnosis: cited(text, diagnosis, labeller)


def written(
    task: NleTask,
    module: nn.Module,
    split: Split,
    pairs: Sequence[Pair],
    check: Check = lambda: None,
    *,
    looks_at: Sequence[int] | None = None,
) -> tuple[list[str], NDArray[np.float64]]:
    """A greedy sentence a pair, and the probabilities ``[n, p]`` of its picture; ``looks_at``: other pictures."""
    rows = list(looks_at) if looks_at is not None else [p.case for p in pairs]
    texts = [""] * len(pairs)
    told: NDArray[np.float64] = np.zeros((len(pairs), split.seen.predictions))
    for diagnosis in dict.fromkeys(p.diagnosis for p in pairs):
        chosen = [i for i, p in enumerate(pairs) if p.diagnosis == diagnosis]
        for start in range(0, len(chosen), BATCH):
            part = chosen[start : start + BATCH]
            made, probabilities = _batch(task, module, split, [rows[i] for i in part], diagnosis)
            told[part] = probabilities.double().cpu().numpy()
            for i, text in zip(part, made, strict=True):
                texts[i] = text
            check()
    return texts, told


def _batch(
    task: NleTask, module: nn.Module, split: Split, rows: Sequence[int], diagnosis: str
) -> tuple[list[str], Tensor]:
    device = next(module.parameters()).device
    narrator, tokenizer = module["narrator"], task.tokenizer  # type: ignore[index]
    with torch.inference_mode():
        features, probabilities, _ = split.seen(module, rows, -1)
        memory = narrator.memory(features.to(device), probabilities.to(device))

        def step(tokens: Tensor, cache: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
            return narrator(memory, tokens.to(device), cache)  # type: ignore[no-any-return]

        made = greedy(step, prompt(tokenizer, diagnosis), len(rows), tokenizer.end, task.plan.decoding)
    return [tokenizer.decode(tokens).strip() for tokens in made], probabilities


def score_of(
    task: NleTask, split: Split, pairs: Sequence[Pair], texts: Sequence[str], probabilities: NDArray[np.float64]
) -> tuple[dict[str, float], str]:
    """The criterion and its parts, 0..1, and the signature that names what its mean had to leave out."""
    if not pairs:
        return {"selection": 0.0}, "no pairs"
    read, by = reader(task.plan.audience), "lay_evidence" if task.plan.audience == "lay" else "RuleLabeller"
    references = [p.texts[0] for p in pairs]
    found, wanted = (
        [read(text, p.diagnosis) for text, p in zip(held, pairs, strict=True)] for held in (texts, references)
    )
    clev = clev_terms(found, wanted, f"labeller:{by}|references:labelled")
    overlap = overlap_terms(texts, references, task.plan.bertscore or None)
    ones = np.ones((1, len(pairs)))
    binary = auc_terms(np.zeros((2, 1, 3)), np.zeros((2, 1, 3)))[1]
    signature, ran = selection_term(binary, clev[0], overlap)
    parts = {t.name: float(t.measure(ones)[0]) for t in (*clev, *overlap.terms) if t.name in _SHOWN}
    area = _auc(split, pairs, probabilities)
    likeness = float(np.mean([t.measure(ones)[0] for t in ran])) if ran else 1.0
    chosen = area * parts["clev"] * likeness
    return {"selection": chosen if np.isfinite(chosen) else 0.0, "auc": area, **parts}, signature


_SHOWN = ("clev", "macro_clev", "bleu_4", "rouge_l", "meteor", "bertscore")


def _auc(split: Split, pairs: Sequence[Pair], probabilities: NDArray[np.float64]) -> float:
    """Mean AUC (uncertain or positive against negative) over the findings that have both, of the pairs' pictures."""
    rows = sorted({p.case: i for i, p in enumerate(pairs)}.items())
    states = split.states[[case for case, _ in rows]]
    told = probabilities[[i for _, i in rows]]
    if not np.isfinite(told).all():
        return float("nan")
    if told.shape[1] != states.shape[1]:
        told = 1 - told[:, ::3]
    truth = np.where(states < 0, np.nan, (states > 0).astype(float))
    areas = [auc(told[:, k], truth[:, k]) for k in range(states.shape[1])]
    known = [a for a in areas if np.isfinite(a)]
    return float(np.mean(known)) if known else 1.0
