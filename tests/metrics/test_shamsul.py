"""Four mistakes in the released code of a published comparison, and a test for each that it is not made here.

docs/metrics-localisation.md lists them. Each test also makes the mistake, to show that it would be seen.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import whyray
from whyray.engine.perturb import FILLS, Perturbed, filled
from whyray.engine.superpixels import slic, view
from whyray.errors import WhyrayError
from whyray.explanations import Attribution, Explanation
from whyray.metrics import localisation as loc
from whyray.models.analytic import CELLS, RULES, SIZE, true_weights
from whyray.types import Radiograph

PICTURE = Radiograph(np.random.default_rng(0).random((256, 256), np.float32) * 0.2 + 0.5)


def truth_of(finding: str) -> np.ndarray:
    """Where the formula reads for the finding, in pixels of ``PICTURE``."""
    cells = true_weights(finding) > 0
    return np.kron(cells, np.ones((256 // CELLS, 256 // CELLS), bool))


@pytest.mark.parametrize("order", list(permutations(RULES)))
def test_a_map_is_filed_under_the_finding_it_explains(order: tuple[str, ...]) -> None:
    """Mistake 1: maps made in order of rank, filed in order of class. Whatever the order asked, each map lies in the
    boxes of its own finding, and in no other's."""
    made = whyray.explain(whyray.load_model("analytic"), PICTURE, findings=order, explainers=("gradcam",))
    strength = {f: loc.saliency(made[f, "gradcam"].attribution().at_source(), "positive") for f in RULES}  # type: ignore[attr-defined]
    inside = {(f, g): loc.mass_in(strength[f], truth_of(g)) for f in RULES for g in RULES}
    for f in RULES:
        assert made[f, "gradcam"].finding == f
        assert inside[f, f] > 0.8, "bilinear cells reach an eighth of a cell out of a box of three"
        assert all(inside[f, g] < 0.15 for g in RULES if g != f)
    by_rank = sorted(RULES, key=lambda f: -next(p.logit for p in made.predictions if p.finding == f))
    assert by_rank != list(RULES), "rank and class differ here, so the mistake would show"
    assert min(inside[wrong, f] for wrong, f in zip(by_rank, RULES)) < 0.15


@pytest.mark.parametrize("fill", FILLS)
def test_what_is_removed_stays_within_the_models_own_range(fill: str) -> None:
    """Mistake 2: un-normalised pixels, masked with 255, for a network that expects normalised ones. Here the *model
    input* is masked, and every named fill is a value that a radiograph can have there."""
    model = whyray.load_model("mini")
    frame, preparation = model.prepare(PICTURE), model.card.preparation
    segments = slic(view(frame))
    mean, std = np.array(preparation.mean), np.array(preparation.std)
    ends = np.array([(preparation.low - mean) / std, (preparation.high - mean) / std])
    empty = filled(frame.pixels, fill, segments, preparation)
    assert empty.shape == frame.pixels.shape
    assert ends.min() - 1e-5 <= empty.min() and empty.max() <= ends.max() + 1e-5
    assert filled(frame.pixels, 255, segments, preparation).min() > ends.max() + 50, "the mistake, asked for by number"


def test_segments_are_as_many_as_there_are() -> None:
    """Mistake 3: 50 superpixels asked for, 50 assumed. The count is that of the labels, each of which is used; a
    coalition of another length is refused."""
    model = whyray.load_model("analytic")
    frame = model.prepare(PICTURE)
    segments = slic(view(frame), segments=50)
    assert segments.count != 50, "SLIC gives another number here, so the mistake would show"
    assert segments.count == len(np.unique(segments.labels)) == segments.labels.max() + 1
    perturbed = Perturbed(model, frame, segments)
    assert perturbed.logits(np.ones((1, segments.count), bool)).shape == (1, len(model.findings))
    with pytest.raises(WhyrayError, match=str(segments.count)):
        perturbed.logits(np.ones((1, 50), bool))


def test_results_are_finding_then_explainer_and_nothing_in_between() -> None:
    """Mistake 4: maps nested by rule, read as if by class. One explainer with two settings has two keys, and what lies
    under each is the explanation itself."""
    labels = ("gradcam", "gradcam:relu=false", "random:cells=7")
    made = whyray.explain(whyray.load_model("analytic"), PICTURE, findings=tuple(RULES), explainers=labels)
    assert list(made.results) and set(made.results) == set(RULES)
    for finding, found in made.results.items():
        assert tuple(found) == labels
        for label, explanation in found.items():
            assert isinstance(explanation, Explanation) and isinstance(explanation, Attribution)
            assert explanation.finding == finding and explanation.provenance.explainer == label.partition(":")[0]
            assert explanation.values.ndim == 2
    settings = {label: made[finding, label].provenance.settings["relu"] for label in labels[:2]}
    assert settings == {"gradcam": True, "gradcam:relu=false": False}


def test_the_picture_has_the_size_these_tests_rest_on() -> None:
    assert SIZE == 128 and PICTURE.shape == (256, 256)
