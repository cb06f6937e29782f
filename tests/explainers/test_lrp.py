"""LRP: relevance is accounted for to the logit, and equals zennit and slow formulas."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

import whyray
from whyray.explainers.lrp import Named


@pytest.fixture(scope="module")
def mini() -> whyray.Classifier:
    return whyray.load_model("mini")


@pytest.mark.parametrize(
    ("composite", "canonise"), [*((c, True) for c in get_args(Named)), ("epsilon_plus_flat", False)]
)
def test_every_part_of_the_logit_is_accounted_for(mini: whyray.Classifier, composite: Named, canonise: bool) -> None:
    picture = whyray.testing.sample_radiographs(1)[0]
    asked = f"lrp:composite={composite},canonise={canonise}"
    made = whyray.explain(mini, picture, findings=mini.findings[:3], explainers=[asked])
    for prediction in whyray.predict(mini, picture)[:3]:
        found = made[prediction.finding, asked]
        assert isinstance(found, whyray.Attribution)
        told = float(found.values.sum(dtype=np.float64)) + found.checks["bias"] + found.checks["stabiliser"]
        assert abs(told - prediction.logit) < 1e-3 * max(1.0, abs(prediction.logit))
        assert abs(found.checks["conservation_gap"]) < 1e-3
