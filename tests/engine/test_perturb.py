"""Perturbed inputs against pictures masked by hand; what is paid for is paid for once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import whyray
from whyray.cards import Preparation
from whyray.contracts import Context
from whyray.engine import passes, perturb
from whyray.engine._fills import FILLS, blurred, filled, neighbour_means
from whyray.engine.backends import TorchRunner
from whyray.engine.perturb import Perturbed, painted
from whyray.engine.superpixels import Segments, grid
from whyray.errors import SettingError, Stopped, UnknownName, WhyrayError
from whyray.networks.densenet import DenseNet


@pytest.fixture(scope="module")
def model() -> whyray.Classifier:
    torch.manual_seed(0)
    module = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    with torch.no_grad():
        module.train()(torch.randn(8, 1, 64, 64))
    return whyray.wrap(module.eval(), findings=["mass", "edema", "hernia"], size=64, mean=0.5, std=0.25)


@pytest.fixture(scope="module")
def frame(model: whyray.Classifier) -> whyray.types.Frame:
    return model.prepare(whyray.testing.sample_radiographs(1)[0])


CELLS = grid((64, 64), (20, 16))
KEEP = np.random.default_rng(0).random((37, CELLS.count)) < 0.5


def by_hand(model: whyray.Classifier, pixels: np.ndarray, empty: np.ndarray, segments: Segments) -> np.ndarray:
    inputs = np.stack([np.where(row[segments.labels], pixels, empty) for row in KEEP]).astype(np.float32)
    return passes.logits(model, inputs)


@pytest.mark.parametrize("fill", [*FILLS, -1.5, 0])
def test_logits_are_those_of_pictures_masked_by_hand(
    model: whyray.Classifier, frame: whyray.types.Frame, fill: str | float
) -> None:
    engine = Perturbed(model, frame, CELLS, fill)
    wanted = by_hand(model, frame.pixels, filled(frame.pixels, fill, CELLS, model.card.preparation), CELLS)
    np.testing.assert_allclose(engine.logits(KEEP), wanted, atol=2e-6)
    np.testing.assert_allclose(engine.full, passes.logits(model, frame.pixels[None])[0], atol=2e-6)
    np.testing.assert_allclose(engine.baseline, passes.logits(model, engine.empty[None])[0], atol=2e-6)
    assert (engine.precision, engine.backend) == ("float32", "torch/float32/cpu")  # small: nothing to win


def test_three_channels() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    module(torch.zeros(1, 3, 32, 32))
    wrapped = whyray.wrap(module.eval(), findings=["mass", "edema"], size=32, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    frame, segments = wrapped.prepare(whyray.testing.sample_radiographs(1)[0]), grid((32, 32), 8)
    keep = np.random.default_rng(0).random((5, 16)) < 0.5
    engine = Perturbed(wrapped, frame, segments, "black")
    assert engine.empty[:, 3, 3] == pytest.approx([-0.1 / 0.2, -0.5 / 0.3, -0.9 / 0.4])
    inputs = np.stack([np.where(row[segments.labels], frame.pixels, engine.empty) for row in keep])
    np.testing.assert_allclose(engine.logits(keep), passes.logits(wrapped, inputs), atol=1e-5)


def test_a_coalition_is_paid_for_once(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    context = Context(batch=8)
    first = Perturbed(model, frame, CELLS, "blur", context)
    doubled = np.concatenate([KEEP, KEEP[::-1]])
    assert first.estimate(doubled) == len(KEEP) and first.estimate(74) == 74
    found = first.logits(doubled)
    assert first.passes == len(KEEP) and np.array_equal(found[: len(KEEP)], found[: len(KEEP) - 1 : -1])
    again = Perturbed(model, frame, CELLS, "blur", context)
    assert again.estimate(KEEP) == 0
    assert np.array_equal(again.logits(KEEP), found[: len(KEEP)]) and again.passes == 0
    same_cut = Perturbed(model, frame, Segments.of(CELLS.labels, "other words"), "blur", context)
    assert same_cut.estimate(KEEP) == 0
    assert all(row.base is None and row.shape == (3,) for row in context.paid.values())  # no row holds its batch


def test_whole_and_empty_are_paid_once_whatever_the_cut(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    context = Context()
    ends = np.array([[True] * CELLS.count, [False] * CELLS.count])
    engine = Perturbed(model, frame, CELLS, "black", context)
    rows = engine.logits(ends)
    assert np.array_equal(rows, np.stack([engine.full, engine.baseline])) and engine.passes == 2
    other = Perturbed(model, frame, grid((64, 64), 8), "black", context, precision="bfloat16")
    assert np.array_equal(other.full, engine.full) and np.array_equal(other.baseline, engine.baseline)
    assert other.passes == 0


@pytest.mark.parametrize("change", ["fill", "segments", "frame", "model", "precision"])
def test_another_question_is_not_answered_from_the_store(
    model: whyray.Classifier, frame: whyray.types.Frame, change: str
) -> None:
    context = Context()
    Perturbed(model, frame, CELLS, "blur", context).logits(KEEP)
    other = whyray.wrap(DenseNet(3, growth=4, blocks=(2, 2), stem=8).eval(), findings=list(model.findings), size=64)
    moved = Segments.of(np.roll(CELLS.labels, 3, 1), "")
    flipped = whyray.types.Frame(frame.pixels[:, ::-1].copy(), frame.to_source, frame.source_shape)
    engine = Perturbed(
        other if change == "model" else model,
        flipped if change == "frame" else frame,
        moved if change == "segments" else CELLS,
        "mean" if change == "fill" else "blur",
        context,
        precision="bfloat16" if change == "precision" else "auto",
    )
    assert engine.estimate(KEEP) == len(KEEP)


def test_weights_that_change_in_place_are_paid_again(frame: whyray.types.Frame) -> None:
    module, context = DenseNet(3, growth=4, blocks=(2, 2), stem=8).eval(), Context()
    own = whyray.wrap(module, findings=["mass", "edema", "hernia"], size=64)
    before = Perturbed(own, frame, CELLS, "blur", context).logits(KEEP)
    with torch.no_grad():
        module.classifier.bias.add_(1)
    np.testing.assert_allclose(Perturbed(own, frame, CELLS, "blur", context).logits(KEEP), before + 1, atol=1e-5)


@dataclass(frozen=True)
class Noise:
    """A fill that depends on the coalition, with words of its own."""

    seed: int = 0

    def __call__(self, keep: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        noise = np.random.default_rng(self.seed).normal(size=pixels.shape)
        return np.stack([np.where(k, pixels, k.mean() * noise) for k in keep])


def test_a_fill_may_depend_on_the_coalition(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    context = Context(batch=5)
    engine = Perturbed(model, frame, CELLS, Noise(1), context)
    wanted = passes.logits(model, Noise(1)(KEEP[:, CELLS.labels], frame.pixels).astype(np.float32))
    np.testing.assert_allclose(engine.logits(KEEP), wanted, atol=2e-6)
    assert Perturbed(model, frame, CELLS, Noise(1), context).estimate(KEEP) == 0
    assert Perturbed(model, frame, CELLS, Noise(2), context).estimate(KEEP) == len(KEEP)

    def nameless(keep: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        return Noise(1)(keep, pixels)

    mine = Perturbed(model, frame, CELLS, nameless, context)
    assert mine.estimate(KEEP) == len(KEEP)
    mine.logits(KEEP)
    assert mine.estimate(KEEP) == 0
    assert Perturbed(model, frame, CELLS, nameless, context).estimate(KEEP) == len(KEEP)
    with pytest.raises(SettingError, match=r"\(5, 1, 64, 64\) was wanted"):
        Perturbed(model, frame, CELLS, lambda k, p: np.zeros((len(k), 1, 3, 3)), context).logits(KEEP)


def test_a_nameless_fill_is_never_taken_for_one_that_is_gone(
    model: whyray.Classifier, frame: whyray.types.Frame
) -> None:
    def logits(value: float) -> np.ndarray:
        def fill(keep: np.ndarray, pixels: np.ndarray) -> np.ndarray:
            return np.where(keep[:, None], pixels, np.float32(value))

        return Perturbed(model, frame, CELLS, fill, context).logits(KEEP)

    context = Context()
    for value in (0.0, 1.0, 0.5):  # each at the address of the one before
        wanted = by_hand(model, frame.pixels, np.full_like(frame.pixels, value), CELLS)
        np.testing.assert_allclose(logits(value), wanted, atol=2e-6)


@dataclass(frozen=True)
class Drawn(Noise):
    """A fill whose words leave out what decides: a hidden field, the middle of a long array."""

    hidden: float = field(default=0.0, repr=False)
    many: np.ndarray = field(default_factory=lambda: np.zeros(5000))

    def __call__(self, keep: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        value = np.float32(self.hidden + self.many.sum())
        return np.stack([np.where(k, pixels, value) for k in keep])


def test_a_fill_is_known_by_every_field(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    context = Context()
    middle = np.zeros(5000)
    middle[2500] = 1
    fills = [Drawn(), Drawn(hidden=1.0), Drawn(many=middle)]
    assert repr(fills[0]) == repr(fills[1]) == repr(fills[2])
    for fill in fills:
        assert Perturbed(model, frame, CELLS, fill, context).estimate(KEEP) == len(KEEP)
        Perturbed(model, frame, CELLS, fill, context).logits(KEEP)
    assert Perturbed(model, frame, CELLS, Drawn(many=middle.copy()), context).estimate(KEEP) == 0


def test_half_precision_is_near_and_its_ends_are_exact(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    context = Context()
    exact = Perturbed(model, frame, CELLS, "blur", context, precision="float32")
    half = Perturbed(model, frame, CELLS, "blur", context, precision="bfloat16")
    assert half.precision == "bfloat16" and half.backend == "torch/bfloat16/cpu"
    difference = np.abs(half.logits(KEEP) - exact.logits(KEEP)).max()
    assert 0 < difference < 0.05
    assert np.array_equal(half.full, exact.full) and np.array_equal(half.baseline, exact.baseline)


def test_a_batch_that_does_not_fit_is_halved(
    model: whyray.Classifier, frame: whyray.types.Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = TorchRunner.__call__

    def tight(self: TorchRunner, x: torch.Tensor) -> np.ndarray:
        seen.append(len(x))
        if len(x) > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes")
        return whole(self, x)

    wanted = Perturbed(model, frame, CELLS, "mean").logits(KEEP)
    monkeypatch.setattr(TorchRunner, "__call__", tight)
    found = Perturbed(model, frame, CELLS, "mean", Context(batch=16)).logits(KEEP)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert seen[:3] == [16, 8, 4] and max(seen[2:]) == 4


def test_progress_and_cancel_keep_what_was_paid(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    shares: list[float] = []
    context = Context(batch=10, progress=shares.append, cancelled=lambda: len(shares) == 2)
    with pytest.raises(Stopped):
        Perturbed(model, frame, CELLS, "blur", context).logits(KEEP, span=(0.5, 1.0))
    assert shares == pytest.approx([0.5 + 0.5 * 10 / 37, 0.5 + 0.5 * 20 / 37])
    assert Perturbed(model, frame, CELLS, "blur", Context(paid=context.paid)).estimate(KEEP) == 37 - 30


def test_the_store_is_bounded(
    model: whyray.Classifier, frame: whyray.types.Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturb, "MOST_PAID", 10)
    context = Context()
    assert Perturbed(model, frame, CELLS, "blur", context).logits(KEEP).shape == (37, 3)
    assert len(context.paid) == 10


def test_the_callers_autocast_does_not_reach_float32(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    wanted = Perturbed(model, frame, CELLS, "blur").logits(KEEP)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_allclose(Perturbed(model, frame, CELLS, "blur").logits(KEEP), wanted, atol=1e-6)


@pytest.mark.parametrize("keep", [KEEP[:, 1:], KEEP[0], KEEP.astype(int)])
def test_wrong_coalitions_are_refused(model: whyray.Classifier, frame: whyray.types.Frame, keep: np.ndarray) -> None:
    with pytest.raises(SettingError, match="bool \\[n, 16\\]"):
        Perturbed(model, frame, CELLS, "blur").logits(keep)


def test_wrong_settings_are_refused(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    with pytest.raises(SettingError, match="cut view"):
        Perturbed(model, frame, grid((32, 64), 8))
    with pytest.raises(UnknownName, match="blur"):
        Perturbed(model, frame, CELLS, "blurry").logits(KEEP)
    with pytest.raises(SettingError, match="float32"):
        Perturbed(model, frame, CELLS, precision="half").logits(KEEP)  # type: ignore[arg-type]
    with pytest.raises(WhyrayError, match="not finite"):
        Perturbed(model, frame, CELLS, float("nan")).logits(KEEP)


def test_no_coalitions(model: whyray.Classifier, frame: whyray.types.Frame) -> None:
    assert Perturbed(model, frame, CELLS).logits(KEEP[:0]).shape == (0, 3)


@pytest.mark.parametrize("fill", ["nan", "inf", "-infinity", "1e999", math.nan, math.inf, "0x1"])
def test_a_fill_is_a_finite_value(model: whyray.Classifier, frame: whyray.types.Frame, fill: str | float) -> None:
    with pytest.raises((SettingError, UnknownName), match="fill"):
        filled(frame.pixels, fill, CELLS, model.card.preparation)


@pytest.mark.parametrize("name", ["lime", "shap", "occlusion"])
def test_explainers_read_fills_alike(model: whyray.Classifier, name: str) -> None:
    with pytest.raises(SettingError, match="not finite"):
        whyray.explain(model, whyray.testing.sample_radiographs(1)[0], explainers=[f"{name}:fill=inf"])


def test_fills_by_hand() -> None:
    pixels = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    segments = grid((4, 6), 2)  # 0 1 2 / 3 4 5
    preparation = Preparation(size=(4, 6), low=-1024, high=1024, mean=(10.0,), std=(2.0,))
    assert filled(pixels, "black", segments, preparation)[0, 0, 0] == (-1024 - 10) / 2
    assert filled(pixels, "white", segments, preparation)[0, 0, 0] == (1024 - 10) / 2
    assert (filled(pixels, 7, segments, preparation) == 7).all()
    assert (filled(pixels, "mean", segments, preparation) == 11.5).all()
    own = filled(pixels, "segment", segments, preparation)[0]
    assert own[0, 0] == own[1, 1] == np.mean([0, 1, 6, 7]) and own[3, 5] == np.mean([16, 17, 22, 23])
    around = filled(pixels, "neighbours", segments, preparation)[0]
    means = pixels[0].reshape(2, 2, 3, 2).mean((1, 3)).ravel()
    assert around[0, 0] == pytest.approx((means[1] + means[3]) / 2)
    assert around[0, 2] == pytest.approx((means[0] + means[2] + means[4]) / 3)
    assert not filled(pixels, "blur", segments, preparation).std() > pixels.std()


def test_neighbours_count_by_their_border_and_one_alone_keeps_its_mean() -> None:
    labels = np.array([[0, 0, 1], [0, 0, 2], [3, 3, 3]], np.int32)
    found = neighbour_means(np.array([[10.0, 20.0, 40.0, 80.0]]), labels)
    assert found[0, 0] == pytest.approx((20 + 40 + 2 * 80) / 4)
    assert found[0, 1] == pytest.approx((10 + 40) / 2)
    assert neighbour_means(np.array([[5.0]]), np.zeros((3, 3), np.int32)) == 5.0


def test_a_blurred_constant_stays_and_a_dot_spreads_by_sigma() -> None:
    assert np.allclose(blurred(np.full((1, 40, 40), 3.0, np.float32), 5), 3)
    dot = np.zeros((1, 81, 81), np.float32)
    dot[0, 40, 40] = 1
    spread = blurred(dot, 6)[0].astype(np.float64)
    offsets = np.arange(81) - 40
    assert np.sqrt((spread.sum(0) * offsets**2).sum() / spread.sum()) == pytest.approx(6, rel=0.05)


def test_painting() -> None:
    segments = grid((4, 4), 2)
    shown = painted(np.array([[1.0, 2.0, 3.0, 4.0]]), segments)
    assert shown.shape == (1, 4, 4) and shown[0].tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
