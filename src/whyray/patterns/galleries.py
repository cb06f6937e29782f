"""Which images show what a pattern is: where it fires most, samples over its range, and look-alikes where it is silent.

A gallery names images by data set and case; it never holds a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..errors import WeightsError
from .clusters import unit_rows
from .search import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "galleries"
TOP, QUANTILES, NEAR = 12, 6, 6  # images of each group
SILENT = 0.05  # below this share of its usual top strength a pattern is silent
HALF = 0.5  # of its peak: the firing region is where it fires at least so strongly
GROUPS = ("top", "quantiles", "near_misses")


class Firing(NamedTuple):
    """One image of a gallery: data set, case, cell of the peak (row-major), activation there, cells of the region."""

    dataset: str
    case: str
    cell: int
    activation: float
    region: tuple[int, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """top: strongest first; quantiles: over the range of its activations, strongest first; near_misses: most like the
    top images to the classifier, and silent. No patient stands twice in a gallery."""

    top: tuple[Firing, ...] = ()
    quantiles: tuple[Firing, ...] = ()
    near_misses: tuple[Firing, ...] = ()


@dataclass(frozen=True, eq=False)
class Fired:
    """What every pattern did on every image; n images, p patterns, c cells.

    strengths   float32 ``[n, p]``: the largest activation over the cells, 0 = silent.
    peaks       int32 ``[n, p]``: its cell.
    regions     uint8 ``[n, p, ceil(c / 8)]``: bits of the cells at half the peak or more; none where silent.
    embeddings  float32 ``[n, d]``: mean of the image's tokens, what look-alikes are sought by.
    """

    strengths: NDArray[np.float32]
    peaks: NDArray[np.int32]
    regions: NDArray[np.uint8] = field(repr=False)
    embeddings: NDArray[np.float32] = field(repr=False)

    def region(self, image: int, pattern: int) -> tuple[int, ...]:
        """Cells of the firing region."""
        return tuple(np.flatnonzero(np.unpackbits(self.regions[image, pattern])).tolist())


class Maps(Protocol):
    """What a bank answers: activation maps ``[n, patterns, cells]`` of tokens ``[n, cells, d]``."""

    def maps(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Activations, 0 = silent."""


def fired(bank: Maps, tokens: NDArray[np.float32]) -> Fired:
    """What every pattern did on images with these tokens ``[n, cells, d]``."""
    return from_maps(bank.maps(tokens), np.asarray(tokens, np.float32).mean(axis=1))


def from_maps(maps: NDArray[np.floating[Any]], embeddings: NDArray[np.float32]) -> Fired:
    """The same from activation maps ``[n, p, c]`` and the images' embeddings ``[n, d]``."""
    maps = np.asarray(maps, np.float32)
    peaks = maps.argmax(axis=2).astype(np.int32)
    strengths = maps.max(axis=2)
    above = (maps >= HALF * strengths[:, :, None]) & (strengths[:, :, None] > 0)
    return Fired(strengths, peaks, np.packbits(above, axis=2), embeddings)


