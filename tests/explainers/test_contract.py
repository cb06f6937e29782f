"""One suite over every registered explainer, also when the model raises; and the suite itself can fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Asked, Context
from whyray.networks.densenet import DenseNet
from whyray.registry import EXPLAINERS, explainer

Artefacts = Callable[[whyray.Classifier], Context]


@pytest.fixture(scope="module")
def small() -> whyray.Classifier:
    torch.manual_seed(0)
    return whyray.wrap(DenseNet(3, growth=4, blocks=(1, 1), stem=4), findings=["mass", "edema", "hernia"], size=64)


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_on_a_formula(name: str, with_artefacts: Artefacts) -> None:
    analytic = whyray.load_model("analytic")
    whyray.testing.check_explainer(explainer(name), analytic, context=with_artefacts(analytic))


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_on_a_network_in_training_mode(name: str, small: whyray.Classifier, with_artefacts: Artefacts) -> None:
    small.module.train()
    whyray.testing.check_explainer(explainer(name), small, context=with_artefacts(small))
    assert small.module.training


@dataclass(frozen=True)
class _Rude(whyray.Explainer):
    """Leaves things behind, one after the other."""

    what: str = "seed"

    def explain(
        self,
        classifier: whyray.Classifier,
        radiographs: Sequence[whyray.Radiograph],
        findings: Sequence[str],
        context: Context,
    ) -> list[dict[str, whyray.Explanation]]:
        asked = Asked(self, classifier, radiographs, findings, context)
        maps = np.ones((len(radiographs), len(findings), 4, 4))
        if self.what == "seed":
            torch.rand(1)
        elif self.what == "mode":
            classifier.module.eval() if classifier.module.training else classifier.module.train()
        elif self.what == "hook":
            classifier.module.register_forward_hook(lambda *_: None)
        elif self.what == "weights":
            with torch.no_grad():
                next(classifier.module.parameters()).add_(1e-3)
        elif self.what == "order":
            maps *= np.arange(1, len(radiographs) + 1)[:, None, None, None]
        elif self.what == "filters":
            warnings.filterwarnings("ignore", message=f"never {len(warnings.filters)}")
        elif self.what == "nan":
            maps[:] = np.nan
        return asked.attributions(maps, signed=False)


@pytest.mark.parametrize("what", ["seed", "mode", "hook", "weights", "order", "filters", "nan"])
def test_the_check_can_fail(what: str) -> None:
    network = DenseNet(2, growth=4, blocks=(1, 1), stem=4)
    model = whyray.wrap(network, findings=["mass", "edema"], size=64)
    with pytest.raises(AssertionError):
        whyray.testing.check_explainer(_Rude(what), model)


def test_random_maps_do_not_depend_on_what_else_is_asked() -> None:
    model, picture = whyray.load_model("analytic"), whyray.testing.sample_radiographs(1)[0]
    one = whyray.explain(model, picture, findings=["nodule"], explainers=["random"])["nodule", "random"]
    all_of_them = whyray.explain(model, picture, findings=model.findings, explainers=["random"])["nodule", "random"]
    other_seed = whyray.explain(model, picture, findings=["nodule"], explainers=["random"], seed=1)["nodule", "random"]
    assert isinstance(one, whyray.Attribution) and isinstance(all_of_them, whyray.Attribution)
    assert isinstance(other_seed, whyray.Attribution)
    np.testing.assert_array_equal(one.values, all_of_them.values)
    assert np.abs(one.values - other_seed.values).max() > 0.1


def test_centre_peaks_in_the_middle_and_edges_at_an_edge() -> None:
    model = whyray.load_model("analytic")
    pixels = np.zeros((128, 128), np.float32)
    pixels[:, 64:] = 1
    made = whyray.explain(model, whyray.Radiograph(pixels), findings=["nodule"], explainers=["centre", "edges"])
    centre, edges = made["nodule", "centre"], made["nodule", "edges"]
    assert isinstance(centre, whyray.Attribution) and isinstance(edges, whyray.Attribution)
    y, x = np.unravel_index(np.nanargmax(centre.at_source()), (128, 128))
    assert abs(y - 63.5) < 4 and abs(x - 63.5) < 4
    assert abs(np.nanargmax(edges.at_source()[64]) - 63.5) < 2
