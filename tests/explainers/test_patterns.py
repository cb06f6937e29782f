"""A prediction as a sum of patterns: exact, smallest, ablated by the head itself, honest about what has no name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

import whyray
from whyray.contracts import Context
from whyray.errors import SettingError, UnmetNeed
from whyray.explainers.patterns import Patterns
from whyray.explanations import PatternSum
from whyray.patterns.bank import PatternBank

Artefacts = Callable[[whyray.Classifier], Context]


@pytest.fixture(scope="module")
def analytic() -> whyray.Classifier:
    return whyray.load_model("analytic")


def explained(classifier: whyray.Classifier, context: Context, **settings: float) -> list[PatternSum]:
    pictures = whyray.testing.sample_radiographs(2)
    made = Patterns(**settings).explain(classifier, pictures, classifier.findings, context)  # type: ignore[arg-type]
    return [e for result in made for e in result.values() if isinstance(e, PatternSum)]


def changed(context: Context, classifier: whyray.Classifier, **changes: object) -> Context:
    assert context.artefact is not None
    bank: PatternBank = context.artefact("patterns", classifier.fingerprint)
    return Context(artefact=lambda *_: dataclasses.replace(bank, **changes))


def test_the_parts_meet_the_classifiers_own_logit(analytic: whyray.Classifier, with_artefacts: Artefacts) -> None:
    pictures = whyray.testing.sample_radiographs(2)
    logits = [p.logit for row in whyray.predict(analytic, pictures) for p in row]
    made = explained(analytic, with_artefacts(analytic))
    for explanation, logit in zip(made, logits, strict=True):
        assert explanation.logit == pytest.approx(logit, abs=1e-4) and explanation.checks["sum_gap"] < 1e-4
        whole = explanation.maps.sum() + explanation.rest.sum()
        assert whole == pytest.approx(logit - explanation.bias, abs=1e-4)
        assert explanation.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)


def test_the_probability_without_a_pattern_is_that_of_the_head(
    analytic: whyray.Classifier, with_artefacts: Artefacts
) -> None:
    """Of a linear head the logit falls by the contribution; it is measured, and the check says how well they agree."""
    seen = 0
    for made in explained(analytic, with_artefacts(analytic)):
        wanted = 1 / (1 + np.exp(-(made.logit - made.contributions)))
        np.testing.assert_allclose(made.probabilities, wanted, atol=1e-4)
        assert made.checks["ablation_gap"] < 1e-4
        seen += len(made.contributions)
    assert seen


def test_the_set_is_the_smallest_that_reaches_the_mass(analytic: whyray.Classifier, with_artefacts: Artefacts) -> None:
    every = explained(analytic, with_artefacts(analytic), mass=1.0, against=0)
    for made, few in zip(every, explained(analytic, with_artefacts(analytic), mass=0.3, against=0), strict=True):
        size = int(few.checks["size"])
        assert size == len(few.patterns) <= len(made.patterns)
        assert few.patterns == made.patterns[:size] and (made.contributions > 0).all()
        assert few.logit == pytest.approx(made.logit, abs=1e-6), "what is not shown stays in the sum"


def test_what_speaks_against_is_shown_after(analytic: whyray.Classifier, with_artefacts: Artefacts) -> None:
    for made in explained(analytic, with_artefacts(analytic), against=2):
        size = int(made.checks["size"])
        assert (made.contributions[size:] < 0).all() and len(made.contributions) - size <= 2
        assert (np.diff(made.contributions[:size]) <= 0).all()


def test_a_bank_without_names_says_so(analytic: whyray.Classifier, with_artefacts: Artefacts) -> None:
    context = changed(with_artefacts(analytic), analytic, cluster=np.full(16, -1))
    for made in explained(analytic, context):
        assert made.patterns == () and made.checks["size"] == 0 and made.checks["sum_gap"] < 1e-4
        assert len(made.notes) == 1 and ("0 %" in made.notes[0] or "Nothing" in made.notes[0])
        assert made.attribution().values.shape == (16, 16)


def test_the_lower_bound_is_one(analytic: whyray.Classifier, with_artefacts: Artefacts) -> None:
    for made in explained(analytic, with_artefacts(analytic)):
        share, least = made.checks["named_share"], made.checks["named_share_least"]
        assert np.isnan(share) or least <= share + 1e-9


def test_no_bank_is_a_skip_with_the_way_out(analytic: whyray.Classifier) -> None:
    with pytest.raises(UnmetNeed, match="analytic has no patterns"):
        explained(analytic, Context())


@pytest.mark.parametrize("settings", [{"mass": 0}, {"mass": 1.2}, {"against": -1}])
def test_settings_that_cannot_be(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        Patterns(**settings)  # type: ignore[arg-type]
