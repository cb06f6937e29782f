"""Cascading randomisation: the caller's network is untouched, what ignores the weights stays, gradients change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Asked, Classifier, Context, Explainer
from whyray.errors import UnmetNeed
from whyray.explainers.edges import Edges
from whyray.explainers.gradcam import GradCam
from whyray.explanations import Explanation
from whyray.jobs._randomised import SIMILARITIES, cascade, parameterised, weight_dependence
from whyray.testing import sample_radiographs, snapshot
from whyray.types import Radiograph


@dataclass(frozen=True)
class InputGradient(Explainer):
    """The derivative of each logit, written out for this test."""

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        asked = Asked(self, classifier, radiographs, findings, context)
        x = torch.from_numpy(np.stack([f.pixels for f in asked.frames])).requires_grad_()
        logits = classifier.logits(x)
        rows = [torch.autograd.grad(logits[:, c].sum(), x, retain_graph=True)[0].mean(1) for c in asked.columns]
        return asked.attributions(torch.stack(rows, 1).numpy())


@pytest.fixture(scope="module")
def mini() -> Classifier:
    return whyray.load_model("mini")


@pytest.fixture(scope="module")
def pictures() -> list[Radiograph]:
    return sample_radiographs(3)


def test_layers_come_in_the_order_of_the_pass(mini: Classifier, pictures: list[Radiograph]) -> None:
    names = parameterised(mini, torch.from_numpy(mini.prepare(pictures[0]).pixels[None]))  # type: ignore[arg-type]
    assert names[0] == "features.conv0" and names[-1] == "classifier"
    owners = [n for n, m in mini.module.named_modules() if list(m.parameters(recurse=False))]
    assert sorted(names) == sorted(owners)


def test_the_last_layer_goes_first_and_the_callers_network_stays(mini: Classifier, pictures: list[Radiograph]) -> None:
    x = np.stack([mini.prepare(p).pixels for p in pictures])
    before = snapshot(mini, pictures)
    found = list(cascade(mini, x, stages=3))
    assert snapshot(mini, pictures) == before
    assert [s.layers for s in found][:2] == [0, 1] and found[-1].layers == found[-1].total
    assert found[1].lowest == "classifier"
    original = mini.module.state_dict()
    changed = [{k for k, v in s.classifier.module.state_dict().items() if not v.equal(original[k])} for s in found]
    assert changed[0] == set() and changed[1] == {"classifier.weight", "classifier.bias"}
    weights = {k for k, v in original.items() if v.ndim >= 2}
    assert changed[1] < changed[2] and weights <= changed[-1]
    assert len({s.classifier.fingerprint for s in found}) == len(found)
    assert all(torch.isfinite(s.classifier.logits(torch.from_numpy(x))).all() for s in found)


def test_random_layers_keep_activations_alive(mini: Classifier, pictures: list[Radiograph]) -> None:
    x = np.stack([mini.prepare(p).pixels for p in pictures])
    *_, last = cascade(mini, x, stages=2)
    _, taps = last.classifier.run(torch.from_numpy(x), ("features",))
    assert 0.05 < (taps["features"] > 0).float().mean() < 0.95 and taps["features"].std() < 100


def test_edges_do_not_depend_on_weights_and_gradients_do(mini: Classifier, pictures: list[Radiograph]) -> None:
    findings = list(mini.findings[:2])
    asked = [findings, findings[:1], findings]
    edges = weight_dependence(Edges(), mini, pictures, asked, Context(), stages=3)
    assert edges.alike.shape == (len(edges.layers), 5, len(SIMILARITIES)) and (edges.alike == 1).all()
    assert edges.others.shape == (3, 3) and (edges.others < 1).all()
    for explainer in (InputGradient(), GradCam(relu=False)):
        alike = weight_dependence(explainer, mini, pictures, asked, Context(), stages=3).alike
        assert (alike[0] == 1).all(), "stage 0 is the untouched copy"
        assert alike[-1, :, 0].mean() < 0.3, explainer


def test_the_same_seed_gives_the_same_cascade(mini: Classifier, pictures: list[Radiograph]) -> None:
    runs = [
        weight_dependence(GradCam(), mini, pictures[:2], [mini.findings[:1]] * 2, Context(seed=s), stages=2).alike
        for s in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])


def test_a_classifier_without_a_module_is_skipped_with_the_reason() -> None:
    class LogitsOnly(Classifier):
        name = "logits-only"

        def prepare(self, radiograph: Radiograph) -> object:  # type: ignore[override]
            raise NotImplementedError

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError

    with pytest.raises(UnmetNeed, match="no torch module"):
        next(cascade(LogitsOnly(), np.zeros((1, 1, 8, 8), np.float32)))
