"""The published search, found in a few looks, ends where the published walk ends."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray.cards import Preparation
from whyray.contracts import Context
from whyray.datasets.phantom import phantom
from whyray.errors import SettingError
from whyray.explainers._latent import Shift
from whyray.explainers._latent_published import Published, grid_of, rules_of, walked, wanted, wanted_logits
from whyray.explainers._latent_sweep import doubtful
from whyray.explainers.latent_shift import LatentShift
from whyray.explanations import Counterfactual
from whyray.models._autoencoders import Autoencoder
from whyray.registry import explainer
from whyray.types import Radiograph

Curve = Callable[[Tensor], Tensor]
NAMES: tuple[Published, ...] = ("gif", "later")


def reference() -> ModuleType:
    """The walk as it is published, which the benchmark times."""
    path = Path(__file__).parents[2] / "benchmarks" / "_published_walk.py"
    spec = importlib.util.spec_from_file_location("_published_walk", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


WALK = reference()


def along(curve: Curve, slope: float, change: float = 0.0) -> Shift:
    """One finding whose probability is ``curve(lambda)``, falling by ``slope`` at first; grey changes with lambda."""
    z, direction = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.full((1, 1, 1, 1), slope**0.5).double()
    base = torch.full((1, 1, 4, 4), 1.0, dtype=torch.float64)

    def decode(latent: Tensor) -> Tensor:
        lam = latent / slope**0.5
        return torch.cat([base - lam.abs() * change / 2, lam.expand(-1, 1, 4, 4)], dim=1)

    def predict(pictures: Tensor) -> Tensor:
        return torch.logit(curve(pictures[:, 1, 0, 0]))[:, None]

    return Shift(z, direction, base, predict(decode(z))[0].numpy(), decode, predict)


def both(curve: Curve, name: Published, slope: float = 1e-3, change: float = 0.0) -> tuple[float, float, int, int]:
    """(the walk's end, ours, steps walked, places looked at)."""
    shift = along(curve, slope, change)

    def at(lam: float) -> tuple[float, Tensor]:
        return float(curve(torch.tensor(lam, dtype=torch.float64))), torch.full((4,), 1 - abs(lam) * change)

    expected, steps = WALK.walk(at, name)
    (bound,), _ = walked(shift, [0], name, LatentShift(rules=name).lambdas)
    return expected, bound.lam, steps, len(bound.seen)


def test_the_grids_are_the_published_ones() -> None:
    gif, later = grid_of("gif"), grid_of("later")
    assert gif[:3] == (1, 2, 3) and gif[9:12] == (10, 20, 30) and gif[-1] == 1000 and len(gif) == 109
    assert later[:4] == (10, 21, 34, 48) and later[-1] >= 3000


def test_the_walk_ends_at_the_first_step_that_breaks_a_rule() -> None:
    assert both(lambda lam: 0.7 + lam * 0.01, "gif")[0] == -20  # .7 - .15 > p first at -20
    assert both(lambda lam: 0.7 + 0 * lam, "gif")[0] == -1000
    assert both(lambda lam: 0.7 + torch.where(lam < -4, 0.1, lam * 0.001), "gif")[0] == -5  # turned back
    assert both(lambda lam: 0.7 + lam * 1e-5, "later", change=0.001)[0] == -63  # 5 % changed; -48 - 10 + (-48 // 10)
    assert both(lambda lam: 0.04 + lam * 1e-6, "later")[0] == -10  # below the floor from the start


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(12))
def test_where_the_prediction_falls_both_end_at_the_same_step(name: Published, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, start, power = 10 ** rng.uniform(0, 3.5), rng.uniform(0.2, 0.95), rng.uniform(0.8, 2)
    change = 10 ** rng.uniform(-6, -2)
    expected, found, steps, looked = both(
        lambda lam: start / (1 + (-lam / scale) ** power), name, start / scale, change if name == "later" else 0.0
    )
    assert found == expected
    assert looked <= 16 and (steps < 25 or looked < steps / 2)


@pytest.mark.parametrize("period", [20.0, 40.0, 90.0, 170.0])
def test_where_it_turns_back_both_end_within_a_step(period: float) -> None:
    expected, found, _, _ = both(lambda lam: 0.5 - 0.1 * torch.sin(-lam / period), "gif", 0.1 / period)
    at = [grid_of("gif").index(-lam) for lam in (expected, found)]
    assert abs(at[0] - at[1]) <= 1 and 0 <= -period * np.pi / 2 - expected <= 20


def test_a_turn_that_only_the_frames_see_revises_the_end() -> None:
    def curve(lam: Tensor) -> Tensor:
        return 0.6 + lam * 2e-4 + 0.06 * torch.exp(-(((lam + 330) / 30) ** 2))  # a hump on the way to -750

    shift = along(curve, 2e-4)
    (bound,), (revised,) = walked(shift, [0], "gif", LatentShift(rules="gif").lambdas)
    assert bound.stop == "monotone" and -330 < bound.lam < -260 and revised == 1


def test_what_hardly_falls_is_looked_at_between_the_frames() -> None:
    rules, far = rules_of("gif"), np.linspace(0, 1000, 11)
    moved = np.cumsum([0, 2, 2, 2, 2, 2, 2, 2, 2, 0.1, 2])
    assert {800 < place < 900 for place in doubtful(far, moved, rules)} == {True}
    assert doubtful(far, np.linspace(0, 0.1, 11), rules) == []


def test_wanted_is_the_drop_or_the_floor() -> None:
    assert wanted("gif", np.array([0.9, 0.1])).tolist() == [0.15, 0.15]
    assert np.allclose(wanted("later", np.array([0.9, 0.5])), [0.8, 0.45])
    logit = np.log(0.9 / 0.1)
    assert wanted_logits("gif", np.array([logit]))[0] == pytest.approx(logit - np.log(0.75 / 0.25))


UNIT = 0.008


class Mirror(nn.Module):
    """The picture, averaged in squares, is its own latent, in the given unit."""

    def encode(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 8) / UNIT

    def decode(self, z: Tensor) -> Tensor:
        return nn.functional.interpolate(UNIT * z, scale_factor=8)


@pytest.mark.parametrize("name", NAMES)
def test_on_a_classifier_it_is_the_published_procedure(name: Published) -> None:
    mini, picture = whyray.load_model("mini"), Radiograph(phantom(2000044, size=224).pixels)
    mirror = Autoencoder("mirror", Mirror(), Preparation(size=(224, 224)))
    context = Context(artefact=lambda _kind, _fingerprint: mirror)
    (made,) = LatentShift(rules=name).explain(mini, [picture], ["pleural_effusion"], context)
    path, column = made["pleural_effusion"], mini.findings.index("pleural_effusion")
    assert isinstance(path, Counterfactual)
    x = torch.from_numpy(mini.prepare(picture).pixels)[None]
    found = WALK.shifted(
        lambda x: mirror.module.encode(x * 0.25 + 0.5),  # type: ignore[operator]
        lambda z: 2 * mirror.module.decode(z) - 1,  # type: ignore[operator]
        lambda made: mini.logits(((made + 1) / 2 - 0.5) / 0.25),
        x,
        column,
        name,
    )
    assert (
        path.lambdas[0] == found.lam and path.lambdas[-1] == 0 and len(path.lambdas) == {"gif": 11, "later": 10}[name]
    )
    ten = path.frames[:10]
    assert np.allclose(ten, (found.pictures + 1).clip(0, 2) / 2, atol=1e-4)
    assert np.allclose(1 / (1 + np.exp(-path.logits[:10, column])), found.probabilities, atol=1e-4)
    published = np.abs(ten[0] - path.frames[-1])
    assert np.allclose(path.attribution("max_frame0").values, published, atol=1e-6)
    assert path.checks["trimmed"] == 0 and 0 < path.checks["looked"] < 40


def test_the_published_rules_bring_their_own_search() -> None:
    assert explainer("latent_shift:rules=later").shown == 10  # type: ignore[attr-defined]
    with pytest.raises(SettingError, match="leave out removal"):
        LatentShift(rules="gif", removal=0.5)
    with pytest.raises(SettingError, match="own, gif or later"):
        LatentShift(rules="walk")  # type: ignore[arg-type]
