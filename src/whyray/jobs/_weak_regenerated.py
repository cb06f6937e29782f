"""Pictures made from sentences, and what the classifier makes of them: those of each writer, and of the controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..types import array_hash
from ._weak_said import Generator, Rows, Said, vectors
from ._weak_seen import PIECE, Seen, called_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LATENT = "latent"
SHUFFLED, SHUFFLED_LATENT = "shuffled", "latent, shuffled"
SAME_LABEL = "shuffled within the label"
LABEL, LABEL_EXAMPLES = "label alone", "label alone (examples)"
SILENCE = "silence"
CONTROLS: Mapping[str, str] = {
    LATENT: "the vector that the sentence was written from: what the words lose against it is lost in writing",
    SHUFFLED: "the sentences of another picture",
    SHUFFLED_LATENT: "the vectors of another picture",
    SAME_LABEL: "each sentence replaced by one on the same diagnosis from another picture",
    LABEL: "each sentence replaced by the mean vector of that diagnosis over all other pictures",
    LABEL_EXAMPLES: "each sentence replaced by the mean vector of that diagnosis's examples",
    SILENCE: "each sentence replaced by one without a word: the generator's idea of a radiograph as such",
}


@dataclass(frozen=True, eq=False)
class Regenerated:
    """What the classifier makes of pictures from one writer's sentences: features ``[n, d]`` (NaN where a picture has
    no sentence) and the labels that it calls ``[n, f]``."""

    features: Array = field(repr=False)
    called: NDArray[np.bool_] = field(repr=False)


def controls(generator: Generator, rows: Rows, said: Said, latent: Said, audience: str, seed: int) -> dict[str, Array]:
    """Control -> the vector ``[n, w]`` from which each picture is made, NaN where there is none."""
    rng = np.random.default_rng(seed)
    words, hidden = rows.pooled(said.z), rows.pooled(latent.z)
    there = np.flatnonzero(np.isfinite(words).all(axis=1))
    turned = elsewhere(len(there), rng)
    shuffled, shuffled_latent = np.full_like(words, np.nan), np.full_like(hidden, np.nan)
    shuffled[there], shuffled_latent[there] = words[there[turned]], hidden[there[turned]]
    return {
        LATENT: hidden,
        SHUFFLED: shuffled,
        SHUFFLED_LATENT: shuffled_latent,
        SAME_LABEL: rows.pooled(_dealt(rows, said.z, rng)),
        LABEL: rows.pooled(_means(rows, latent.z)),
        LABEL_EXAMPLES: rows.pooled(_examples(generator, rows, audience)),
        SILENCE: _silence(generator, words),
    }


def elsewhere(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation ``[n]`` in which nothing stays in its place (for n = 1 there is none)."""
    order = rng.permutation(n)
    out = np.empty(n, np.int64)
    out[order] = np.roll(order, 1)
    return out


def regenerate(generator: Generator, key: str, seen: Seen, z: Array) -> Regenerated:
    """The pictures of ``z [n, w]`` through the classifier, kept a few at a time."""
    n = len(z)
    features, called = np.full((n, seen.features.shape[1]), np.nan), np.zeros(seen.called.shape, bool)
    there = np.flatnonzero(np.isfinite(z).all(axis=1))
    about = {"kind": "weak-regenerated", "generator": key, "classifier": seen.classifier.fingerprint}
    for start in range(0, len(there), PIECE):
        mine = there[start : start + PIECE]
        part = z[mine].astype(np.float32)
        facts = {**about, "backend": seen.classifier.backend, "z": array_hash(part)}
        held = seen.store.have(facts, partial(_passed, generator, seen.classifier, part))
        features[mine] = held["features"]
        called[mine] = called_of(seen.classifier, held["logits"])
    return Regenerated(features, called)


def _passed(generator: Generator, classifier: Classifier, z: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    import torch

    with torch.inference_mode():
        logits, taps = classifier.run(generator.pictures(torch.from_numpy(z)), ("features",))
        pooled = taps["features"].float().mean((2, 3))
        return {"logits": logits.float().cpu().numpy(), "features": pooled.cpu().numpy()}


def _dealt(rows: Rows, z: Array, rng: np.random.Generator) -> Array:
    """Each row's vector from another row of the same finding; NaN where it is the only one."""
    out = np.full_like(z, np.nan)
    for finding in dict.fromkeys(rows.findings):
        mine = rows.of(finding)
        mine = mine[np.isfinite(z[mine]).all(axis=1)]
        if len(mine) > 1:
            out[mine] = z[mine[elsewhere(len(mine), rng)]]
    return out


def _means(rows: Rows, z: Array) -> Array:
    """Each row's finding as the mean vector over its other rows; NaN where it is the only one."""
    out = np.full_like(z, np.nan)
    for finding in dict.fromkeys(rows.findings):
        mine = rows.of(finding)
        if len(mine) > 1:
            out[mine] = (z[mine].sum(axis=0) - z[mine]) / (len(mine) - 1)
    return out


def _silence(generator: Generator, words: Array) -> Array:
    """The vector of no words, for each picture that has some."""
    import torch

    with torch.inference_mode():
        nothing = generator.encoded([""]).double().cpu().numpy()
    return np.where(np.isfinite(words).all(axis=1, keepdims=True), nothing, np.nan)


def _examples(generator: Generator, rows: Rows, audience: str) -> Array:
    """Each row's finding as the mean vector of the examples that the generator learned from."""
    entries = generator.databases[audience]
    encoded = vectors(generator, [e.nle for e in entries])
    out = np.full((len(rows.findings), encoded.shape[1]), np.nan)
    for finding in dict.fromkeys(rows.findings):
        own = [i for i, e in enumerate(entries) if e.diagnosis == finding]
        if own:
            out[rows.of(finding)] = encoded[own].mean(axis=0)
    return out
