"""What a latent or a pattern has to pass before it is shown, in the order of the gates (after CXR-LanIC, 2510.21464).

Pure functions on arrays: n images, L latents of all members, J members, P patterns, f findings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .clusters import pairs_above, unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float32]
    Array = NDArray[np.float64]
    Index = NDArray[np.int64]

PAIRS = 20_000  # pairs of latents whose activities are compared at once
DRAWS = 200  # random sets a pattern is compared with


def directions(encoder: Float, decoder: Float) -> Float:
    """Unit vectors ``[L, r + d]`` of what latents read and write, each half counting alike."""
    return np.concatenate([unit_rows(encoder), unit_rows(decoder)], axis=1) * np.float32(np.sqrt(0.5))


def agreements(
    vectors: Float, peaks: NDArray[Any], member: Index, members: int, cosine: float, correlation: float
) -> NDArray[np.bool_]:
    """bool ``[L, J]``: which other of the J ``members`` (some may have none here) have a latent alike: cosine of
    the directions, and correlation over images of the activities ``peaks [n, L]``, both at or above the thresholds."""
    standard = _standardised(peaks)
    agree = np.zeros((len(vectors), members), bool)
    for rows, columns, _ in pairs_above(vectors, cosine):
        other = member[rows] != member[columns]
        rows, columns = rows[other], columns[other]
        for start in range(0, len(rows), PAIRS):
            i, j = rows[start : start + PAIRS], columns[start : start + PAIRS]
            alike = np.einsum("pn,pn->p", standard[i], standard[j]) >= correlation
            agree[i[alike], member[j[alike]]] = True
            agree[j[alike], member[i[alike]]] = True
    return agree


def stability(agree: NDArray[np.bool_]) -> Array:
    """Share ``[L]`` of the other members that have the latent."""
    return np.asarray(agree.sum(axis=1) / max(1, agree.shape[1] - 1))


def strongest(strengths: NDArray[np.floating[Any]], top: int) -> list[Index]:
    """A pattern: the images ``[at most top]`` on which it is strongest, strongest first; none where it is silent."""
    order = np.argsort(-strengths, axis=0, kind="stable")[:top]
    return [column[strengths[column, p] > 0] for p, column in enumerate(order.T)]


def moved(
    pooled: Array, taken: Callable[[int, Index], Array], tops: Sequence[Index], head: Callable[[Array], Array]
) -> Array:
    """Mean change ``[P, f]`` of each logit over a pattern's strongest images when the pattern is taken out, measured.

    pooled  ``[n, d]``: what the head reads, mean over cells; ``head``: ``[b, d]`` -> logits ``[b, f]``.
    taken   (pattern, images) -> ``[b, d]``: what the pattern's latents write there.
    """
    whole = head(pooled)
    out = np.zeros((len(tops), whole.shape[1]))
    for p, images in enumerate(tops):
        if len(images):
            out[p] = (whole[images] - head(pooled[images] - taken(p, images))).mean(axis=0)
    return out


def monosemanticity(
    embeddings: NDArray[np.floating[Any]], tops: Sequence[Index], kinds: Sequence[str], seed: int = 0
) -> tuple[Array, Array]:
    """(mean cosine of a pattern's strongest images above that of random sets, share of random sets it exceeds), each
    ``[P]``; NaN for fewer than two images.

    embeddings ``[n, d]`` are centred here. A random set has as many images, with the same mix of ``kinds`` (data sets):
    a pattern gains nothing by telling phantoms from radiographs.
    """
    unit = unit_rows(np.asarray(embeddings, np.float64) - np.mean(embeddings, axis=0))
    groups = {k: np.flatnonzero(np.asarray(kinds) == k) for k in dict.fromkeys(kinds)}
    rng = np.random.default_rng(seed)
    known: dict[tuple[tuple[str, int], ...], Array] = {}
    gain, share = np.full(len(tops), np.nan), np.full(len(tops), np.nan)
    for p, images in enumerate(tops):
        if len(images) < 2:
            continue
        mix = tuple((k, sum(kinds[i] == k for i in images)) for k in groups)
        if mix not in known:
            drawn = [np.concatenate([rng.choice(groups[k], n, False) for k, n in mix]) for _ in range(DRAWS)]
            known[mix] = np.array([cohesion(unit[d]) for d in drawn])
        own = cohesion(unit[images])
        gain[p], share[p] = own - known[mix].mean(), (known[mix] < own).mean()
    return gain, share


def cohesion(unit: NDArray[np.floating[Any]]) -> float:
    """Mean cosine of all pairs of unit rows."""
    n = len(unit)
    return float((np.square(unit.sum(axis=0, dtype=np.float64)).sum() - n) / (n * (n - 1)))


def _standardised(peaks: NDArray[Any]) -> Float:
    """``[L, n]``: each latent's activities with mean 0 and length 1; zeros where they do not vary."""
    return unit_rows((peaks - peaks.mean(axis=0, dtype=np.float64).astype(np.float32)).T.astype(np.float32))
