"""Sources that were mixed come back; so says another implementation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from whyray.errors import SettingError
from whyray.patterns.ica import independent_components


def mixed(n: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """(sources ``[n, 4]``, tokens ``[n, 7]`` that mix them, with a little noise)."""
    rng = np.random.default_rng(0)
    drawn = (rng.laplace(size=n), rng.uniform(-1, 1, n), rng.exponential(size=n), rng.laplace(size=n) ** 3)
    sources = np.stack(drawn, axis=1)
    sources /= sources.std(axis=0)
    return sources, sources @ rng.normal(size=(4, 7)) + 3 + 1e-3 * rng.normal(size=(n, 7))


def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each column of ``first``, its largest absolute correlation with one of ``second``."""
    k = first.shape[1]
    return np.abs(np.corrcoef(first.T, second.T)[:k, k:]).max(axis=1)


def test_mixed_sources_come_back() -> None:
    sources, tokens = mixed()
    found = independent_components(tokens, 4)
    made = found.project(tokens)
    assert found.settled and found.steps < 100
    assert alike(sources, made).min() > 0.98
    np.testing.assert_allclose(np.cov(made.T, bias=True), np.eye(4), atol=1e-4)
    _, vectors = np.linalg.eigh(np.cov(tokens.T))
    assert alike(sources, tokens @ vectors[:, -4:]).min() < 0.9, "principal components alone would do"


def test_another_implementation_finds_the_same() -> None:
    peer = pytest.importorskip("sklearn.decomposition", reason="scikit-learn is not installed")
    _, tokens = mixed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer.FastICA(4, whiten="unit-variance", random_state=1, tol=1e-6, max_iter=500).fit_transform(tokens)
    assert alike(independent_components(tokens, 4, tolerance=1e-6).project(tokens), theirs).min() > 0.9999


def test_it_says_when_it_did_not_settle_and_refuses_what_cannot_be() -> None:
    _, tokens = mixed(500)
    short = independent_components(tokens, 4, steps=1)
    assert (short.steps, short.settled) == (1, False)
    with pytest.raises(SettingError, match="fewer directions"):
        independent_components(np.repeat(tokens[:, :2], 2, axis=1), 3)
