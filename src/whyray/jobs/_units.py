"""What a bank is compared with, unit by unit: principal directions, channels, channels of a random network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..metrics.patterns import mass_ratios
from ..patterns.bank import PatternBank
from ..patterns.site import Site, read_tokens
from ..patterns.sums import Sum, carriers, decompose
from ..types import Case, Frame, Radiograph, Region, Report, content
from .run import Cell, run, whole
from .store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]
    Opened = tuple[Radiograph, Sequence[Region]]
    Read = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    Looked = tuple[Read, list[dict[str, Array]]]

VERSION = 2
PIECE = 16
STRONGEST = "strongest cell"
READINGS: Mapping[str, Callable[..., Any]] = {STRONGEST: np.max, "mean of cells": np.mean}  # a unit's map as one number


@dataclass(frozen=True, eq=False)
class Representation:
    """Units to compare: ``maps(tokens [cells, d]) -> [u, cells]``, tokens read from ``classifier`` at ``site``.

    ``key`` tells these units from others at the same site of the same classifier.
    ``read``, where given, reads them elsewhere: model inputs ``[b, c, h, w]`` -> tokens in, tokens out, logits.
    """

    name: str
    classifier: Classifier
    site: Site
    maps: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    names: Sequence[str]
    key: str
    read: Callable[[Tensor], Read] | None = None

    def tokens(self, x: Tensor) -> Read:
        """What ``read_tokens`` gives."""
        return self.read(x) if self.read else read_tokens(self.classifier, self.site, x)


@dataclass(frozen=True, eq=False)
class Measured:
    """One representation on one split: of each of ``READINGS`` every unit's strength in every picture ``[n, u]``; for
    the bank also its sums, one row a picture."""

    strengths: Mapping[str, NDArray[np.float32]]
    sums: Mapping[str, Array] = field(default_factory=dict)


def representations(
    classifier: Classifier, bank: PatternBank, cases: Sequence[Case], skipped: dict[str, str], seed: int
) -> Iterator[Representation]:
    """The bank, then its controls; what cannot be made is put into ``skipped``."""
    site = bank.site
    names = [p.id for p in bank.patterns]
    own = f"bank/{bank.sha256}"
    yield Representation("patterns", classifier, site, lambda t: bank.maps(t[None])[0], names, own)
    if bank.basis is None:
        skipped["pca"] = "left out: the bank has no basis"
    else:
        basis, key = bank.basis, f"pca/{content(bank.basis)}"
        components = signed([f"component {i}" for i in range(len(basis.rows))])
        yield Representation("pca", classifier, site, lambda t: both_signs(basis.project(t).T), components, key)
    inputs = np.stack([classifier.prepare(c.radiograph()).pixels for c in cases[:PIECE]])
    yield _neurons("neurons", classifier, site, inputs)
    try:
        random = _random_weights(classifier, inputs, seed)
    except UnmetNeed as reason:
        skipped["random_weights"] = str(reason)
    else:
        yield _neurons("random_weights", random, site, inputs)


def _neurons(name: str, classifier: Classifier, site: Site, inputs: NDArray[np.float32]) -> Representation:
    """The channels; either sign of them where they go below 0 on ``inputs [b, c, h, w]``: no ReLU has the last word."""
    import torch

    below = bool((read_tokens(classifier, site, torch.from_numpy(inputs))[0] < 0).any())
    names = [f"channel {i}" for i in range(site.d_in)]
    if below:
        return Representation(name, classifier, site, lambda t: both_signs(t.T), signed(names), "neurons, either sign")
    return Representation(name, classifier, site, lambda t: t.T, names, "neurons")


def both_signs(along: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps ``[u, cells]`` -> ``[2 u, cells]``: each direction, then each turned round."""
    return np.concatenate([along, -along])


def signed(names: Sequence[str]) -> list[str]:
    """Names of ``both_signs``."""
    return [f"{name} {sign}" for sign in "+-" for name in names]


def _random_weights(classifier: Classifier, inputs: NDArray[np.float32], seed: int) -> Classifier:
    """The same network with every layer random."""
    from ._randomised import cascade

    return list(cascade(classifier, inputs, stages=2, seed=seed))[-1].classifier


def measure(
    ones: Sequence[Representation], bank: PatternBank, cases: Sequence[Case], store: Store, report: Report
) -> dict[str, Measured]:
    """Name -> strengths of all its units on all cases. A piece of the cases is opened once for all representations, and
    read once for those that read it at the same place."""
    seen = [[c.source(), c.regions_source()] for c in cases]

    def group(start: int) -> list[Cell]:
        piece = slice(start, start + PIECE)
        return [Cell({**_about(one), "cases": seen[piece]}, one.name, (one, cases[piece])) for one in ones]

    def work(missing: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, NDArray[Any]]]]:
        opened = [(c.radiograph(), c.regions()) for c in missing[0].given[1]]
        looked: dict[tuple[int, ...], Looked] = {}
        for cell in missing:
            one = cell.given[0]
            place = (id(one.classifier), id(one.site), id(one.read))
            if place not in looked:
                looked[place] = _looked(one, opened)
            yield cell, _piece(one, bank, looked[place])

    groups = [group(start) for start in range(0, len(cases), PIECE)]
    run(groups, work, store, total=len(groups), report=report)
    return {
        one.name: _joined([r.arrays for r in whole(rows, store)]) for one, rows in zip(ones, zip(*groups), strict=True)
    }


