"""Preparation: what the model sees, and the affine back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyray.cards import Preparation
from whyray.models._prepare import prepare
from whyray.types import Radiograph


def ramp(h: int, w: int) -> Radiograph:
    """A picture whose brightness says where one is: x + 2 y, scaled into 0..1."""
    y, x = np.mgrid[0:h, 0:w]
    return Radiograph(((x + 2 * y) / (w + 2 * h)).astype(np.float32))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("shape", [(200, 300), (301, 200), (160, 160), (90, 97)])
@pytest.mark.parametrize("size", [(96, 96), (64, 96)])
def test_affine_leads_back_to_the_source(fit: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    radiograph = ramp(*shape)
    frame = prepare(radiograph, Preparation(size=size, fit=fit))
    v, u = np.mgrid[8 : size[0] - 8, 8 : size[1] - 8]
    x, y, _ = np.einsum("ij,j...->i...", frame.to_source, np.stack([u, v, np.ones_like(u)]).astype(float))
    inside = (x > 4) & (y > 4) & (x < shape[1] - 5) & (y < shape[0] - 5)
    assert inside.sum() > 500
    came = frame.pixels[0][v, u] * (shape[1] + 2 * shape[0])
    off = (came - (x + 2 * y))[inside]  # source pixels
    assert np.abs(off).max() < 0.3 and abs(off.mean()) < 0.02


def test_crop_is_the_largest_centred_square() -> None:
    pixels = np.zeros((100, 140), np.float32)
    pixels[:, 20:120] = 1
    frame = prepare(Radiograph(pixels), Preparation(size=(100, 100)))
    assert frame.pixels.shape == (1, 100, 100) and frame.pixels.min() == 1
    assert frame.to_source.tolist() == [[1, 0, 20], [0, 1, 0], [0, 0, 1]]


def test_pad_adds_black_and_loses_nothing() -> None:
    frame = prepare(Radiograph(np.ones((100, 50), np.float32)), Preparation(size=(100, 100), fit="pad"))
    assert frame.pixels[0].sum() == 5000 and frame.pixels[0, :, :25].max() == 0


def test_resize_equals_torch_antialias() -> None:
    pixels = np.random.default_rng(0).random((300, 300)).astype(np.float32)
    frame = prepare(Radiograph(pixels), Preparation(size=(224, 224), low=-1024, high=1024))
    x = (2 * torch.tensor(pixels) - 1)[None, None] * 1024
    peer = torch.nn.functional.interpolate(x, size=(224, 224), mode="bilinear", antialias=True)[0]
    assert np.abs(frame.pixels - peer.numpy()).max() < 0.1  # of 2048


def test_range_mean_and_channels() -> None:
    preparation = Preparation(size=(32, 32), channels=3, low=-1, high=1, mean=(0.5, 0.0, 0.0), std=(2.0, 1.0, 4.0))
    frame = prepare(Radiograph(np.ones((32, 32), np.float32)), preparation)
    assert frame.pixels[:, 0, 0].tolist() == [0.25, 1.0, 0.25]
    assert frame.pixels.flags.writeable and frame.pixels.dtype == np.float32


def test_a_picture_is_prepared_once_and_nobody_can_change_what_is_kept() -> None:
    import gc
    import weakref

    from whyray.models import _prepare

    picture = Radiograph(np.random.default_rng(0).random((64, 48), np.float32))
    first = _prepare.prepare(picture, Preparation(size=(32, 32)))
    first.pixels[:] = 7
    again = _prepare.prepare(picture, Preparation(size=(32, 32)))
    assert again.pixels.max() <= 1 and len([r for r in _prepare._LAST if r is picture]) == 1
    other = _prepare.prepare(picture, Preparation(size=(32, 32), low=-1024, high=1024))
    assert other.pixels.min() < -1 and np.array_equal(
        _prepare.prepare(picture, Preparation(size=(32, 32))).pixels, again.pixels
    )
    kept = weakref.ref(picture)
    del picture
    gc.collect()
    assert kept() is None
