"""Vector search: the numbers of a plain loop, and the graph's answers beside the exact ones."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from whyray.errors import MissingExtra, SettingError
from whyray.patterns import search
from whyray.patterns.clusters import unit_rows
from whyray.patterns.search import nearest


def slow(vectors: np.ndarray, query: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The definition, one pair at a time."""
    pairs = []
    for i, v in enumerate(vectors.tolist()):
        lengths = math.hypot(*v) * math.hypot(*query)
        pairs.append((i, sum(a * b for a, b in zip(v, query.tolist())) / lengths if lengths else 0.0))
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]


def test_nearest_is_the_highest_cosine() -> None:
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(40, 5)), rng.normal(size=(3, 5))
    vectors[7] = 0
    rows, cosines = nearest(vectors, queries, 6)
    for i, query in enumerate(queries):
        expected = slow(vectors, query, 6)
        assert rows[i].tolist() == [row for row, _ in expected]
        assert cosines[i] == pytest.approx([c for _, c in expected], abs=1e-6)


def test_pieces_give_what_one_product_gives() -> None:
    rng = np.random.default_rng(1)
    units, wanted = unit_rows(rng.normal(size=(30, 4))), unit_rows(rng.normal(size=(11, 4)))
    whole, pieces = search._by_product(units, wanted, 5), search._by_product(units, wanted, 5, most=70)
    assert np.array_equal(whole[0], pieces[0]) and np.allclose(whole[1], pieces[1])


def test_more_than_there_are_gives_all_of_them_once() -> None:
    rows, _ = nearest(np.eye(3), np.ones((1, 3)), 10)
    assert rows.tolist() == [[0, 1, 2]]


def test_refused_settings_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="known: auto"):
        nearest(np.eye(2), np.eye(2), 1, "faiss")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="1 at least"):
        nearest(np.eye(2), np.eye(2), 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"whyray\[search\]"):
        nearest(np.eye(2), np.eye(2), 1, "usearch")
    monkeypatch.setattr(search, "MANY", 1)
    assert nearest(np.eye(2), np.eye(2), 1)[0].tolist() == [[0], [1]], "without the package, auto is exact"


def test_the_graph_finds_what_the_product_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="usearch is not installed")
    rng = np.random.default_rng(2)
    vectors, queries = rng.normal(size=(2000, 8)), rng.normal(size=(50, 8))
    vectors[3] = 0
    exact, by_graph = nearest(vectors, queries, 10, "numpy"), nearest(vectors, queries, 10, "usearch")
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(exact[0].tolist(), by_graph[0].tolist())]
    assert np.mean(shared) > 0.95
    assert by_graph[1] == pytest.approx(
        np.take_along_axis(unit_rows(queries) @ unit_rows(vectors).T, by_graph[0], 1), abs=1e-5
    )
    monkeypatch.setattr(search, "MANY", 1000)
    assert np.array_equal(nearest(vectors, queries, 10)[0], by_graph[0]), "auto takes the graph, and it is the same"


def test_the_graph_is_whole_where_vectors_are_few_or_zero() -> None:
    pytest.importorskip("usearch", reason="usearch is not installed")
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rows, cosines = nearest(vectors, np.array([[1.0, 0.1]]), 3, "usearch")
    assert rows[0].tolist() == [1, 2, 0] and cosines[0, 2] == 0
