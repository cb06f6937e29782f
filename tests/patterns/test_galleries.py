"""Galleries: who is chosen, by hand; what is kept is what was chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whyray.errors import FingerprintError, WeightsError
from whyray.io.artefacts import NAME
from whyray.patterns.galleries import (
    Fired,
    Firing,
    Gallery,
    fired,
    galleries,
    joined,
    load_galleries,
    look_alikes,
    save_galleries,
    silent,
    spread,
    strongest,
)


class Doubled:
    """A stand-in for a bank: pattern 0 is the first number of a token, pattern 1 the second, negative ones silent."""

    def maps(self, tokens: np.ndarray) -> np.ndarray:
        return np.maximum(np.moveaxis(tokens[:, :, :2], 2, 1), 0)


def test_fired_finds_peaks_and_regions() -> None:
    tokens = np.zeros((2, 9, 3), np.float32)
    tokens[0, 4, 0], tokens[0, 5, 0], tokens[0, 8, 0] = 4, 2, 1.9
    tokens[:, :, 2] = 5
    made = fired(Doubled(), tokens)
    assert made.strengths.tolist() == [[4, 0], [0, 0]] and made.peaks[0, 0] == 4
    assert made.region(0, 0) == (4, 5), "cells at half the peak or more"
    assert made.region(0, 1) == () == made.region(1, 0), "what is silent has no region"
    assert made.embeddings[0] == pytest.approx(tokens[0].mean(axis=0))


def test_strongest_takes_one_image_a_patient_and_none_that_is_silent() -> None:
    assert strongest(np.array([1.0, 5, 0, 4, 3]), ["a", "b", "c", "b", "d"], 10) == [1, 4, 0]
    assert strongest(np.array([1.0, 5, 4]), ["a", "b", "c"], 2) == [1, 2]
    assert strongest(np.array([2.0, 2, 2]), ["a", "b", "c"], 2) == [0, 1], "ties in order"


def test_spread_takes_the_middles_of_equal_parts_of_the_ranks() -> None:
    strengths = np.arange(12, 0, -1).astype(float)
    patients = [str(i) for i in range(12)]
    assert spread(strengths, patients, 3, []) == [2, 6, 10]
    assert spread(strengths, patients, 3, [0, 1, 2]) == [4, 7, 10]
    assert spread(strengths, patients, 40, []) == list(range(12)), "fewer than asked for: all, once"
    assert spread(np.zeros(3), ["a", "b", "c"], 2, []) == []


def test_silence_is_measured_against_the_usual_top_strength() -> None:
    assert silent(np.array([10.0, 10, 0.5, 0.51, 0]), [0, 1]).tolist() == [False, False, True, False, True]
    assert silent(np.zeros(2), []).tolist() == [True, True]


def around() -> tuple[Fired, list[str]]:
    """Images 0-2 fire; 3 points the same way and is silent, 4 elsewhere; 5 is like 3 but of the patient of 0."""
    strengths = np.array([[3.0], [2], [1], [0], [0], [0]], np.float32)
    embeddings = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [0, 1], [1, 0.1]], np.float32)
    made = Fired(strengths, np.zeros((6, 1), np.int32), np.zeros((6, 1, 1), np.uint8), embeddings)
    return made, ["a", "b", "c", "d", "e", "a"]


def test_look_alikes_are_silent_and_of_other_patients() -> None:
    made, patients = around()
    assert look_alikes(made, [[0, 1]], patients, 2) == [[3, 4]]
    assert look_alikes(made, [[]], patients, 2) == [[]]


def test_the_search_for_look_alikes_widens_until_there_are_enough() -> None:
    n = 400
    strengths = np.ones((n, 1), np.float32)
    strengths[-2:] = 0  # the two least alike of all
    angle = np.linspace(0, 1.5, n)
    embeddings = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    made = Fired(strengths, np.zeros((n, 1), np.int32), np.zeros((n, 1, 1), np.uint8), embeddings)
    assert look_alikes(made, [[0, 1, 2]], [str(i) for i in range(n)], 2) == [[n - 2, n - 1]]


def test_a_gallery_names_images_and_what_is_kept_is_the_same(tmp_path: Path) -> None:
    made, patients = around()
    every = galleries(made, [("phantom#val", f"phantom-{i}") for i in range(6)], patients, (2, 1, 2))
    assert [f.case for f in every[0].top] == ["phantom-0", "phantom-1"]
    assert [f.case for f in every[0].quantiles] == ["phantom-2"]
    assert [f.case for f in every[0].near_misses] == ["phantom-3", "phantom-4"]
    every = [*every, Gallery(top=(Firing("folder:x", "7", 5, 0.25, (5, 8)),)), Gallery()]
    about = [{"origin": "statistics"}, {}, {}]
    save_galleries(tmp_path, every, "f" * 64, 9, about)
    assert load_galleries(tmp_path, "f" * 64) == (every, about)


def test_galleries_of_another_classifier_or_without_a_part_are_refused(tmp_path: Path) -> None:
    save_galleries(tmp_path, [Gallery(top=(Firing("p", "1", 0, 1.0),))], "f" * 64, cells=4)
    with pytest.raises(FingerprintError):
        load_galleries(tmp_path, "e" * 64)
    (tmp_path / NAME).write_text((tmp_path / NAME).read_text().replace('"patterns": 1', '"patterns": 0'))
    with pytest.raises(WeightsError, match="build them again"):
        load_galleries(tmp_path, "f" * 64)


def test_parts_are_joined_in_order() -> None:
    made, _ = around()
    twice = joined([made, made])
    assert twice.strengths[:, 0].tolist() == [3, 2, 1, 0, 0, 0] * 2 and twice.embeddings.shape == (12, 2)
