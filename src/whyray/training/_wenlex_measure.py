"""How well sentences of a generator name their diagnosis and bring back their picture, beside their controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nf

from ..contracts import Classifier
from ..metrics._intervals import Weighted, interval
from ..models._wenlex import WeakGenerator
from ._wenlex_asked import SEVERITIES, SIDES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._wenlex_seen import Split

BATCH = 32
SEED = 11
MOST = 600  # sentences that are measured, of each audience


@dataclass(frozen=True, eq=False)
class Written:
    """Sentences on the called diagnoses of a split's pictures, for one audience.

    rows, diagnosis  picture and diagnosis index of each ``[b]``.
    z, again         its vector, and that of its words ``[b, width]``.
    """

    rows: NDArray[np.int64]
    diagnosis: NDArray[np.int64]
    texts: tuple[str, ...]
    z: Tensor
    again: Tensor


def written(
    generator: WeakGenerator, split: Split, audience: str, check: Callable[[], None], most: int = MOST
) -> Written:
    """A sentence on each called diagnosis of each picture, or on so many of them, evenly from all."""
    rows, diagnosis = np.nonzero(split.asked.called)
    if len(rows) > most:
        kept = np.linspace(0, len(rows) - 1, most).round().astype(int)
        rows, diagnosis = rows[kept], diagnosis[kept]
    parts, device = [], generator.coder.module.bias.device
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            check()
            mine = rows[start : start + BATCH]
            features, probabilities = (seen.to(device) for seen in split.read(mine.tolist()))
            names = [generator.diagnoses[d] for d in diagnosis[start : start + BATCH]]
            parts.append(generator.latents(features, probabilities, names, audience))
        z = torch.cat(parts) if parts else torch.zeros(0, generator.coder.width)
        texts = generator.texts(z)
        return Written(rows, diagnosis, tuple(texts), z, generator.encoded(texts))


def pooled(classifier: Classifier, generator: WeakGenerator, z: Tensor, check: Callable[[], None]) -> Tensor:
    """The classifier's pooled features ``[b, d]`` of the pictures made from z."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(z), BATCH):
            check()
            _, taps = classifier.run(generator.pictures(z[start : start + BATCH]), ("features",))
            parts.append(taps["features"].float().mean((2, 3)).cpu())
    return torch.cat(parts)


def columns(
    generator: WeakGenerator, classifier: Classifier, split: Split, made: Written, check: Callable[[], None]
) -> dict[str, NDArray[np.float64]]:
    """One number a sentence of each measure and control; NaN where there is none.

    cosine        of the pooled features of the picture made from the words, and of the picture itself.
    cosine_latent the same from the vector; _shuffled: from words of another picture with the same diagnosis; _label:
                  from the mean vector of the diagnosis's words.
    named         the words are of the diagnosis that was asked; side, severity: as the classifier's evidence is.
    """
    wanted = torch.cat(
        [split.read(made.rows[s : s + BATCH].tolist())[0].mean((2, 3)).cpu() for s in range(0, len(made.rows), BATCH)]
    )
    sources = {
        "cosine": made.again,
        "cosine_latent": made.z,
        "cosine_shuffled": made.again[torch.from_numpy(other_pictures(made))],
        "cosine_label": label_means(made),
    }
    out = {
        k: nf.cosine_similarity(pooled(classifier, generator, z, check), wanted).double().numpy()
        for k, z in sources.items()
    }
    with torch.inference_mode():
        out["named"] = (generator.recognised(made.again).argmax(1).cpu().numpy() == made.diagnosis).astype(float)
    asked = split.asked
    for name, want, choices in (("side", asked.sides, SIDES), ("severity", asked.severities, SEVERITIES)):
        index = want[made.rows, made.diagnosis]
        said = np.array([choices.index(read_of(name)(text)) for text in made.texts])
        out[name] = np.where(index >= 0, said == index, np.nan)
    return out


def read_of(name: str) -> Callable[[str], str]:
    """The rule that reads an attribute in words."""
    from ..text.attributes import severity_of, side_of

    return {"side": side_of, "severity": severity_of}[name]


def other_pictures(made: Written) -> NDArray[np.int64]:
    """For each sentence one of another picture with the same diagnosis ; itself where there is none."""
    out = np.arange(len(made.rows))
    for d in np.unique(made.diagnosis):
        same = np.flatnonzero(made.diagnosis == d)
        out[same] = np.roll(np.random.default_rng(SEED).permutation(same), 1)[np.argsort(np.argsort(same))]
    return out


def label_means(made: Written) -> Tensor:
    """Of each sentence the mean vector of all words on its diagnosis."""
    out = made.again.clone()
    for d in np.unique(made.diagnosis):
        same = torch.from_numpy(np.flatnonzero(made.diagnosis == d))
        out[same] = made.again[same].mean(0)
    return out


def validated(
    generator: WeakGenerator, classifier: Classifier, split: Split, check: Callable[[], None]
) -> dict[str, float]:
    """Means of each measure over the audiences, and first of all what decides: named + ten times the gain in cosine
    over the diagnosis alone."""
    found = []
    for audience in generator.audiences:
        made = written(generator, split, audience, check)
        means = {
            k: float(np.nanmean(v)) if np.isfinite(v).any() else 0.0
            for k, v in columns(generator, classifier, split, made, check).items()
        }
        found.append({**means, "different": len(set(made.texts)) / max(1, len(made.texts))})
    numbers = {k: float(np.mean([f[k] for f in found])) for k in found[0]}
    score = numbers["named"] + 10 * (numbers["cosine"] - numbers["cosine_label"])
    return {"score": score, **numbers}


def measured(generator: WeakGenerator, classifier: Classifier, split: Split) -> list[dict[str, Any]]:
    """Rows of mean, n and 95 % interval (patient bootstrap) of each measure and audience, on a test split."""
    out = []
    for audience in generator.audiences:
        made = written(generator, split, audience, lambda: None)
        patients = [split.patients[i] for i in made.rows]
        table = columns(generator, classifier, split, made, lambda: None)
        for name, values in table.items():
            known = np.isfinite(values)
            mine = values[known]
            row = {
                "audience": audience,
                "metric": name,
                "n": len(mine),
                "value": float(mine.mean()) if len(mine) else None,
            }
            low, high = interval(means_of(mine), [p for p, k in zip(patients, known, strict=True) if k])
            out.append({**row, **({"low": low, "high": high} if len(mine) else {"low": None, "high": None})})
    return out


def means_of(values: NDArray[np.float64]) -> Weighted:
    """Weights of the rows -> their mean."""
    return lambda weights: (weights @ values) / np.where(weights.sum(1) > 0, weights.sum(1), np.nan)
