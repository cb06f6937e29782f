"""The numbers of one hand-made path, against what they must be; paths as cells; pictures under noise and blur."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray.contracts import Classifier, cells_to_pixels
from whyray.errors import SettingError
from whyray.explainers.edges import Edges
from whyray.explanations import Counterfactual
from whyray.jobs._changes import MEASURES, Scene, measured
from whyray.jobs._disturbed import Level, levels
from whyray.jobs._paths import path_arrays, paths
from whyray.jobs.store import Result
from whyray.types import Provenance, Radiograph

SIDE = 64
TRUTH = np.zeros((SIDE, SIDE), bool)
TRUTH[:32, :32] = True
MADE = Provenance("latent_shift", 1, {"removal": 0.5, "exaggeration": 2.0}, 0, "f", "i", "x", "torch", 1.0, "")


class Corner(nn.Module):
    """Logits 4 x mean grey of the upper left corner, and of the lower right one."""

    def forward(self, x: Tensor) -> Tensor:
        return 4 * torch.stack([x[:, 0, :32, :32].mean((1, 2)), x[:, 0, 32:, 32:].mean((1, 2))], 1)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return whyray.wrap(Corner().eval(), findings=["edema", "nodule"], size=SIDE, name="corner")


def path(low: float = 0.1, high: float = 0.9, aside: float = 0.0) -> Counterfactual:
    """The corner goes from ``low`` over 0.5 to ``high``, one pixel elsewhere by ``aside``; p = grey of the corner."""
    frames = np.full((3, SIDE, SIDE), 0.5, np.float32)
    for frame, grey in zip(frames, (low, 0.5, high), strict=True):
        frame[TRUTH] = grey
    frames[0, 40, 5] -= aside
    corner, other = frames[:, :32, :32].mean((1, 2)), frames[:, 32:, 32:].mean((1, 2))
    return Counterfactual(
        finding="edema",
        provenance=MADE,
        checks={"kept": 0.9, "trimmed": 0.0},
        frames=frames,
        lambdas=np.array([-1.0, 0.0, 1.0]),
        logits=4.0 * np.stack([corner, other], 1),
        probabilities=np.array([low, 0.5, high]),
        findings=("edema", "nodule"),
        base=np.full((SIDE, SIDE), 0.5, np.float32),
        to_source=np.eye(3),
        source_shape=(SIDE, SIDE),
    )


def test_each_measure_of_a_path_by_hand(classifier: Classifier) -> None:
    twin = np.full((SIDE, SIDE), 0.5, np.float32)
    twin[TRUTH] = 0.3
    scene = Scene(classifier, None, {"edema": TRUTH}, {"edema": Radiograph(twin, name="twin")})
    found = {name: values[0] for name, values in measured({"edema": path(aside=0.1)}, scene).items()}
    assert found["removed"] == found["exaggerated"] == found["trusted"] == found["monotonicity"] == 1
    assert found["removal_reached"] == pytest.approx(np.log(9) / np.log(3)), "odds 1 to 1/9, where 1/3 was asked for"
    assert found["proximity"] == pytest.approx((0.4 * 1024 + 0.1) / SIDE**2) and found["sparsity"] == 1 - 1025 / SIDE**2
    assert found["elsewhere"] == pytest.approx(0.1 / (0.4 * 1024 + 0.1), rel=1e-3)
    assert found["carried"] == pytest.approx(1, abs=1e-4) and found["reconstruction_error"] == 0
    assert found["twin_radiograph"] == pytest.approx(1, abs=1e-3), "from 0.2 above the twin to 0.2 below it"
    assert found["alignment"].tolist() == pytest.approx([1, 0], abs=1e-3)
    assert np.isnan(found["realism"]) and np.isnan(found["cycle"]) and np.isnan(found["perceptual_distance"])


def test_targets_are_judged_from_the_probabilities(classifier: Classifier) -> None:
    scene = Scene(classifier, None)
    short = {n: v[0] for n, v in measured({"edema": path(low=0.3, high=0.6)}, scene).items()}
    assert short["removed"] == 0 and short["exaggerated"] == 0 and 0 < short["removal_reached"] < 1
    only = replace(path(), provenance=replace(MADE, settings={"removal": 1.0, "exaggeration": 2.0}))
    assert np.isnan(measured({"edema": only}, scene)["removed"][0])
    published = replace(path(low=0.3), provenance=replace(MADE, settings={"removal": 0.1, "rules": "gif"}))
    told = measured({"edema": published}, scene)
    assert told["removed"][0] == 1 and np.isnan(told["exaggerated"][0]), "its own target, drop .15"


def test_a_path_without_a_removal_has_no_changed_picture_to_measure(classifier: Classifier) -> None:
    whole = path()
    half = replace(whole, frames=whole.frames[1:], lambdas=whole.lambdas[1:], logits=whole.logits[1:],
                   probabilities=whole.probabilities[1:], stop=("flat", "target"))  # fmt: skip
    found = measured({"edema": half}, Scene(classifier, None, {"edema": TRUTH}))
    assert found["removed"][0] == 0 and found["stopped_flat"][0] == 1
    assert all(np.isnan(found[name][0]) for name in ("proximity", "sparsity", "elsewhere", "carried"))
    assert set(found) == {*MEASURES, "alignment"}


def test_a_region_is_brought_to_the_grid_of_the_frames(classifier: Classifier) -> None:
    """A radiograph of twice the size: the same share of the change lies elsewhere."""
    large = replace(path(aside=0.1), to_source=cells_to_pixels((SIDE, SIDE), (128, 128)), source_shape=(128, 128))
    scene = Scene(classifier, None, {"edema": TRUTH.repeat(2, 0).repeat(2, 1)})
    small = Scene(classifier, None, {"edema": TRUTH})
    assert measured({"edema": large}, scene)["elsewhere"] == measured({"edema": path(aside=0.1)}, small)["elsewhere"]


def test_a_path_is_read_back_as_it_was() -> None:
    first, second = path(0.123), replace(path(0.3), finding="nodule", stop=("range", "monotone"))
    arrays = path_arrays({"edema": first, "nodule": second})
    facts = {"explainer": "latent_shift", "version": 1, "settings": {}, "seed": 0, "classifier": "f", "image": "i",
             "frame": "x", "backend": "torch", "findings": ["edema", "nodule"]}  # fmt: skip
    again = paths(facts, Result(arrays, facts), ("edema", "nodule"))
    for old, new in zip((first, second), again.values(), strict=True):
        assert np.abs(old.frames - new.frames).max() < 3e-4 and np.array_equal(old.logits, new.logits)
        assert (old.stop, old.checks, old.source_shape) == (new.stop, new.checks, new.source_shape)


def test_a_map_is_no_path(classifier: Classifier) -> None:
    from whyray.contracts import Context

    (made,) = Edges().explain(classifier, [Radiograph(np.zeros((SIDE, SIDE), np.float32))], ["edema"], Context())
    with pytest.raises(SettingError, match="no counterfactual"):
        path_arrays(made)


def test_noise_and_blur_have_their_stated_strength(classifier: Classifier) -> None:
    large = Radiograph(np.full((256, 256), 0.5, np.float32))
    frame = classifier.prepare(large)
    assert [v.name for v in levels((0.05,), (2,))] == ["none", "noise 0.05", "blur 2"]
    assert Level("none").of(large, frame, 0) is large
    noisy = Level("noise", 0.05).of(large, frame, 0)
    reached = classifier.prepare(noisy).pixels - frame.pixels
    assert 0.02 < reached.std() < 0.06 and noisy.sha256 != large.sha256
    assert (
        noisy.sha256
        == Level("noise", 0.05).of(large, frame, 0).sha256
        != Level("noise", 0.05).of(large, frame, 1).sha256
    )
    step = Radiograph((np.arange(256) >= 128).astype(np.float32)[None].repeat(256, 0))
    blurred = Level("blur", 2.0).of(step, classifier.prepare(step), 0).pixels[128]
    crossing = np.flatnonzero((blurred > 0.16) & (blurred < 0.84))
    assert 14 <= len(crossing) <= 18, "two sigma of 2 input pixels of 4 source pixels each"
