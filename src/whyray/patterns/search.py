"""Which vectors point the same way: exact search by numpy, usearch's graph where there are many and it is installed."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import MissingExtra, SettingError
from .clusters import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.floating[Any]]

MANY = 100_000  # vectors from which the graph is worth building
Backend = Literal["auto", "numpy", "usearch"]


def nearest(
    vectors: Vectors, queries: Vectors, k: int, backend: Backend = "auto"
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of ``vectors [n, d]`` with the highest cosine to each of ``queries [q, d]``, best first.

    Returns (rows ``[q, m]``, cosines ``[q, m]``), m = min(k, n). A vector of length 0 has the cosine 0 to everything.
    "numpy" is exact, equal cosines in the order of their rows; "usearch" is approximate; "auto" takes usearch from
    100,000 vectors where it is installed. Raises MissingExtra for "usearch" without the package.
    """
    if backend not in ("auto", "numpy", "usearch"):
        raise SettingError(f"the search backend {backend!r} came; known: auto, numpy, usearch")
    if k < 1:
        raise SettingError(f"{k} neighbours were asked for; ask for 1 at least")
    installed = importlib.util.find_spec("usearch") is not None
    if backend == "usearch" and not installed:
        raise MissingExtra("usearch", "the graph search over many vectors", "search")
    units, wanted = (unit_rows(np.asarray(v, np.float32)) for v in (vectors, queries))
    k = min(k, len(vectors))
    if backend == "usearch" or (backend == "auto" and installed and len(vectors) >= MANY):
        return _by_graph(units, wanted, k)
    return _by_product(units, wanted, k)


def _by_product(
    units: NDArray[np.float32], wanted: NDArray[np.float32], k: int, most: int = 16_000_000
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """All products, in pieces of at most ``most`` numbers."""
    rows = np.empty((len(wanted), k), np.int64)
    cosines = np.empty((len(wanted), k), np.float32)
    step = max(1, most // max(1, len(units)))
    for start in range(0, len(wanted), step):
        products = wanted[start : start + step] @ units.T
        order = np.argsort(-products, axis=1, kind="stable")[:, :k]
        rows[start : start + step] = order
        cosines[start : start + step] = np.take_along_axis(products, order, axis=1)
    return rows, cosines


def _by_graph(
    units: NDArray[np.float32], wanted: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """usearch's index on inner products; zero vectors have no place in a graph of directions, so they stay out."""
    from usearch.index import Index

    known = np.flatnonzero(np.any(units, axis=1))
    index = Index(ndim=units.shape[1], metric="ip", dtype="f32")
    index.add(known.astype(np.uint64), units[known], threads=1)  # one thread: the same graph each time
    rows = np.zeros((len(wanted), k), np.int64)
    cosines = np.zeros((len(wanted), k), np.float32)
    for i, query in enumerate(wanted):
        found = index.search(query, k, threads=1)
        near = np.asarray(found.keys, np.int64)
        if len(near) < k:
            near = np.concatenate([near, np.setdiff1d(np.arange(len(units)), near)[: k - len(near)]])
        products = units[near] @ query
        order = np.argsort(-products, kind="stable")
        rows[i], cosines[i] = near[order], products[order]
    return rows, cosines
