"""Occlusion against captum, against the definition written as a loop, and on a picture with a planted answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Context
from whyray.errors import SettingError
from whyray.explainers.occlusion import Occlusion, spans, windows
from whyray.models.analytic import true_weights
from whyray.networks.densenet import DenseNet

FINDINGS = ["mass", "edema", "hernia"]


def network(size: tuple[int, int] = (64, 64)) -> whyray.Classifier:
    torch.manual_seed(0)
    module = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        module.train()(torch.randn(8, 1, *size))  # activations of order one: drops well above rounding
    return whyray.wrap(module.eval(), findings=FINDINGS, size=size, mean=0.5, std=0.25)


def maps_of(explainer: Occlusion, model: whyray.Classifier, picture: whyray.Radiograph) -> np.ndarray:
    made = explainer.explain(model, [picture], model.findings, Context())[0]
    return np.stack([made[f].attribution().values for f in model.findings])


@pytest.mark.parametrize(
    ("size", "window", "stride"), [((64, 64), 16, 8), ((64, 64), 24, 16), ((70, 53), 15, 7), ((64, 64), 9, 9)]
)
@pytest.mark.parametrize("baseline", [0.0, -1.5])
def test_equals_captum(size: tuple[int, int], window: int, stride: int, baseline: float) -> None:
    from captum.attr import Occlusion as Peer

    model = network(size)
    picture = whyray.testing.sample_radiographs(1)[0]
    explainer = Occlusion(window=window, stride=stride, fill=baseline, precision="float32", backend="torch")
    ours = maps_of(explainer, model, picture)
    x = torch.from_numpy(np.array(model.prepare(picture).pixels))[None]
    peer = Peer(model.logits)
    for column in range(3):
        theirs = peer.attribute(x, (1, window, window), (1, stride, stride), baselines=baseline, target=column)
        assert theirs.abs().max() > 0.005  # well above the rounding of a logit
        np.testing.assert_allclose(ours[column], theirs[0, 0].numpy(), rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_windows_by_hand() -> None:
    assert spans(10, 4, 4) == [(0, 4), (4, 8), (8, 10)]
    assert spans(10, 4, 3) == [(0, 4), (3, 7), (6, 10)]
    assert spans(3, 3, 3) == [(0, 3)]
    segments, removed = windows((10, 9), 4, 3)
    assert len(removed) == len(spans(10, 4, 3)) * len(spans(9, 4, 3))
    covered = removed[:, segments.labels]  # [windows, h, w]
    expected = [(a, b, c, d) for a, b in spans(10, 4, 3) for c, d in spans(9, 4, 3)]
    for mask, (a, b, c, d) in zip(covered, expected, strict=True):
        wanted = np.zeros((10, 9), bool)
        wanted[a:b, c:d] = True
        assert np.array_equal(mask, wanted)
    assert covered.any(0).all()


def test_a_box_that_is_read_is_found() -> None:
    model = whyray.load_model("analytic")
    picture = whyray.Radiograph(np.ones((128, 128), np.float32))
    explainer = Occlusion(window=8, stride=8, fill="black")
    found = maps_of(explainer, model, picture)
    truth = np.stack([np.kron(true_weights(f), np.ones((8, 8))) for f in model.findings])  # per cell of 8 pixels
    inside = truth != 0
    assert np.abs(found[~inside]).max() < 1e-5
    ratio = found[inside] / truth[inside]
    assert ratio.min() == pytest.approx(ratio.max(), rel=1e-4) and ratio.min() > 0.9


def test_all_findings_share_the_passes() -> None:
    model, picture, context = network(), whyray.testing.sample_radiographs(1)[0], Context()
    explainer = Occlusion(window=16, stride=16)
    explainer.explain(model, [picture], FINDINGS, context)
    assert len(context.paid) == 16 + 1
    explainer.explain(model, [picture], FINDINGS[:1], context)
    assert len(context.paid) == 16 + 1


def test_estimate_and_defaults() -> None:
    assert Occlusion().geometry((224, 224)) == (32, 16)
    assert Occlusion().geometry((512, 640)) == (73, 36)
    assert Occlusion().passes(18) == Occlusion().passes(1) == 13 * 13 + 1
    assert Occlusion(window=500).geometry((64, 96)) == (64, 32)


@pytest.mark.parametrize("settings", [{"window": -1}, {"window": 8, "stride": 9}])
def test_settings_out_of_range(settings: dict[str, int]) -> None:
    with pytest.raises(SettingError, match="give a value"):
        Occlusion(**settings)  # type: ignore[arg-type]


def test_a_number_may_come_as_text_and_the_engine_is_recorded() -> None:
    from whyray.registry import explainer

    model, picture = network(), whyray.testing.sample_radiographs(1)[0]
    as_text = explainer("occlusion:window=16,fill=-1.5,precision=bfloat16")
    assert isinstance(as_text, Occlusion)
    found = maps_of(as_text, model, picture)
    assert np.array_equal(found, maps_of(Occlusion(window=16, fill=-1.5, precision="bfloat16"), model, picture))
    made = as_text.explain(model, [picture], FINDINGS[:1], Context())[0]["mass"]
    assert made.provenance.backend == "torch/bfloat16/cpu"


def test_a_wrong_fill_is_named() -> None:
    with pytest.raises(whyray.errors.UnknownName, match="blur"):
        maps_of(Occlusion(fill="blurr"), network(), whyray.testing.sample_radiographs(1)[0])


def test_the_contract_holds_on_the_fast_engine_in_half_precision() -> None:
    whyray.testing.check_explainer(Occlusion(window=64, stride=56), whyray.load_model("mini"))
