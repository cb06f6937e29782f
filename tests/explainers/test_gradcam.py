"""Grad-CAM against its formula, against captum and pytorch-grad-cam, and against a map known in advance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whyray
from whyray.explainers.gradcam import GradCam, class_activation, tail_gradients
from whyray.models.analytic import true_maps
from whyray.networks.densenet import DenseNet


@pytest.fixture(scope="module")
def densenet() -> DenseNet:
    """DenseNet-121 with random weights and BatchNorm calibrated, so that activations are of order one."""
    torch.manual_seed(0)
    module = DenseNet(18)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # cumulative average
    with torch.no_grad():
        module.train()(torch.rand(4, 1, 224, 224))
    return module.eval()


@pytest.fixture(scope="module")
def classifier(densenet: DenseNet) -> whyray.Classifier:
    return whyray.wrap(densenet, findings=whyray_18(), size=224, name="densenet")


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(1))


def whyray_18() -> tuple[str, ...]:
    from whyray.findings import crosswalk

    return tuple(crosswalk("xrv-18").values())


def scaled(maps: torch.Tensor) -> torch.Tensor:
    """ReLU, then each map divided by its maximum."""
    maps = maps.clamp(min=0)
    return maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-12)


def test_equals_captum(densenet: DenseNet, classifier: whyray.Classifier, x: torch.Tensor) -> None:
    from captum.attr import LayerGradCam

    columns = [0, 7, 17]
    ours, _ = class_activation(classifier, x, columns)
    peer = LayerGradCam(densenet, densenet.last_relu)
    theirs = torch.cat([peer.attribute(x, target=c, relu_attributions=True) for c in columns], 1).detach()
    torch.testing.assert_close(scaled(ours), scaled(theirs), atol=1e-4, rtol=1e-4)


def test_equals_pytorch_grad_cam(densenet: DenseNet, classifier: whyray.Classifier, x: torch.Tensor) -> None:
    from whyray._torchvision import ensure_torchvision

    assert ensure_torchvision()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    ours, _ = class_activation(classifier, x, [3])
    with GradCAM(densenet, [densenet.last_relu]) as peer:
        targets = [ClassifierOutputTarget(3)] * len(x)
        peer(x.clone(), targets=targets)  # runs forward and backward; the raw map is what it weights before scaling
        seen, gradients = peer.activations_and_grads.activations[0], peer.activations_and_grads.gradients[0]
        theirs = peer.get_cam_image(x, densenet.last_relu, targets, seen.numpy(), gradients.numpy(), False)
    torch.testing.assert_close(scaled(ours[:, 0]), scaled(torch.from_numpy(theirs)), atol=1e-4, rtol=1e-4)


def test_equals_the_closed_form_and_is_complete(
    densenet: DenseNet, classifier: whyray.Classifier, x: torch.Tensor
) -> None:
    maps, gap = class_activation(classifier, x, [2, 5])
    with torch.no_grad():
        features = densenet.last_relu(densenet.features(x))
        closed = torch.einsum("fd,bdhw->bfhw", densenet.classifier.weight[[2, 5]], features) / features[0, 0].numel()
        logits = densenet(x)[:, [2, 5]]
    torch.testing.assert_close(maps, closed, atol=1e-5, rtol=1e-4)
    assert gap.abs().max() < 1e-4
    torch.testing.assert_close(maps.sum((2, 3)) + densenet.classifier.bias[[2, 5]], logits, atol=1e-4, rtol=1e-4)


def test_the_way_without_a_head_gives_the_same(classifier: whyray.Classifier, x: torch.Tensor) -> None:
    features, weights = tail_gradients(classifier, x, [1, 4])
    maps, _ = class_activation(classifier, x, [1, 4])
    torch.testing.assert_close(torch.einsum("bfd,bdhw->bfhw", weights, features), maps, atol=1e-5, rtol=1e-4)


def test_a_known_map_is_found() -> None:
    model = whyray.load_model("analytic")
    picture = whyray.testing.sample_radiographs(1, side=128)[0]
    signed = whyray.explain(model, picture, findings=model.findings, explainers=["gradcam:relu=false"])
    truth = true_maps(model.prepare(picture).pixels)
    for finding in model.findings:
        made = signed[finding, "gradcam:relu=false"]
        assert isinstance(made, whyray.Attribution)
        np.testing.assert_allclose(made.values, truth[finding], atol=1e-5)
        assert abs(made.checks["completeness_gap"]) < 1e-4


def test_relu_keeps_the_positive_part() -> None:
    model, picture = whyray.load_model("analytic"), whyray.testing.sample_radiographs(1)[0]
    both = whyray.explain(model, picture, findings=["cardiomegaly"], explainers=["gradcam", "gradcam:relu=false"])
    positive, signed = both["cardiomegaly", "gradcam"], both["cardiomegaly", "gradcam:relu=false"]
    assert isinstance(positive, whyray.Attribution) and isinstance(signed, whyray.Attribution)
    np.testing.assert_array_equal(positive.values, np.maximum(signed.values, 0))
    assert signed.signed and not positive.signed and signed.values.min() < 0


def test_an_empty_map_says_so() -> None:
    model = whyray.load_model("analytic")
    dark = whyray.Radiograph(np.linspace(0, 0.05, 64 * 64, dtype=np.float32).reshape(64, 64))
    only_against = whyray.wrap(_Against(), findings=["mass"], size=64, layer="maps")
    made = whyray.explain(only_against, dark, findings=["mass"])["mass", "gradcam"]
    assert isinstance(made, whyray.Attribution) and made.values.max() == 0
    assert "empty" in made.notes[0]
    assert model.findings  # the formula model is untouched by all this


class _Against(nn.Module):
    """Everything it sees speaks against its only finding."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.AvgPool2d(8)
        self.linear = nn.Linear(1, 1)
        nn.init.constant_(self.linear.weight, -1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(self.maps(x).mean((2, 3)))
        return out


def test_no_features_no_map() -> None:
    assert GradCam.needs == {"features", "gradients"}
