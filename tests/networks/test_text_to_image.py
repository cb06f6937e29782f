"""From a vector to a picture: sizes, range, and that rows do not touch each other."""

from __future__ import annotations

import pytest
import torch

from whyray.networks.text_to_image import TextToImage


@pytest.mark.parametrize(("widths", "start", "side"), [((512, 256, 128, 64, 32), 4, 128), ((16, 8), 7, 28)])
def test_sides_double_and_grey_values_lie_in_range(widths: tuple[int, ...], start: int, side: int) -> None:
    torch.manual_seed(0)
    made = TextToImage(12, widths=widths, start=start)(4 * torch.randn(2, 12))
    assert made.shape == (2, 1, side, side)
    assert float(made.detach().min()) >= 0 and float(made.detach().max()) <= 1


def test_a_picture_depends_on_its_own_vector_only() -> None:
    torch.manual_seed(0)
    network, z = TextToImage(12, widths=(16, 8), start=4), torch.randn(3, 12)
    together, alone = network(z), network(z[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_it_learns_to_draw_what_a_vector_says() -> None:
    """Two vectors, two pictures: a bright left half and a bright right half."""
    torch.manual_seed(0)
    network, z = TextToImage(4, widths=(8, 8), start=4), torch.eye(4)[:2]
    wanted = torch.zeros(2, 1, 16, 16)
    wanted[0, ..., :8], wanted[1, ..., 8:] = 1, 1
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(60):
        loss = ((network(z) - wanted) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.03
