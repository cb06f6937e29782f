"""What the frames say of the ends between which they lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from whyray.explainers._latent import Shift
from whyray.explainers._latent_search import Rules, Target, search
from whyray.explainers._latent_sweep import confirmed, doubtful, swept
from whyray.explainers.latent_shift import LatentShift

LAMBDAS = LatentShift().lambdas


def humped() -> Shift:
    """A logit that rises like lambda, save for a dip at 2.2 that a search for 6 does not look at."""
    z, direction = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def predict(pictures: Tensor) -> Tensor:
        lam = pictures[:, 0, 0, 0]
        return (lam - 1.5 * torch.exp(-(((lam - 3.6) / 0.4) ** 2)))[:, None]

    def decode(latents: Tensor) -> Tensor:
        return latents.expand(-1, 1, 2, 2)

    return Shift(z, direction, decode(z), predict(decode(z))[0].numpy(), decode, predict)


def test_a_dip_that_only_the_frames_see_ends_the_side_before_it() -> None:
    shift, rules = humped(), Rules(1e9)
    targets = [Target(0, 0, -1, 2.0), Target(0, 0, 1, 6.0)]
    first = search(shift, targets, rules)
    assert [b.stop for b in first] == ["target", "target"]
    ends, revised = confirmed(shift, targets, rules, first, LAMBDAS)
    assert ends[0].stop == "target" and ends[1].stop == "monotone" and revised == [1]
    assert 2.8 < ends[1].lam < 3.3
    _, logits = shift.frames([0] * 11, LAMBDAS(ends[0].lam, ends[1].lam).tolist())
    assert np.all(np.diff(logits[:, 0]) >= -rules.tolerance)


def test_frames_that_agree_cost_nothing_more() -> None:
    shift, rules, targets = humped(), Rules(1e9), [Target(0, 0, -1, 2.0)]
    first = search(shift, targets, rules)
    looked = len(first[0].seen)
    ends, revised = confirmed(shift, targets, rules, first, LAMBDAS)
    assert ends[0].lam == first[0].lam and revised == [0] and len(ends[0].seen) == looked


def test_each_finding_has_the_frames_between_its_own_ends() -> None:
    shift, rules = humped(), Rules(1e9)
    targets = [Target(0, 0, -1, 2.0), Target(0, 0, 1, 1.0)]
    steps = swept(targets, search(shift, targets, rules), LAMBDAS)
    assert list(steps) == [0] and steps[0][0] < -1.9 and 0.9 < steps[0][-1] < 1.2 and 0 in steps[0]


def test_turning_back_within_the_tolerance_is_not_doubted() -> None:
    far = np.array([0.0, 1.0, 2.0, 3.0])
    assert doubtful(far, np.array([0, 1, 0.99, 2]), Rules(1)) == []
    assert doubtful(far, np.array([0, 1, 0.9, 2]), Rules(1)) == [1.0, 2.0, 3.0]
