"""Where patterns are read: a tap whose cells the logits are a linear, averaged read-out of.

With tokens h(p), the cells of the tap: ``logit_c = bias_c + mean_p weights_c . h(p)``, exact. CXR-LanIC (arXiv
2510.21464) reads one vector an image; cells give each pattern a map as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import UnmetNeed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

EXACT = 1e-4  # largest difference of logits, relative to the largest logit (or 1), for a read-out to count as linear
ALIKE = 1e-3  # of the largest weight: by how much read-outs of one layer may differ, on other devices and threads
PART = 64  # unit vectors a pass of the head


@dataclass(frozen=True, eq=False)
class Site:
    """Where patterns are read, and how the logits follow.

    tap_in, tap_out  what a transcoder reads, and what it writes; the same tap for an autoencoder of features.
    grid             cells (h', w') of both; (1, 1) for a tap without space.
    d_in, d_out      numbers a cell.
    weights, bias    float64 ``[f, d_out]`` and ``[f]``: the read-out of the mean over cells of ``tap_out``.
    """

    tap_in: str
    tap_out: str
    grid: tuple[int, int]
    d_in: int
    d_out: int
    weights: NDArray[np.float64] = field(repr=False)
    bias: NDArray[np.float64] = field(repr=False)

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.grid[0] * self.grid[1]

    @property
    def facts(self) -> dict[str, Any]:
        """All but the numbers, as plain JSON."""
        return {
            "tap_in": self.tap_in,
            "tap_out": self.tap_out,
            "grid": list(self.grid),
            "d_in": self.d_in,
            "d_out": self.d_out,
        }


def same_place(one: Site, other: Site) -> bool:
    """Whether two sites are at one layer: equal shapes, and the same read-out but for rounding."""
    near = ALIKE * float(np.abs(one.weights).max(initial=0))
    return one.facts == other.facts and np.allclose(one.weights, other.weights, rtol=0, atol=near)


@dataclass(frozen=True, eq=False)
class Basis:
    """A fixed projection that transcoders read: ``rows @ (h - mean)``; ``rows [r, d_in]`` orthonormal, float32."""

    mean: NDArray[np.float32] = field(repr=False)
    rows: NDArray[np.float32] = field(repr=False)

    def project(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Tokens ``[..., d_in]`` -> float32 ``[..., r]``."""
        centred = np.asarray(tokens, np.float32) - self.mean
        return np.asarray(centred @ self.rows.T, np.float32)


def site_of(classifier: Classifier, tap_in: str = "features", tap_out: str | None = None) -> Site:
    """The site of these taps (``tap_out``: the same one), or of "embedding" where the head is not linear in "features".

    Raises UnmetNeed where the classifier has no such taps, or no linear read-out.
    """
    tap_out = tap_out or tap_in
    try:
        return _site(classifier, tap_in, tap_out)
    except UnmetNeed:
        if tap_in != "features" or tap_out != "features" or "embedding" not in classifier.taps:
            raise
        return _site(classifier, "embedding", "embedding")


def site_tensors(site: Site) -> dict[str, Tensor]:
    """The read-out as tensors; ``site_from`` is the inverse."""
    import torch

    return {"weights": torch.from_numpy(site.weights.copy()), "bias": torch.from_numpy(site.bias.copy())}


def site_from(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Site:
    """The site with these facts and this read-out."""
    grid = (int(facts["grid"][0]), int(facts["grid"][1]))
    read_out = (np.asarray(tensors[name].numpy(), np.float64) for name in ("weights", "bias"))
    return Site(str(facts["tap_in"]), str(facts["tap_out"]), grid, int(facts["d_in"]), int(facts["d_out"]), *read_out)


def read_tokens(
    classifier: Classifier, site: Site, x: Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of model inputs ``[b, c, h, w]``: tokens in ``[b, cells, d_in]``, tokens out ``[b, cells, d_out]``, logits.

    Where both taps are the same, so are both arrays.
    """
    import torch

    with torch.inference_mode():
        logits, taps = classifier.run(x, tuple(dict.fromkeys((site.tap_in, site.tap_out))))
    read = {name: tokens(value).float().cpu().numpy() for name, value in taps.items()}
    return read[site.tap_in], read[site.tap_out], logits.float().cpu().numpy()


def tokens(value: Tensor) -> Tensor:
    """A tap's value ``[b, d, h', w']`` or ``[b, d]`` as ``[b, cells, d]``, cells row by row."""
    return value.flatten(2).transpose(1, 2).contiguous() if value.ndim == 4 else value.unsqueeze(1)


def _site(classifier: Classifier, tap_in: str, tap_out: str) -> Site:
    import torch

    for tap in (tap_in, tap_out):
        if tap not in classifier.taps:
            has = ", ".join(classifier.taps) or "none"
            raise UnmetNeed(f"{classifier.name} has no tap {tap!r} (it has: {has}); name one of these")
    preparation = classifier.card.preparation
    shape = (2, preparation.channels, *preparation.size)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, taps = classifier.run(x, tuple(dict.fromkeys((tap_in, tap_out))))
        grids = {name: _grid(value) for name, value in taps.items()}
        if grids[tap_in] != grids[tap_out]:
            raise UnmetNeed(f"{tap_in} has {grids[tap_in]} cells and {tap_out} {grids[tap_out]}; give taps of one grid")
        out = taps[tap_out]
        weights, bias = _read_out(classifier, tap_out, out)
        _verify(classifier, tap_out, out, weights, bias)
    return Site(tap_in, tap_out, grids[tap_in], taps[tap_in].shape[1], out.shape[1], weights, bias)


def _grid(value: Tensor) -> tuple[int, int]:
    return (value.shape[2], value.shape[3]) if value.ndim == 4 else (1, 1)


def _read_out(classifier: Classifier, tap: str, example: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(weights ``[f, d]``, bias ``[f]``): what each unit vector, in all cells at once, adds to the logits."""
    import torch

    bias = classifier.head(tap, torch.zeros_like(example[:1]))[0].double()
    parts = [classifier.head(tap, units).double() - bias for units in _unit_vectors(example)]
    return torch.cat(parts).T.cpu().numpy(), bias.cpu().numpy()


def _unit_vectors(example: Tensor) -> Iterator[Tensor]:
    import torch

    d = example.shape[1]
    for start in range(0, d, PART):
        units = torch.eye(d, dtype=example.dtype, device=example.device)[start : start + PART]
        cells = (1,) * (example.ndim - 2)
        yield units.reshape(*units.shape, *cells).expand(*units.shape, *example.shape[2:]).contiguous()


def _verify(
    classifier: Classifier, tap: str, example: Tensor, weights: NDArray[np.float64], bias: NDArray[np.float64]
) -> None:
    """Raises UnmetNeed unless the read-out gives the head's logits, on real values and on random ones as large."""
    import torch

    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(example.shape, generator=generator).to(example) * example.abs().mean() * 2
    for values in (example, drawn if float(example.min()) >= 0 else torch.cat([drawn, -drawn])):
        wanted = classifier.head(tap, values).double().cpu().numpy()
        found = bias + tokens(values).double().mean(1).cpu().numpy() @ weights.T
        if not np.abs(found - wanted).max() <= EXACT * max(1.0, float(np.abs(wanted).max())):
            raise UnmetNeed(
                f"the logits of {classifier.name} are not linear in the mean of {tap!r}; patterns add up exactly "
                "where they are: name another tap, such as embedding"
            )