def joined(parts: Sequence[Fired]) -> Fired:
    """Parts of one set of images, put together in order."""
    names = ("strengths", "peaks", "regions", "embeddings")
    return Fired(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def strongest(strengths: NDArray[np.floating[Any]], patients: Sequence[str], most: int) -> list[int]:
    """Images ``[n]`` on which a pattern fires, strongest first, one a patient, at most ``most``."""
    order = np.argsort(-np.asarray(strengths), kind="stable")
    return _one_each([int(i) for i in order if strengths[i] > 0], patients, most)


def spread(strengths: NDArray[np.floating[Any]], patients: Sequence[str], most: int, but: Sequence[int]) -> list[int]:
    """The images in the middle of ``most`` equal parts of the ranks of those that fire, strongest first.

    Patients of the images in ``but`` are passed over, and no patient comes twice.
    """
    taken = {patients[i] for i in but}
    firing = [i for i in strongest(strengths, patients, len(patients)) if patients[i] not in taken]
    places = (np.arange(min(most, len(firing))) + 0.5) / max(1, min(most, len(firing))) * len(firing)
    return [firing[int(place)] for place in places]


def silent(strengths: NDArray[np.floating[Any]], top: Sequence[int]) -> NDArray[np.bool_]:
    """Images ``[n]`` on which a pattern does next to nothing, against the median of its top images."""
    usual = float(np.median(strengths[list(top)])) if len(top) else 0.0
    return np.asarray(strengths <= SILENT * usual)


def look_alikes(made: Fired, tops: Sequence[Sequence[int]], patients: Sequence[str], most: int) -> list[list[int]]:
    """For each pattern the silent images nearest to the mean direction of its top images, one a patient.

    ``tops`` holds each pattern's top images; their patients are passed over. Nearest in the classifier's own
    embedding, by cosine; the search widens until every pattern has enough or all images were seen.
    """
    units, n = unit_rows(np.asarray(made.embeddings, np.float32)), len(made.embeddings)
    queries = np.stack([units[list(top)].mean(axis=0) if top else np.zeros_like(units[0]) for top in tops])
    quiet = [silent(made.strengths[:, p], top) for p, top in enumerate(tops)]
    found: list[list[int]] = [[] for _ in tops]
    short, k = [p for p, top in enumerate(tops) if top], 64
    while short:
        rows, _ = nearest(units, queries[short], k)
        for p, near in zip(short, rows.tolist(), strict=True):
            taken = {patients[i] for i in tops[p]}
            found[p] = _one_each([i for i in near if quiet[p][i] and patients[i] not in taken], patients, most)
        short, k = [p for p in short if len(found[p]) < most] if k < n else [], 8 * k
    return found


def galleries(
    made: Fired, images: Sequence[tuple[str, str]], patients: Sequence[str], sizes: tuple[int, int, int] | None = None
) -> list[Gallery]:
    """A gallery of each pattern. ``images``: (data set, case) of each row; ``sizes``: images of each group."""
    top_size, spread_size, near_size = sizes or (TOP, QUANTILES, NEAR)
    columns = range(made.strengths.shape[1])
    tops = [strongest(made.strengths[:, p], patients, top_size) for p in columns]
    nears = look_alikes(made, tops, patients, near_size)

    def told(p: int, rows: Sequence[int]) -> tuple[Firing, ...]:
        return tuple(
            Firing(*images[i], int(made.peaks[i, p]), float(made.strengths[i, p]), made.region(i, p)) for i in rows
        )

    return [
        Gallery(told(p, tops[p]), told(p, spread(made.strengths[:, p], patients, spread_size, tops[p])), told(p, near))
        for p, near in enumerate(nears)
    ]


def save_galleries(
    folder: Path, every: Sequence[Gallery], fingerprint: str, cells: int, about: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Write the galleries of a bank, in its order, as an artefact of the classifier with ``fingerprint``.

    ``about`` holds what else is to be kept of each pattern, as plain JSON.
    """
    import torch

    from ..io.artefacts import Artefact, save_artefact

    groups = [(p, g, getattr(gallery, name)) for p, gallery in enumerate(every) for g, name in enumerate(GROUPS)]
    rows: list[tuple[int, int, Firing]] = [(p, g, firing) for p, g, group in groups for firing in group]
    images = {key: i for i, key in enumerate(dict.fromkeys((f.dataset, f.case) for *_, f in rows))}
    table = [(p, g, images[f.dataset, f.case], f.cell) for p, g, f in rows]
    bits = np.zeros((len(rows), cells), np.bool_)
    for bit, (*_, firing) in zip(bits, rows, strict=True):
        bit[list(firing.region)] = True
    tensors = {
        "places": torch.from_numpy(np.array(table, np.int32).reshape(-1, 4)),
        "activations": torch.tensor([f.activation for *_, f in rows], dtype=torch.float32),
        "regions": torch.from_numpy(np.packbits(bits, axis=1)),
    }
    facts = {"patterns": len(every), "cells": cells, "images": [list(key) for key in images], "about": list(about)}
    return save_artefact(folder, Artefact(KIND, fingerprint, tensors, facts))


def load_galleries(folder: Path, fingerprint: str) -> tuple[list[Gallery], list[dict[str, Any]]]:
    """(the galleries of a bank, in its order, what else was kept of each). Raises WeightsError, FingerprintError."""
    from ..io.artefacts import load_artefact

    kept = load_artefact(folder, KIND, fingerprint)
    try:
        images = [(str(dataset), str(case)) for dataset, case in kept.facts["images"]]
        groups: list[list[list[Firing]]] = [[[] for _ in GROUPS] for _ in range(int(kept.facts["patterns"]))]
        bits = np.unpackbits(kept.tensors["regions"].numpy(), axis=1, count=int(kept.facts["cells"])).astype(bool)
        activations = kept.tensors["activations"].tolist()
        for (p, g, image, cell), value, region in zip(kept.tensors["places"].tolist(), activations, bits, strict=True):
            groups[p][g].append(
                Firing(images[image][0], images[image][1], cell, value, tuple(np.flatnonzero(region).tolist()))
            )
    except (KeyError, IndexError, ValueError, TypeError):
        raise WeightsError(
            f"the galleries in {folder.name} are damaged; build them again: whyray patterns build"
        ) from None
    return [Gallery(*(tuple(group) for group in three)) for three in groups], list(kept.facts.get("about", ()))


def _one_each(rows: Sequence[int], patients: Sequence[str], most: int) -> list[int]:
    """The first row of each patient, in order, at most ``most``."""
    seen: set[str] = set()
    out: list[int] = []
    for i in rows:
        if len(out) < most and patients[i] not in seen:
            seen.add(patients[i])
            out.append(i)
    return out
