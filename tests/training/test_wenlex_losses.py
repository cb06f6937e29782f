"""The terms of WeNLEX's loss, each against its formula or a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as nf

from whyray.metrics._mmd import mmd
from whyray.training import _wenlex_losses as losses


def test_plausibility_is_the_mean_over_groups_with_two_rows() -> None:
    torch.manual_seed(0)
    made, known = torch.randn(4, 5), torch.randn(6, 5)
    group, known_group = torch.tensor([0, 0, 2, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    queue, full = torch.randn(3, 3, 5), torch.tensor([2, 0, 1])
    wanted = [
        mmd(torch.cat([made[:2], queue[0, :2]]), known[:2], losses.bandwidth(known[:2])),
        mmd(
            torch.cat([made[2:3], queue[2, :1]]), known[4:], losses.bandwidth(known[4:])
        ),  # group 1 has one row: it is left out
    ]
    got = losses.plausibility(made, group, known, known_group, queue, full)
    assert torch.allclose(got, torch.stack(wanted).mean(), atol=1e-6)


def test_rows_that_are_all_alike_are_still_pulled() -> None:
    torch.manual_seed(0)
    made = torch.randn(1, 16).expand(2, -1).clone().requires_grad_()
    queue = made.detach()[:1].expand(1, 30, -1)
    known, group = torch.randn(5, 16), torch.zeros(5, dtype=torch.int64)
    term = losses.plausibility(made, group[:2], known, group, queue, torch.tensor([30]))
    term.backward()  # type: ignore[no-untyped-call]
    assert made.grad is not None and float(made.grad.norm()) > 1e-3


def test_plausibility_without_rows_is_a_zero_with_a_gradient() -> None:
    made = torch.randn(1, 5, requires_grad=True)
    empty = torch.zeros(1, 3, 5), torch.zeros(1, dtype=torch.int64)
    term = losses.plausibility(made, torch.tensor([0]), torch.randn(2, 5), torch.tensor([0, 0]), *empty)
    term.backward()  # type: ignore[no-untyped-call]
    assert float(term.detach()) == 0 and made.grad is not None


def test_alignment_names_the_diagnosis_as_surely_as_the_classifier_does() -> None:
    logits, asked, p = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([2]), torch.tensor([0.7])
    said = 1 / (1 + np.exp(-0.5))
    named = -np.mean([np.log(1 - 1 / (1 + np.exp(-2.0))), np.log(1 - 1 / (1 + np.exp(1.0))), np.log(said)])
    divergence = 0.7 * np.log(0.7 / said) + 0.3 * np.log(0.3 / (1 - said))
    assert float(losses.alignment(logits, asked, p, 0.5)) == pytest.approx(named + 0.5 * divergence, abs=1e-5)
    sure = torch.tensor([[-9.0, -9.0, float(np.log(0.7 / 0.3))]])
    only = losses.alignment(sure, asked, p, 1.0) - losses.alignment(sure, asked, p, 0.0)
    assert float(only) == pytest.approx(0, abs=1e-5)  # no divergence where the text is as sure


@pytest.mark.parametrize("centred", [False, True])
def test_reconstruction_is_the_formula(centred: bool) -> None:
    torch.manual_seed(0)
    made, wanted = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)
    mean, std = torch.rand(3), torch.rand(3) + 0.5
    cosines, squares = [], []
    for a, b in zip(made, wanted, strict=True):
        u, v = ((x - mean[:, None, None]) / std[:, None, None] for x in (a, b))
        squares.append(((u - v) ** 2).mean())
        pooled = (u, v) if centred else (a, b)
        cosines.append(nf.cosine_similarity(*(x.mean((1, 2)) for x in pooled), dim=0))
    expected = torch.stack([1 - c for c in cosines]).mean() + 0.1 * torch.stack(squares).mean()
    assert torch.allclose(losses.reconstruction(made, wanted, mean, std, centred=centred, cells=0.1), expected)
    same = losses.reconstruction(wanted, wanted, mean, std, centred=centred, cells=0.1)
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_what_is_stated_counts_where_something_is_wanted() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0]], requires_grad=True)
    term = losses.stated(logits, torch.tensor([-1, 0]))
    assert float(term.detach()) == pytest.approx(float(np.log(1 + np.exp(3))), abs=1e-5)
    assert float(losses.stated(logits, torch.tensor([-1, -1])).detach()) == 0


def test_straight_through_has_the_words_value_and_the_vectors_gradient() -> None:
    z, again = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    used = losses.straight_through(z, again)
    assert torch.allclose(used, again, atol=1e-6)
    (used * torch.arange(3)).sum().backward()
    assert z.grad is not None and torch.equal(z.grad, torch.arange(3).expand(2, 3).float())


def test_commitment_moves_the_vector_not_the_words() -> None:
    z, again = torch.tensor([[1.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0]], requires_grad=True)
    term = losses.commitment(z, again)
    term.backward()  # type: ignore[no-untyped-call]
    assert float(term.detach()) == 1 and z.grad is not None and again.grad is None


def test_learned_weights_settle_at_the_log_of_their_terms() -> None:
    """d/ds (exp(-s) L + s) = 0 at s = log L: each weighted term becomes 1."""
    terms = {"a": torch.tensor(5.0), "b": torch.tensor(0.2)}
    logs = {k: torch.zeros((), requires_grad=True) for k in terms}
    for _ in range(400):
        (losses.weighted(terms, logs, {"b": 3.0})).backward()  # type: ignore[no-untyped-call]
        for s in logs.values():
            assert s.grad is not None
            s.data -= 0.1 * s.grad
            s.grad = None
    assert {k: float(s.detach()) for k, s in logs.items()} == pytest.approx(
        {"a": np.log(5.0), "b": np.log(0.2)}, abs=1e-2
    )
