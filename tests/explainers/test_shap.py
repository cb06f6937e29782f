"""Shapley maps: known additive answers, the sum, the stop rule, what they share, and where a planted finding is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import whyray
from whyray.contracts import Context
from whyray.datasets.phantom import phantom
from whyray.engine.perturb import Perturbed
from whyray.engine.superpixels import slic, view
from whyray.errors import SettingError
from whyray.explainers._shapley import all_coalitions, exact
from whyray.explainers.shap import Game, Shap, all_of_them, in_rounds, share_of_maximum
from whyray.networks.densenet import DenseNet
from whyray.registry import explainer

Floats = NDArray[np.floating[Any]]


def made(
    shap: Shap, model: whyray.Classifier, picture: whyray.Radiograph, findings: Any = None, context: Any = None
) -> dict[str, whyray.Attribution]:
    result = shap.explain(model, [picture], list(findings or model.findings), context or Context())[0]
    return {name: e for name, e in result.items() if isinstance(e, whyray.Attribution)}


class _Additive(nn.Module):
    """Two findings that weigh the picture's pixels: Shapley values are sums over a segment."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.flat = nn.Flatten()
        self.linear = nn.Linear(side * side, 2)
        nn.init.normal_(self.linear.weight, std=0.05, generator=torch.Generator().manual_seed(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(self.flat(x))
        return out


@pytest.fixture(scope="module")
def additive() -> whyray.Classifier:
    return whyray.wrap(_Additive(64), findings=["mass", "edema"], size=64)


@pytest.fixture(scope="module")
def picture() -> whyray.Radiograph:
    return whyray.testing.sample_radiographs(1, side=64)[0]


@pytest.mark.parametrize("surrogate", [True, False])
def test_an_additive_model_is_explained_exactly(
    surrogate: bool, additive: whyray.Classifier, picture: whyray.Radiograph
) -> None:
    shap = Shap(segments=30, samples=300, fill="black", surrogate=surrogate, precision="float32")
    frame = additive.prepare(picture)
    segments = slic(view(frame), segments=30, compactness=shap.compactness, sigma=shap.sigma)
    assert segments.count > 12
    game = Perturbed(additive, frame, segments, "black", Context(), precision="float32")
    one = np.eye(segments.count, dtype=bool)
    alone = game.logits(one) - game.baseline  # [k, f]: what each segment adds by itself, here and everywhere
    for j, attribution in enumerate(made(shap, additive, picture).values()):
        assert np.abs(attribution.values - alone[:, j][segments.labels]).max() < 1e-4 * np.abs(alone).max()
        assert attribution.checks["standard_error_share"] < 1e-3
        assert attribution.unit == "logit/segment" and attribution.signed


def test_few_segments_are_enumerated(picture: whyray.Radiograph) -> None:
    model = whyray.load_model("analytic")
    shap = Shap(segments=8, fill="mean", precision="float32")
    frame = model.prepare(picture)
    segments = slic(view(frame), segments=8, compactness=shap.compactness, sigma=shap.sigma)
    assert segments.count <= 12
    game = Perturbed(model, frame, segments, "mean", Context(), precision="float32")
    truth = exact(game.logits(all_coalitions(segments.count)))
    for j, attribution in enumerate(made(shap, model, picture).values()):
        np.testing.assert_allclose(attribution.values, truth[:, j][segments.labels], atol=1e-5)
        assert attribution.checks["coalitions"] == 2**segments.count
        assert attribution.checks["standard_error"] == 0


def test_the_sum_is_the_logit_less_the_baseline() -> None:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(1, 1), stem=4)
    model = whyray.wrap(network, findings=["mass", "edema", "hernia"], size=64)
    radiograph, shap = whyray.Radiograph(phantom(8, size=128).pixels), Shap(samples=150, precision="float32")
    frame = model.prepare(radiograph)
    labels = slic(view(frame), segments=50, compactness=shap.compactness, sigma=shap.sigma).labels
    first = np.unique(labels, return_index=True)[1]
    with torch.inference_mode():
        logits = model.logits(torch.from_numpy(frame.pixels[None])).numpy()[0]
    for j, attribution in enumerate(made(shap, model, radiograph).values()):
        assert abs(attribution.checks["efficiency_gap"]) < 1e-5
        total = attribution.values.ravel()[first].sum(dtype=np.float64)
        assert abs(total - (logits[j] - attribution.checks["baseline"])) < 1e-5
        assert 100 < attribution.checks["coalitions"] <= 150
        assert 0 < attribution.checks["standard_error"] < np.abs(attribution.values).max()


def interacting(players: int = 20) -> Game:
    """Finding 0 is additive, finding 1 has interactions of three, finding 2 is dead."""
    rng = np.random.default_rng(0)
    weights, triples = rng.normal(size=players), rng.choice(players, (60, 3))

    def play(keep: NDArray[np.bool_]) -> Floats:
        signs = 2.0 * keep - 1
        rough = signs @ weights + 0.4 * signs[:, triples].prod(2).sum(1)
        return np.stack([signs @ weights, rough, np.zeros(len(keep))], 1)

    whole = np.ones((1, players), bool)
    return Game(play, players, play(~whole)[0], play(whole)[0], (0, 1, 2))


def test_a_finding_stops_when_its_own_error_is_small() -> None:
    game = interacting()
    found = in_rounds(game, None, (4000, 0.1), np.random.default_rng(1))
    assert found.coalitions[0] < found.coalitions[1] < 4000 and found.coalitions[2] == found.coalitions[0]
    assert (share_of_maximum(found.values, found.errors) <= 0.1).all()
    capped = in_rounds(game, None, (400, 0.0001), np.random.default_rng(1))
    assert 398 <= capped.coalitions[1] <= 400
    assert share_of_maximum(capped.values, capped.errors)[1] > 0.0001


def test_what_else_is_asked_changes_nothing() -> None:
    game = interacting()
    alone = Game(game.play, game.players, game.empty, game.full, (0,))
    near = np.full((1, 20), 1 / 20)
    every = in_rounds(game, near, (2000, 0.02), np.random.default_rng(1))
    one = in_rounds(alone, near, (2000, 0.02), np.random.default_rng(1))
    np.testing.assert_array_equal(every.values[:, 0], one.values[:, 0])
    assert every.coalitions[0] == one.coalitions[0]


def test_a_budget_that_holds_all_coalitions_is_exact() -> None:
    game = interacting(13)
    found = in_rounds(game, np.eye(13), (2**13, 0.0), np.random.default_rng(0))
    np.testing.assert_allclose(found.values, all_of_them(game).values, atol=1e-9)
    assert not found.errors.any() and (found.coalitions == 2**13).all()


@pytest.mark.parametrize("players", [1, 2, 3])
def test_hardly_any_segments(players: int) -> None:
    found = all_of_them(interacting(players))
    np.testing.assert_allclose(found.values.sum(0), found.full - found.empty)


def test_coalitions_are_paid_once(additive: whyray.Classifier, picture: whyray.Radiograph) -> None:
    context, shap = Context(), Shap(segments=20, samples=200)
    first = made(shap, additive, picture, context=context)
    paid = len(context.paid)
    again = made(shap, additive, picture, context=context)
    assert 0 < paid == len(context.paid)
    for name, attribution in first.items():
        np.testing.assert_array_equal(attribution.values, again[name].values)


def test_another_seed_agrees_within_the_errors() -> None:
    game, near = interacting(), np.full((1, 20), 1 / 20)
    for surrogate in (None, near):
        one, two = (in_rounds(game, surrogate, (500, 0), np.random.default_rng(seed)) for seed in (0, 1))
        apart = (one.values - two.values)[:, 1] / np.hypot(one.errors, two.errors)[:, 1]
        assert 0.5 < np.sqrt(np.mean(apart**2)) < 1.5


def test_lime_and_shap_share_what_is_paid(additive: whyray.Classifier, picture: whyray.Radiograph) -> None:
    def paid_by_shap(context: Context) -> tuple[int, whyray.Attribution]:
        had = len(context.paid)
        found = made(Shap(segments=40, samples=600, tolerance=0), additive, picture, context=context)
        return len(context.paid) - had, found["mass"]

    alone, by_itself = paid_by_shap(Context())
    context = Context()
    explainer("lime:segments=40,samples=600,stop=0").explain(additive, [picture], ["mass"], context)
    after, together = paid_by_shap(context)
    assert 0.5 * alone < after < 0.9 * alone
    np.testing.assert_allclose(by_itself.values, together.values, atol=1e-5 * np.abs(together.values).max())


def test_the_passes_that_were_run_are_named(additive: whyray.Classifier, picture: whyray.Radiograph) -> None:
    found = made(Shap(segments=8, precision="bfloat16"), additive, picture)["mass"]
    assert "bfloat16" in found.provenance.backend


@pytest.mark.parametrize("fill", ["blur", "black", "white", "neighbours", "0.5"])
def test_fills(fill: str, additive: whyray.Classifier, picture: whyray.Radiograph) -> None:
    with_fill = explainer(f"shap:segments=8,fill={fill},precision=float32")
    assert isinstance(with_fill, Shap)
    assert abs(made(with_fill, additive, picture)["mass"].checks["efficiency_gap"]) < 1e-5


def test_cost_and_settings() -> None:
    assert Shap(segments=8).passes(18) == 256 and Shap().passes(1) == Shap().passes(18) == 1000
    for bad in ({"segments": 1}, {"samples": 10}, {"tolerance": -0.1}):
        with pytest.raises(SettingError):
            Shap(**bad)
