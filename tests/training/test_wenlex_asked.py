"""Which sentences are asked for, and what the classifier's evidence says: known answers on small arrays."""

from __future__ import annotations

import numpy as np
import torch

from whyray.cards import Card, Operation
from whyray.training import _wenlex_asked as asked
from whyray.training._wenlex_batch import balanced, batch_of, rebuilt_from

FINDINGS = ("edema", "nodule")


def test_called_is_by_operating_point_and_by_rank() -> None:
    card = Card(name="c", operations={"edema": Operation(threshold=0.9)})
    logits = np.array([[3.0, -1.0], [1.0, -2.0], [-4.0, 0.5]])
    assert asked.called(logits, FINDINGS, card, FINDINGS, 0).tolist() == [[True, False], [False, False], [False, True]]
    ranked = asked.called(logits, FINDINGS, card, ("nodule",), 2)
    assert ranked[:, 0].tolist() == [True, False, True]


def test_the_left_of_the_picture_is_the_patients_right() -> None:
    evidence = np.zeros((3, 1, 8), np.float32)  # two rows of four cells
    evidence[0, 0, [0, 1]] = 1  # image left
    evidence[1, 0, [3, 7, 4]] = (2, 1, 1)
    evidence[2, 0] = -1
    share = asked.left_share(evidence, (2, 4))
    assert share[:, 0].tolist() == [0.0, 0.75, 0.5]
    everywhere = np.ones((3, 1), bool)
    sides = asked.wanted_sides(share, everywhere, np.array([True]))
    assert [asked.SIDES[s] if s >= 0 else None for s in sides[:, 0]] == ["right", "left", None]
    assert (asked.wanted_sides(share, everywhere, np.array([False])) == -1).all()


def test_a_middle_column_counts_for_both_halves() -> None:
    evidence = np.array([[[0.0, 1.0, 0.0]]], np.float32)
    assert asked.left_share(evidence, (1, 3)).item() == 0.5


def test_severity_is_by_quantiles_of_what_is_called() -> None:
    logits = np.arange(8.0)[:, None]
    called = logits >= 2
    at = asked.quantiles(logits, called)
    wanted = asked.wanted_severities(logits, called, np.array([True]), at)
    names = [asked.SEVERITIES[s] if s >= 0 else None for s in wanted[:, 0]]
    assert names == [None, None, "slight", "slight", None, None, "marked", "marked"]


def test_each_diagnosis_is_drawn_as_often_as_the_others() -> None:
    called = np.zeros((100, 2), bool)
    called[:90, 0], called[90:, 1] = True, True
    drawn = balanced(called, 4000, np.random.default_rng(0))
    assert abs((drawn >= 90).mean() - 0.5) < 0.03
    assert len(balanced(called, 0, np.random.default_rng(0))) == 100


def test_a_batch_is_the_same_for_the_same_seed_and_asks_for_called_diagnoses() -> None:
    called = np.array([[True, True, True], [False, True, False]])
    one, other = (batch_of([0, 1, 0], called, 2, 2, [5, 1]) for _ in range(2))
    assert torch.equal(one.diagnosis, other.diagnosis) and torch.equal(one.audience, other.audience)
    assert one.whose.tolist() == [0, 0, 1, 2, 2]
    rows, diagnosis = one.places
    assert called[rows, diagnosis].all()
    for k in range(3):
        assert len(set(one.audience[one.whose == k].tolist())) == 1


def test_pictures_are_made_from_the_mean_from_some_or_from_each() -> None:
    z, whose = torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([0, 0, 1])
    mean, rows = rebuilt_from(z, whose, "mean")
    assert mean[:, 0].tolist() == [1.0, 5.0] and rows.tolist() == [0, 1]
    each, rows = rebuilt_from(z, whose, "label")
    assert each is z and rows is whose
    torch.manual_seed(0)
    seen = {tuple(rebuilt_from(z, whose, "some")[0][:, 0].tolist()) for _ in range(60)}
    assert seen == {(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)}  # never none of a picture's
