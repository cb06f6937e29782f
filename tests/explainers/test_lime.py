"""LIME against ``lime`` itself, its stop rule, its checks, its settings, and where a planted finding is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

import whyray
from whyray.contracts import Context
from whyray.datasets.phantom import phantom_case
from whyray.engine.perturb import filled
from whyray.engine.superpixels import quickshift, slic, view
from whyray.errors import SettingError, UnknownName
from whyray.explainers.lime import Lime
from whyray.registry import explainer

Maps = dict[str, whyray.Attribution]


def made(lime: Lime, model: whyray.Classifier, picture: whyray.Radiograph, seed: int = 0) -> Maps:
    result = lime.explain(model, [picture], list(model.findings), Context(seed=seed))[0]
    return {name: e for name, e in result.items() if isinstance(e, whyray.Attribution)}


@pytest.fixture(scope="module")
def model() -> whyray.Classifier:
    return whyray.load_model("analytic")


@pytest.fixture(scope="module")
def picture() -> whyray.Radiograph:
    return whyray.testing.sample_radiographs(1)[0]


class _SameDraw:
    """Stands for lime's random state, and draws what whyray draws for a picture."""

    def __init__(self, picture: whyray.Radiograph) -> None:
        self.rng = Context().rng(picture)

    def randint(self, low: int, high: int, size: int | None = None) -> Any:
        return 0 if size is None else self.rng.integers(low, high, size)


@pytest.mark.parametrize("output", ["logit", "probability"])
@pytest.mark.parametrize("superpixels", ["slic", "quickshift"])
def test_parity_mode_is_lime(
    output: Any, superpixels: Any, model: whyray.Classifier, picture: whyray.Radiograph
) -> None:
    mine = Lime(superpixels, samples=150, stop=0, antithetic=False, fill="black", output=output, precision="float32")
    frame = model.prepare(picture)
    segments = mine.cut(frame)
    removed = filled(frame.pixels, "black", segments, model.card.preparation)[0]
    assert np.ptp(removed) == 0  # lime takes one colour

    def peer_sees(pictures: NDArray[np.float64]) -> NDArray[np.float64]:
        import torch

        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(pictures[..., 0], np.float32))[:, None]
            logits = model.logits(x).numpy().astype(float)
        return logits if output == "logit" else np.asarray(1 / (1 + np.exp(-logits)))

    peer = LimeImageExplainer(random_state=0)
    peer.random_state = _SameDraw(picture)
    theirs = peer.explain_instance(
        np.repeat(frame.pixels[0][..., None], 3, axis=2).astype(float),
        peer_sees,
        labels=range(len(model.findings)),
        hide_color=float(removed[0, 0]),
        top_labels=None,
        num_samples=150,
        segmentation_fn=lambda _: segments.labels,
    )
    for j, attribution in enumerate(made(mine, model, picture).values()):
        weights = np.zeros(segments.count)
        for segment, weight in theirs.local_exp[j]:
            weights[segment] = weight
        assert np.ptp(weights) > 1e-4
        assert np.abs(attribution.values - weights[segments.labels]).max() < 1e-6
        assert attribution.checks["samples"] == 150
    assert theirs.score == pytest.approx(attribution.checks["r2"], abs=1e-6)  # lime keeps that of the last label


def test_segments_are_those_of_the_engine(model: whyray.Classifier, picture: whyray.Radiograph) -> None:
    frame = model.prepare(picture)
    assert Lime(segments=30, sigma=2).cut(frame) is slic(view(frame), segments=30, sigma=2)
    assert Lime(superpixels="quickshift").cut(frame) is quickshift(view(frame))
    attribution = made(Lime(samples=40), model, picture)["nodule"]
    labels = Lime().cut(frame).labels
    assert attribution.values.shape == labels.shape
    assert all(np.ptp(attribution.values[labels == k]) == 0 for k in range(labels.max() + 1))


def test_the_map_says_how_sure_it_is(model: whyray.Classifier, picture: whyray.Radiograph) -> None:
    for attribution in made(Lime(samples=300, stop=0), model, picture).values():
        checks = attribution.checks
        assert attribution.unit == "logit/segment" and attribution.signed
        assert 0.9 < checks["r2"] <= 1 and 0 < checks["stability"] <= 1 and checks["samples"] == 300
        assert 0 < checks["standard_error"] < 0.2 * np.abs(attribution.values).max()
        assert attribution.provenance.backend
    few = made(Lime(samples=40), model, picture)["nodule"]
    assert np.isnan(few.checks["stability"]) and np.isnan(few.checks["standard_error"])
    probability = made(Lime(samples=40, output="probability"), model, picture)["nodule"]
    assert probability.unit == "a.u."


def test_the_draw_ends_by_itself_and_a_stricter_rule_later() -> None:
    """Products of three segments make a game that needs more than one round."""

    def samples(stop: float, cap: int = 1200, size: float = 1.0) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        members, sizes = rng.integers(0, 40, (80, 3)), size * rng.standard_normal(80) / 3
        linear = rng.standard_normal(40)

        def play(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
            x = 2.0 * keep - 1
            return np.asarray((x @ linear + x[:, members].prod(2) @ sizes)[:, None])

        found = Lime(samples=cap, stop=stop).drawn(play, 40, 1, np.random.default_rng(1))
        return float(found.samples[0]), float(found.stability[0])

    loose, strict, all_of_them, capped = samples(0.8), samples(0.95), samples(0), samples(0.999, 300)
    assert loose[0] < strict[0] < 1200 == all_of_them[0]
    assert loose[1] >= 0.8 and strict[1] >= 0.95 > capped[1]
    assert capped[0] == 300
    assert samples(0.95, size=0.01)[0] == 128  # nearly linear: one block


def test_segments_of_no_weight_do_not_keep_the_draw_going(model: whyray.Classifier, picture: whyray.Radiograph) -> None:
    """The formula's effusion looks at a few segments; the order of the others is rounding noise."""
    attribution = made(Lime(), model, picture)["pleural_effusion"]
    assert attribution.checks["samples"] <= 256 and attribution.checks["stability"] < 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"segments": 1},
        {"samples": 1},
        {"stop": 1.0},
        {"kernel_width": 0},
        {"alpha": -1},
        {"superpixels": "felzenszwalb"},
        {"output": "odds"},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        Lime(**settings)


def test_settings_from_the_command_line(model: whyray.Classifier, picture: whyray.Radiograph) -> None:
    lime = explainer("lime:superpixels=quickshift,stop=0,antithetic=false,fill=0.5,samples=20")
    assert isinstance(lime, Lime) and not lime.antithetic and lime.passes(18) == 20
    assert made(lime, model, picture)
    with pytest.raises(UnknownName, match="fill"):
        made(Lime(fill="grey"), model, picture)


def test_the_strongest_segments_lie_on_the_planted_edema() -> None:
    case = phantom_case(2_000_400, size=224, plant={"edema": 0.9})
    (region,) = [r for r in case.regions() if r.finding == "edema" and r.mask is not None]
    lime = Lime(samples=128)
    result = lime.explain(whyray.load_model("mini"), [case.radiograph()], ["edema"], Context())[0]
    shown = result["edema"].attribution().at_source()  # type: ignore[attr-defined]
    inside = region.mask > 0  # type: ignore[operator]
    assert np.nanmean(shown[inside]) > 3 * np.nanmean(np.abs(shown[~inside]))
