"""recipes/compare_published.py: a planted difference is found, and no difference is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from whyray.types import Case

RECIPE = Path(__file__).resolve().parents[2] / "recipes/compare_published.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_published", RECIPE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(line: str) -> tuple[float, float, float]:
    value, low, high = line.split("  n =")[0].replace("[", "").replace("]", "").replace(",", "").split()[-3:]
    return float(value), float(low), float(high)


def test_a_planted_difference_is_found_and_none_where_there_is_none(recipe: ModuleType) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200).astype(float)
    cases = [Case(f"c{i}", open=lambda: None, labels={"edema": y}, patient=f"p{i // 2}") for i, y in enumerate(labels)]  # type: ignore[arg-type,return-value]
    good = {c.id: {"edema": y + rng.normal(0, 0.5)} for c, y in zip(cases, labels, strict=True)}
    chance = {c.id: {"edema": rng.normal()} for c in cases}
    first, second, difference = map(numbers, recipe.compare(chance, good, cases, ["edema"]))
    assert abs(first[0] - 0.5) < 0.1 and second[0] > 0.85
    assert difference[0] == pytest.approx(second[0] - first[0], abs=2e-3) and difference[1] > 0.2
    assert numbers(recipe.compare(good, good, cases, ["edema"])[2]) == (0.0, 0.0, 0.0)


def test_a_finding_without_positives_is_left_out_of_the_mean(recipe: ModuleType) -> None:
    cases = [Case(str(i), open=lambda: None, labels={"edema": float(i > 1), "mass": 0.0}) for i in range(4)]  # type: ignore[arg-type,return-value]
    scores = {c.id: {"edema": float(i), "mass": 0.5} for i, c in enumerate(cases)}
    value = recipe.mean_aucs(scores, cases, ["edema", "mass"], np.ones((1, 4)))
    assert value.tolist() == [1.0]
