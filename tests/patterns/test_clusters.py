"""Clusters without the matrix of all pairs are those of scipy's average linkage with it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from whyray.patterns.clusters import clusters, medoids, pairs_above, unit_rows


def cloud(seed: int, n: int = 150, d: int = 8, spread: float = 0.25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, d))
    return unit_rows(centres[rng.integers(12, size=n)] + spread * rng.normal(size=(n, d)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("cut", "spread"), [(0.8, 0.25), (0.8, 0.6), (0.95, 0.25), (0.5, 0.8)])
def test_as_average_linkage(seed: int, cut: float, spread: float) -> None:
    vectors = cloud(seed, spread=spread)
    tree = linkage(vectors.astype(np.float64), method="average", metric="cosine")
    wanted = fcluster(tree, 1 - cut, criterion="distance")
    made = clusters(vectors, cut)
    assert len(np.unique(made)) == len(np.unique(wanted))
    np.testing.assert_array_equal(made[:, None] == made, wanted[:, None] == wanted)
    assert made[0] == 0 and made.max() == len(np.unique(made)) - 1


def test_blocks_change_nothing() -> None:
    vectors = cloud(0)
    wanted = {(i, j) for i, j in zip(*np.nonzero(vectors @ vectors.T >= 0.8)) if i < j}
    found = {(i, j) for rows, columns, _ in pairs_above(vectors, 0.8, block=7) for i, j in zip(rows, columns)}
    assert found == wanted


def test_the_medoid_is_nearest_to_its_cluster() -> None:
    vectors = cloud(1)
    label = clusters(vectors, 0.8)
    for number, medoid in enumerate(medoids(vectors, label)):
        inside = np.flatnonzero(label == number)
        cosine = (vectors[inside] @ vectors[inside].T).mean(axis=1)
        assert medoid in inside and cosine[list(inside).index(medoid)] >= cosine.max() - 1e-6


def test_nothing_and_zeros() -> None:
    assert len(clusters(np.empty((0, 4), np.float32))) == 0
    assert clusters(unit_rows(np.zeros((3, 4), np.float32)), 0.8).tolist() == [0, 1, 2]
