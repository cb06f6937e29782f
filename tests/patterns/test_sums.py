"""Each part of a sum against the slow formula in float64, and the sum against the read-out."""

from __future__ import annotations

import numpy as np
import pytest
from banks import CELLS, MEMBERS, F, bank, basis, members, tokens

from whyray.patterns.members import codes
from whyray.patterns.sums import carriers, decompose


def test_the_parts_meet_the_logit_and_each_is_what_it_says() -> None:
    made, h = bank(), tokens(1)[0]
    found = decompose(made, h, h)
    logits = made.site.bias + h.astype(np.float64).mean(axis=0) @ made.site.weights.T
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    named, unnamed, residual = np.zeros((5, F)), np.zeros(F), np.zeros(F)
    cluster = made.cluster.reshape(MEMBERS, -1)
    for j, member in enumerate(members()):
        z = codes(member, basis().project(h)).toarray().astype(np.float64)
        told = member.decoder_bias + z @ member.decoder
        residual += made.site.weights @ (h - told).mean(axis=0) / MEMBERS
        for i, number in enumerate(cluster[j]):
            adds = z[:, i].mean() * (made.site.weights @ member.decoder[i]) / MEMBERS
            if number >= 0:
                named[number] += adds
            else:
                unnamed += adds
    np.testing.assert_allclose(found.named, named, atol=1e-5)
    np.testing.assert_allclose(found.unnamed, unnamed, atol=1e-5)
    np.testing.assert_allclose(found.residual, residual, atol=1e-5)
    assert (found.unnamed_for >= np.maximum(found.unnamed, 0) - 1e-9).all()
    assert (found.residual_for >= np.maximum(found.residual, 0) - 1e-9).all()


def test_maps_sum_to_contributions_and_with_the_rest_to_the_prediction() -> None:
    made, h = bank(), tokens(1)[0]
    found = decompose(made, h, h)
    for column in range(F):
        maps = found.maps([4, 1], column)
        assert maps.shape == (2, CELLS)
        np.testing.assert_allclose(maps.sum(axis=1), found.named[[4, 1], column], atol=1e-6)
        whole = maps.sum() + found.rest([4, 1], column).sum()
        assert whole == pytest.approx(found.logits[column] - found.bias[column], abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "unnamed", "residual", "wanted", "reached"),
    [
        ([1.0, 5.0, -9.0, 3.0], 0.0, 0.0, [1, 3, 0], 1.0),
        ([1.0, 6.0, 3.0], -2.0, -1.0, [1, 2], 0.9),
        ([1.0, 1.0], 8.0, 0.5, [0], 9 / 10.5),
        ([-1.0, -2.0], -1.0, -1.0, [], float("nan")),
    ],
)
def test_the_smallest_set(
    parts: list[float], unnamed: float, residual: float, wanted: list[int], reached: float
) -> None:
    mass = 0.85 if unnamed == 8 else 0.9
    chosen, share = carriers(np.array(parts), unnamed, residual, mass)
    assert chosen.tolist() == wanted and share == pytest.approx(reached, nan_ok=True)
