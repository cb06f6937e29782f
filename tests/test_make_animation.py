"""The README's animation: phantom, film and truth side by side, from any autoencoder; the committed picture is one."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import whyray
from whyray.cards import Preparation
from whyray.io.artefacts import Artefact, save_artefact
from whyray.models._autoencoders import KIND, build
from whyray.report.animation import HOLD, MILLISECONDS

ROOT = Path(__file__).parents[1]
TINY = {"network": "small", "widths": [4, 8, 8], "latent": 4}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "docs"))
    import make_animation

    yield make_animation
    sys.path.remove(str(ROOT / "docs"))


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Latent Shift through an untrained autoencoder of mini."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(TINY)
    facts = {"architecture": TINY, "preparation": asdict(Preparation(size=(224, 224), mean=(0.5,), std=(0.25,)))}
    made = Artefact(KIND, whyray.load_model("mini").fingerprint, module.state_dict(), facts)
    return f"latent_shift:frames=5,autoencoder={save_artefact(tmp_path_factory.mktemp('made') / 'ae', made)}"


def test_the_film_stands_between_phantom_and_truth(script: ModuleType, explainer: str) -> None:
    found = script.drawn(0, explainer)
    assert found.before > 0.9 > 0.2 > found.without, "the classifier sees the planted heart, and that it is gone"
    film = Image.open(io.BytesIO(script.animation(found)))
    side, frames, milliseconds = script.SIDE, [], 0
    for i in range(film.n_frames):
        film.seek(i)
        frames.append(np.asarray(film.convert("L"), int))
        milliseconds += film.info["duration"]
    count = len(found.path.frames)
    assert film.size[0] == 3 * side + 2 * script.GAP and count > 2
    assert milliseconds == MILLISECONDS * (2 * count - 4 + 2 * HOLD), "equal frames become one that stays longer"
    for picture, x in ((found.phantom, 0), (found.twin, 2 * (side + script.GAP))):
        wanted = np.asarray(script.grey(picture).resize((side, side), Image.Resampling.BICUBIC), int)
        assert all(np.abs(f[:side, x : x + side] - wanted).mean() < 4 for f in frames)


def test_the_same_weights_give_the_same_picture(script: ModuleType, explainer: str) -> None:
    first, again = (script.drawn(1, explainer) for _ in range(2))
    assert script.animation(first) == script.animation(again) and script.told(first) == script.told(again)


def test_nearer_is_the_way_to_the_twin(script: ModuleType, explainer: str) -> None:
    found = script.drawn(2, explainer)
    mask = found.phantom.pixels != found.twin.pixels
    reconstruction, removed = found.path.frames[found.path.zero], found.path.frames[0]
    start, end = (np.abs(f - found.twin.pixels)[mask].mean() for f in (reconstruction, removed))
    assert found.nearer == pytest.approx(1 - end / start, abs=1e-6)
    there = replace(found.path, frames=np.stack([found.twin.pixels, *found.path.frames[1:]]))
    assert found.path.zero > 0 and replace(found, path=there).nearer == pytest.approx(1)


def test_the_best_keeps_its_prediction_arrives_and_comes_nearest(script: ModuleType) -> None:
    def case(kept: float, nearer: float, stop: str = "target") -> SimpleNamespace:
        return SimpleNamespace(path=SimpleNamespace(checks={"kept": kept}, stop=("target", stop)), nearer=nearer)

    lost, short, far, near = case(0.7, 0.9), case(1.0, 0.8, "monotone"), case(1.05, 0.1), case(0.95, 0.2)
    assert script.best([lost, short, far, near]) is near
    assert script.best([short, lost]) is lost, "none keeps and arrives"


def test_the_committed_picture_is_small_and_loops(script: ModuleType) -> None:
    if not script.TARGET.exists():
        pytest.skip("docs/images/counterfactual.webp is not drawn yet: python docs/make_animation.py")
    assert script.TARGET.stat().st_size < 400_000
    with Image.open(script.TARGET) as film:
        assert film.info["loop"] == 0 and film.n_frames > 4  # type: ignore[attr-defined]
        assert film.size[0] == 3 * script.SIDE + 2 * script.GAP
