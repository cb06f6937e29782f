"""MMD: the formula written again, known answers, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyray.metrics._mmd import FACTORS, LEAST, mmd


def by_hand(x: np.ndarray, y: np.ndarray) -> float:  # type: ignore[type-arg]
    """The biased estimate, pair by pair."""
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    both = np.concatenate([x, y])
    pairs = [((a - b) ** 2).sum() for i, a in enumerate(both) for b in both[i + 1 :]]
    scale = max(sorted(pairs)[(len(pairs) - 1) // 2], LEAST)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / (f * scale)) for f in FACTORS]))

    means = [np.mean([kernel(a, b) for a in left for b in right]) for left, right in ((x, x), (y, y), (x, y))]
    return float(means[0] + means[1] - 2 * means[2])


@pytest.mark.parametrize(("n", "m"), [(1, 5), (2, 5), (7, 3)])
def test_it_is_the_formula(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) + 0.5
    assert float(mmd(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(by_hand(x, y), abs=1e-5)


def test_the_same_sample_has_none_and_a_far_one_has_more() -> None:
    torch.manual_seed(0)
    x = torch.randn(30, 8)
    near, far = torch.randn(30, 8), torch.randn(30, 8) + 2
    assert float(mmd(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(mmd(x, near)) < 0.5 * float(mmd(x, far)) < 1
    assert float(mmd(x, 3 * x)) == pytest.approx(0, abs=1e-5)  # lengths do not count


def test_its_gradient_moves_one_sample_onto_the_other() -> None:
    torch.manual_seed(0)
    y, x = torch.eye(3), torch.nn.Parameter(torch.randn(6, 3))
    optimiser = torch.optim.Adam([x], 0.05)
    first = float(mmd(x, y).detach())
    for _ in range(200):
        loss = mmd(x, y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.05 * first


def test_equal_rows_are_no_division_by_zero() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    value = mmd(x, torch.ones(2, 3))
    value.backward()  # type: ignore[no-untyped-call]
    assert float(value.detach()) == 0 and x.grad is not None and bool(torch.isfinite(x.grad).all())
