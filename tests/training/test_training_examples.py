"""What is kept of training pictures is of these pictures, whatever their names are."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from whyray.cards import Preparation
from whyray.datasets.phantom import Shortcut, phantom_case
from whyray.models.biomedclip import ImageTower
from whyray.training import _nle_pairs, examples
from whyray.training.embeddings import embeddings
from whyray.training.examples import cached_pictures
from whyray.types import Case, Radiograph


def named_alike(seed: int) -> list[Case]:
    def read(i: int) -> Radiograph:
        return Radiograph(np.random.default_rng([seed, i]).random((32, 32)).astype(np.float32))

    return [Case(str(i), partial(read, i)) for i in range(3)]


def test_pictures_of_another_data_set_with_the_same_names_are_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [np.array(cached_pictures(named_alike(seed), tmp_path / "nih-train", 32)) for seed in (1, 2)]
    alone = cached_pictures(named_alike(2), tmp_path / "alone", 32)
    np.testing.assert_array_equal(made[1], alone)
    assert not np.array_equal(made[0], made[1])
    monkeypatch.setattr(examples, "stored_picture", lambda *_: pytest.fail("made twice"))
    np.testing.assert_array_equal(cached_pictures(named_alike(1), tmp_path / "nih-train", 32), made[0])


def test_two_runs_may_keep_the_same_pictures_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, other = np.save, []

    def slow(*args: object, **settings: object) -> None:
        if not other:
            other.append("begun")
            other.append(cached_pictures(named_alike(1), tmp_path / "nih-train", 32))
        save(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "save", slow)
    made = cached_pictures(named_alike(1), tmp_path / "nih-train", 32)
    np.testing.assert_array_equal(made, other[1])
    assert [p.suffix for p in tmp_path.iterdir()] == [".npy"]


def test_embeddings_of_another_data_set_with_the_same_names_are_made_anew(tmp_path: Path) -> None:
    tower = ImageTower("small", {"projection": 4}, Preparation(size=(32, 32)), {})

    def embed(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4]

    def made(seed: int, folder: str) -> NDArray[np.float32]:
        return embeddings(named_alike(seed), tower, embed, tmp_path / folder)

    first, second = made(1, "nih-train"), made(2, "nih-train")
    np.testing.assert_array_equal(second, made(2, "alone"))
    assert not np.array_equal(first, second)


def test_what_was_planted_is_that_of_the_phantoms_asked_for(tmp_path: Path) -> None:
    plain, marked = ([phantom_case(4, size=64, shortcut=s)] for s in (None, Shortcut("mass", "tube", 0.0)))
    for cases in (plain, marked):
        told = _nle_pairs._told(cases, tmp_path, None)["phantom-4"]
        assert told["devices"] == list(cases[0].facts["devices"])  # type: ignore[call-overload]
    assert plain[0].facts["devices"] != marked[0].facts["devices"]
