"""The published walk and the same end found in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from whyray.explainers._latent_walk import Look, batched, rules_of, walk


def falling(curve: Callable[[np.ndarray], np.ndarray], change: float = 0.0) -> Look:
    def look(lambdas: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        lam = np.asarray(lambdas, float)
        return curve(lam), np.abs(lam) * change

    return look


def test_the_grids_are_the_published_ones() -> None:
    gif, later = rules_of("gif").grid, rules_of("later").grid
    assert gif[:3] == (-1, -2, -3) and gif[9:12] == (-10, -20, -30) and gif[-1] == -1000 and len(gif) == 109
    assert later[:4] == (-10.0, -21.0, -34.0, -48.0) and later[-1] <= -3000


def test_the_walk_returns_the_first_lambda_that_breaks_a_rule() -> None:
    rules = rules_of("gif")
    assert walk(falling(lambda lam: 0.7 + lam * 0.01), rules)[0] == -20  # .7 - .15 > p first at -20
    assert walk(falling(lambda lam: 0.7 + 0 * lam), rules)[0] == -1000
    assert walk(falling(lambda lam: 0.7 + np.where(lam < -4, 0.1, lam * 0.001)), rules)[0] == -5  # turned back
    assert (
        walk(falling(lambda lam: 0.7 + lam * 1e-5, change=0.001), rules_of("later"))[0] == -63
    )  # 5 % changed; -48 - 10 + (-48 // 10)


@pytest.mark.parametrize("name", ["gif", "later"])
@pytest.mark.parametrize("seed", range(12))
def test_where_the_prediction_falls_both_end_at_the_same_place(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, start = 10 ** rng.uniform(0, 3.5), rng.uniform(0.5, 0.95)
    look = falling(lambda lam: start / (1 + (-lam / scale) ** rng_power), change=10 ** rng.uniform(-6, -2))
    rng_power = rng.uniform(0.5, 2)
    rules = rules_of(name)  # type: ignore[arg-type]
    expected, slow = walk(look, rules)
    found, fast, turned = batched(look, rules)
    assert found == expected and not turned
    assert fast <= 24 and (slow < 30 or fast < slow)


def test_a_turn_inside_the_bracket_ends_it_where_the_walk_does() -> None:
    look = falling(lambda lam: 0.7 - 0.1 * np.sin(-lam / 40))  # turns back at -63
    expected, _ = walk(look, rules_of("gif"))
    found, _, turned = batched(look, rules_of("gif"))
    assert abs(found - expected) <= 10 and turned
