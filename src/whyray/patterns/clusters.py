"""Agglomerative clusters by mean cosine, cut at a similarity, without a matrix of all pairs.

The mean cosine between two clusters of unit vectors is s_a . s_b / (|a| |b|), s the sum of their vectors; and two
clusters whose mean reaches the cut hold a pair that does. So pairs above the cut (found block by block) say which
clusters can meet, and sums say how near they are: the same clusters as average linkage on all pairs (Mullner, 2011,
nearest-neighbour chains), in memory that grows with the pairs that are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float = NDArray[np.float32]
    Index = NDArray[np.int64]

BLOCK = 2048  # rows of a block of similarities: 16 MB


def unit_rows(values: NDArray[np.floating[Any]]) -> Float:
    """Rows at length 1; a row of zeros stays zero."""
    size = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, size, out=np.zeros_like(values), where=size > 0), np.float32)


def pairs_above(vectors: Float, cut: float, block: int = BLOCK) -> Iterator[tuple[Index, Index, Float]]:
    """(i, j, cosine) of all pairs i < j of unit vectors ``[n, d]`` at or above ``cut``, a block at a time."""
    for top in range(0, len(vectors), block):
        for left in range(top, len(vectors), block):
            cosine = vectors[top : top + block] @ vectors[left : left + block].T
            rows, columns = np.nonzero(cosine >= cut)
            kept = rows + top < columns + left
            rows, columns = rows[kept], columns[kept]
            yield rows + top, columns + left, cosine[rows, columns]


def clusters(vectors: Float, cut: float = 0.8) -> Index:
    """Cluster number ``[n]`` of each unit vector, counted from 0 in the order of their first members."""
    near: list[set[int]] = [set() for _ in range(len(vectors))]
    for rows, columns, _ in pairs_above(vectors, cut):
        for i, j in zip(rows.tolist(), columns.tolist()):
            near[i].add(j)
            near[j].add(i)
    label = np.arange(len(vectors))
    for first, second in _merges(vectors.astype(np.float64), near, cut):
        label[second] = first
    for i in range(len(label)):  # who was merged into whom, followed to the end
        root = i
        while label[root] != root:
            root = label[root]
        label[i] = root
    _, first_seen, number = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first_seen))[number], np.int64)


def _merges(vectors: NDArray[np.float64], near: list[set[int]], cut: float) -> Iterator[tuple[int, int]]:
    """Pairs (kept, merged into it): chains of nearest neighbours until two are each other's; ``near`` is used up."""
    sums, size = vectors.copy(), np.ones(len(vectors))
    alive = np.ones(len(vectors), bool)
    for start in range(len(vectors)):
        chain = [start] if alive[start] and near[start] else []
        while chain:
            tip = chain[-1]
            others = np.fromiter(near[tip], np.int64, len(near[tip]))
            mean = sums[others] @ sums[tip] / (size[others] * size[tip]) if len(others) else np.empty(0)
            if not len(mean) or mean.max() < cut:  # nobody is near enough now, so nobody ever will be
                for other in near[tip]:
                    near[other].discard(tip)
                near[tip] = set()
                chain.pop()
                continue
            best = int(others[mean.argmax()])
            if len(chain) > 1 and mean[others == chain[-2]] >= mean.max():
                best = chain[-2]
            if len(chain) < 2 or best != chain[-2]:
                chain.append(best)
                continue
            del chain[-2:]
            sums[best] += sums[tip]
            size[best] += size[tip]
            alive[tip] = False
            for other in near[tip] | near[best]:
                near[other].discard(tip)
                if other != best:
                    near[other].add(best)
            near[best] = (near[best] | near[tip]) - {best, tip}
            near[tip] = set()
            yield best, tip
            if not chain and near[best]:
                chain = [best]


def medoids(vectors: Float, label: Index) -> Index:
    """Index ``[clusters]`` of the vector of each cluster with the largest mean cosine to its cluster."""
    number = int(label.max()) + 1 if len(label) else 0
    sums = np.zeros((number, vectors.shape[1]))
    np.add.at(sums, label, vectors)
    score = np.einsum("nd,nd->n", vectors.astype(np.float64), sums[label])
    order = np.lexsort((-score, label))
    return np.asarray(order[np.searchsorted(label[order], np.arange(number))], np.int64)
