"""What a generator's sentences are worth on cases it never saw, beside answers that look at no picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._clev import Evidence
from ..metrics._intervals import REPLICATES, patient_weights
from ..metrics._wording import grade
from ..metrics.language import CONSTANTS
from ._nle_pairs import Pair
from ._nle_score import reader, written

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from ..datasets._phantom_nle import Audience
    from .nle import NleTask, Split

    Array = NDArray[np.float64]

SIDES = ("left", "right", "bilateral", "both")
ZONES: dict[Audience, tuple[str, ...]] = {
    "clinician": ("upper", "mid", "lower"),
    "lay": ("upper part", "middle part", "lower part"),
}


def measured(task: NleTask, module: nn.Module, split: Split, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Rows metric, writer, value, low, high, n: 95 % intervals by patient.

    clev     the same evidence as the reference, by "generated", "shuffled image" (the generator on the picture of
             another case with the same diagnosis), "constant sentence", and "constant a diagnosis" (the evidence that
             its training sentences hold most often).
    changed  share of sentences that differ from those on the shuffled image.
    side, zone  share of the references' sides (zones) that the sentence names, on its own image and on the other one.
    grade    Flesch-Kincaid grade of a sentence, by "generated" and "reference".
    """
    pairs = split.pairs
    if not pairs:
        return []
    others, _ = written(task, module, split, pairs, looks_at=_shuffled(pairs))
    audience = task.plan.audience
    read = reader(audience)
    wanted = [read(p.texts[0], p.diagnosis) for p in pairs]
    usual = _usual(task.train.pairs, read)

    def clev(written_texts: Sequence[str]) -> Array:
        found = [read(text, p.diagnosis) for text, p in zip(written_texts, pairs, strict=True)]
        return np.array([a == b for a, b in zip(found, wanted, strict=True)], float)

    columns: dict[tuple[str, str], Array] = {
        ("clev", "generated"): clev(texts),
        ("clev", "shuffled image"): clev(others),
        ("clev", "constant sentence"): clev([CONSTANTS[audience]] * len(pairs)),
        ("clev", "constant a diagnosis"): np.array(
            [usual.get(p.diagnosis) == w for p, w in zip(pairs, wanted, strict=True)], float
        ),
        ("changed", "generated"): np.array([a != b for a, b in zip(texts, others, strict=True)], float),
    }
    for name, words in (("side", SIDES), ("zone", ZONES[audience])):
        for writer, held in (("generated", texts), ("shuffled image", others)):
            columns[name, writer] = _named(words, held, pairs)
    columns["grade", "generated"] = np.array([grade(text) for text in texts])
    columns["grade", "reference"] = np.array([grade(p.texts[0]) for p in pairs])
    columns["clev_difference", "generated less constant sentence"] = (
        columns["clev", "generated"] - columns["clev", "constant sentence"]
    )
    columns["clev_difference", "generated less constant a diagnosis"] = (
        columns["clev", "generated"] - columns["clev", "constant a diagnosis"]
    )
    return [_row(metric, writer, values, pairs) for (metric, writer), values in columns.items()]


def _shuffled(pairs: Sequence[Pair]) -> list[int]:
    """For each pair the picture of the next one with the same diagnosis, the last one's that of the first."""
    out = [0] * len(pairs)
    for diagnosis in dict.fromkeys(p.diagnosis for p in pairs):
        same = [i for i, p in enumerate(pairs) if p.diagnosis == diagnosis]
        for i, j in zip(same, same[1:] + same[:1], strict=True):
            out[i] = pairs[j].case
    return out


def _usual(pairs: Sequence[Pair], read: Callable[[str, str], Evidence]) -> dict[str, Evidence]:
    """diagnosis -> the evidence its sentences cite most often."""
    counts: dict[str, Counter[Evidence]] = {}
    for pair in pairs:
        counts.setdefault(pair.diagnosis, Counter())[read(pair.texts[0], pair.diagnosis)] += 1
    return {diagnosis: found.most_common(1)[0][0] for diagnosis, found in counts.items()}


def _named(words: Sequence[str], texts: Sequence[str], pairs: Sequence[Pair]) -> Array:
    """1 where a text names the words of this kind that its reference names, else 0; NaN where that names none."""
    out = []
    for text, pair in zip(texts, pairs, strict=True):
        wanted, found = ({w for w in words if f" {w} " in _spaced(said)} for said in (pair.texts[0], text))
        out.append(float(found == wanted) if wanted else np.nan)
    return np.array(out)


def _spaced(text: str) -> str:
    """In small letters, with one blank before, between and behind the words."""
    return f" {' '.join(text.lower().split())} "


def _row(metric: str, writer: str, values: Array, pairs: Sequence[Pair]) -> dict[str, Any]:
    known = np.isfinite(values)
    held, patients = values[known], [p.patient for p, on in zip(pairs, known, strict=True) if on]
    if not len(held):
        return {"metric": metric, "writer": writer, "value": None, "low": None, "high": None, "n": 0}
    draws = np.concatenate([w @ held / w.sum(1) for w in patient_weights(patients, REPLICATES, 0)])
    low, high = np.percentile(draws, (2.5, 97.5))
    value = {"value": float(held.mean()), "low": float(low), "high": float(high), "n": len(held)}
    return {"metric": metric, "writer": writer, **value}
