"""The gates one after the other, on latents whose fate is known."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.jobs._gated import Latents, gated
from whyray.patterns.funnel import GatePlan
from whyray.patterns.gates import agreements

WIDTH, MEMBERS, IMAGES, D, F = 4, 3, 60, 6, 2


def latents(dead: int | None) -> Latents:
    """Three members that learned the same four latents; of one, none ever fires."""
    rng = np.random.default_rng(0)
    member = np.repeat(np.arange(MEMBERS), WIDTH)
    peaks = np.tile((rng.random((IMAGES, WIDTH)) < 0.5) * rng.random((IMAGES, WIDTH)), MEMBERS)
    peaks[:, member == dead] = 0
    directions = np.tile(np.eye(WIDTH, 2 * D, dtype=np.float32), (MEMBERS, 1))
    decoder = np.tile(3 * np.eye(WIDTH, D, dtype=np.float32), (MEMBERS, 1))
    return Latents(
        peaks.astype(np.float16),
        peaks.astype(np.float32),
        (peaks > 0).mean(axis=0) * 0.1,
        member,
        directions,
        decoder,
        decoder[:, :F],
        rng.normal(size=(IMAGES, D)),
        rng.normal(size=(IMAGES, D)),
        ("a",) * IMAGES,
    )


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_it_does_not_matter_which_member_is_dead(dead: int) -> None:
    """The others agree with one of the two members beside them: all four latents are kept, in two of three members."""
    given = latents(dead)

    def strengths(cluster: np.ndarray) -> np.ndarray:
        number = int(cluster.max(initial=-1)) + 1
        return np.stack([given.means[:, cluster == p].sum(axis=1) for p in range(number)], axis=1)

    plan = GatePlan(members=0.5, leading=1.0, moves=0.0, cohesion=-1.0)
    found = gated(given, plan, strengths, lambda pooled: pooled[:, :F])
    assert sorted(set(found.cluster.tolist())) == [-1, 0, 1, 2, 3]
    assert (found.cluster[given.member == dead] == -1).all() and found.stability == pytest.approx(2 / 3)


def test_members_without_a_latent_agree_with_nobody() -> None:
    given, alive = latents(2), np.arange(2 * WIDTH)
    found = agreements(given.directions[alive], given.peaks[:, alive], given.member[alive], MEMBERS, 0.9, 0.9)
    assert found.shape == (8, 3) and not found[:, 2].any()
    assert found[:WIDTH, 1].all() and found[WIDTH:, 0].all() and not found[:WIDTH, 0].any()
    none = agreements(given.directions[:0], given.peaks[:, :0], given.member[:0], MEMBERS, 0.9, 0.9)
    assert none.shape == (0, 3)