def _about(one: Representation) -> dict[str, Any]:
    """What decides a representation's strengths, beside the cases."""
    return {
        "kind": "pattern-strengths",
        "version": VERSION,
        "representation": one.key,
        "classifier": one.classifier.fingerprint,
        "backend": one.classifier.backend,  # names the layer of "features" too
        "site": one.site.facts,
    }


def _joined(pieces: Sequence[Mapping[str, NDArray[Any]]]) -> Measured:
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return Measured({reading: joined.pop(f"strength:{reading}") for reading in READINGS}, joined)


def _looked(one: Representation, opened: Sequence[Opened]) -> Looked:
    """What is read of each case, and how much of each cell every region covers."""
    import torch

    frames = [one.classifier.prepare(radiograph) for radiograph, _ in opened]
    read = one.tokens(torch.from_numpy(np.stack([f.pixels for f in frames])))
    return read, [inside_cells(r, f, one.site.grid) for (_, r), f in zip(opened, frames, strict=True)]


def _piece(one: Representation, bank: PatternBank, looked: Looked) -> dict[str, NDArray[Any]]:
    """Of each case: each reading of every unit, how far its map lies in the finding's region; of the bank, its sums."""
    (tokens, outputs, logits), regions = looked
    maps = [one.maps(t) for t in tokens]
    out: dict[str, Any] = {
        f"strength:{reading}": np.stack([read(m, axis=1) for m in maps]).astype(np.float32)
        for reading, read in READINGS.items()
    }
    for name in one.classifier.findings:
        ratios = [
            mass_ratios(m, found[name]) if name in found else np.full(len(m), np.nan)
            for m, found in zip(maps, regions, strict=True)
        ]
        out[f"mass:{name}"] = np.asarray(ratios, np.float32)
    if one.name == "patterns":
        sums = [decompose(bank, t, h) for t, h in zip(tokens, outputs, strict=True)]
        out |= _sums(sums, logits.astype(np.float64))
    return out


def _sums(sums: Sequence[Sum], logits: Array) -> dict[str, Array]:
    """logits, what the parts rebuild, size and named share, each ``[n, f]``."""
    f = logits.shape[1]
    sizes = np.array([[len(carriers(s.named[:, c], s.unnamed[c], s.residual[c])[0]) for c in range(f)] for s in sums])
    nothing = np.full(logits.shape, np.nan)
    named_for = np.stack([np.maximum(s.named, 0).sum(axis=0) for s in sums])
    loose = np.stack([np.maximum(s.unnamed, 0) + np.maximum(s.residual, 0) for s in sums])
    return {
        "logits": logits,
        "gap": np.stack([np.abs(s.logits - row) for s, row in zip(sums, logits, strict=True)]),
        "named": np.stack([s.bias + s.named.sum(axis=0) for s in sums]),
        "all": np.stack([s.bias + s.named.sum(axis=0) + s.unnamed for s in sums]),
        "size": sizes.astype(np.float64),
        "share": np.divide(named_for, named_for + loose, out=nothing, where=named_for + loose > 0),
    }


def inside_cells(regions: Sequence[Region], frame: Frame, grid: tuple[int, int], fine: int = 8) -> dict[str, Array]:
    """finding -> how much of each cell ``[cells]`` its region covers, from ``fine x fine`` points a cell."""
    h, w = grid
    rows, columns = frame.pixels.shape[1:]
    y, x = np.mgrid[: h * fine, : w * fine].astype(np.float64) + 0.5
    at = frame.to_source @ np.stack(
        [(x / fine * columns / w - 0.5).ravel(), (y / fine * rows / h - 0.5).ravel(), np.ones(x.size)]
    )
    u, v = np.rint(at[0]).astype(int), np.rint(at[1]).astype(int)
    seen = (u >= 0) & (v >= 0) & (u < frame.source_shape[1]) & (v < frame.source_shape[0])
    out: dict[str, Array] = {}
    for region in regions:
        if region.kind != "finding" or region.mask is None:
            continue
        hit = np.zeros(x.size)
        hit[seen] = region.mask[v[seen], u[seen]]
        share = hit.reshape(h, fine, w, fine).mean(axis=(1, 3)).ravel()
        out[region.finding] = np.maximum(out.get(region.finding, 0), share)
    return out
