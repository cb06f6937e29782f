"""A sparse step equals autograd through the dense transcoder; selection equals torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as nf

from whyray.errors import SettingError
from whyray.networks.transcoder import Shape, Transcoder
from whyray.training._codes import Codes, chosen, select
from whyray.training._sparse_step import Loss, Precision, Weights, encoded, gradients, pre_activations

SHAPES = {
    "topk": Shape(8, 6, 40, 5),
    "tied": Shape(7, 7, 33, 4),
    "wide": Shape(130, 140, 200, 4),  # columns in groups, and tables in slices
    "jumprelu": Shape(8, 6, 40, 5, "jumprelu"),
    "matryoshka": Shape(8, 6, 40, 5, "matryoshka", (8, 20, 40)),
}


def drawn(shape: Shape, rows: int = 300) -> tuple[Transcoder, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    module = Transcoder(shape)
    with torch.no_grad():
        module.encoder_bias.normal_(0, 0.1)
        module.decoder_bias.normal_(0, 0.1)
    return module, torch.randn(rows, shape.d_in), torch.randn(rows, shape.d_out)


def dense_loss(module: Transcoder, loss: Loss, x: torch.Tensor, y: torch.Tensor, dead: torch.Tensor) -> torch.Tensor:
    """The formula, with dense codes and autograd."""
    codes = module.encode(x)
    errors = [out - y for out in module.nested(codes)]
    value = torch.stack([(e**2).sum(1).mean() for e in errors]).mean() + loss.l1 * codes.sum(1).mean()
    if len(dead):
        target = -errors[-1].detach()
        before = nf.linear(x, module.encoder[dead], module.encoder_bias[dead])
        top = before.topk(min(loss.aux_k, len(dead)), dim=1)
        made = torch.zeros_like(before).scatter(1, top.indices, top.values.relu()) @ module.decoder[dead]
        value = value + loss.aux * ((made - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    return value


@pytest.mark.parametrize("dead", [(), (1, 2, 30), tuple(range(9, 29))], ids=["none", "few", "many"])
@pytest.mark.parametrize("name", SHAPES)
def test_gradients_equal_autograd(name: str, dead: tuple[int, ...]) -> None:
    shape = SHAPES[name]
    module, x, y = drawn(shape)
    loss = Loss(aux=0.3, aux_k=6, l1=0.05 if name == "jumprelu" else 0.0)
    places = torch.tensor(dead, dtype=torch.int64)
    wanted = dense_loss(module, loss, x, y, places)
    wanted.backward()
    weights = Weights(**{n: p.detach() for n, p in module.named_parameters()})
    found = gradients(weights, shape, loss, x, y, places)
    assert found.loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found.by_name[key], parameter.grad, atol=1e-5, rtol=1e-4, msg=key)
    dense = module.encode(x).detach()
    torch.testing.assert_close(found.fired, (dense > 0).sum(0))
    assert found.squared == pytest.approx(float(((module.decode(dense) - y) ** 2).sum().detach()), rel=1e-5)


@pytest.mark.parametrize(("precision", "off"), [("bfloat16", 0.01), ("int8", 0.03)])
def test_choosing_in_low_precision_leaves_the_values_exact(precision: Precision, off: float) -> None:
    shape = Shape(32, 32, 256, 8)
    module, x, _ = drawn(shape)
    weights = Weights(**{n: p.detach() for n, p in module.named_parameters()})
    full, low = (encoded(weights, shape, Loss(precision=p), x)[0] for p in ("float32", precision))
    dense = (x @ weights.encoder.T + weights.encoder_bias).clamp(min=0)
    chosen_latents, wanted = low.latents.view(-1, 8), full.latents.view(-1, 8)
    torch.testing.assert_close(low.values.view(-1, 8), dense.gather(1, chosen_latents))
    assert (chosen_latents[:, :, None] == wanted[:, None]).any(2).float().mean() > 0.95
    missed = (full.values.sum() - low.values.sum()) / len(full.values)  # the others are nearly as large
    assert 0 < missed < off * dense.std()


def test_in_bytes_nothing_is_the_bias() -> None:
    shape = Shape(8, 8, 40, 3)
    module, x, _ = drawn(shape)
    weights = Weights(**{n: p.detach() for n, p in module.named_parameters()})
    weights.encoder[5], x[7] = 0, 0
    before = pre_activations(weights, Loss(precision="int8"))(x)
    torch.testing.assert_close(before, x @ weights.encoder.T + weights.encoder_bias, atol=0.05, rtol=0)
    assert torch.equal(before[:, 5], weights.encoder_bias[5].expand(len(x)))
    assert torch.equal(before[7], weights.encoder_bias)


SELECTIONS = [(300, 40, 5), (3, 9, 9), (1, 1, 1), (520, 128, 127), (300, 512, 9), (7, 4099, 32)]


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width", "k"), SELECTIONS)
def test_selection_is_the_largest_of_each_row(kind: torch.dtype, rows: int, width: int, k: int) -> None:
    before = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).abs().to(kind)  # ties in bfloat16
    places = select(before, k)
    latents, offsets = chosen(places, width, rows)
    assert offsets.tolist() == list(range(0, rows * k + 1, k))
    found = before.gather(1, latents.view(rows, k)).float().sort(1).values
    torch.testing.assert_close(found, before.topk(k, dim=1).values.float().sort(1).values, atol=0, rtol=0)
    assert len(places.unique()) == rows * k


@pytest.mark.parametrize("width", [5, 50, 500, 4099])
def test_of_equal_values_the_first_columns_are_taken(width: int) -> None:
    values = np.random.default_rng(0).integers(0, 4, (300, width))
    wanted = np.sort(np.argsort(-values, axis=1, kind="stable")[:, :4], axis=1)
    found = select(torch.from_numpy(values).float(), 4).view(300, 4)
    np.testing.assert_array_equal(found.numpy(), wanted + np.arange(300)[:, None] * width)


@pytest.mark.parametrize("width", [50, 500])
def test_what_is_not_a_number_is_none_of_the_largest(width: int) -> None:
    before = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    whole = select(before, 4).view(3, 4)
    before[1, 2:] = torch.nan
    found = select(before, 4).view(3, 4)
    assert torch.equal(found[[0, 2]], whole[[0, 2]])
    assert set(found[1].tolist()) >= {width, width + 1}


def test_codes_by_latent_make_the_gradient_of_a_weight() -> None:
    rng = np.random.default_rng(0)
    dense = torch.from_numpy(rng.normal(size=(9, 6)) * (rng.random((9, 6)) < 0.4)).float()
    places = dense.view(-1).nonzero()[:, 0]
    latents, offsets = chosen(places, 6, 9)
    codes = Codes(latents, dense.view(-1)[places], offsets, 6)
    table, tokens = torch.randn(6, 4), torch.randn(9, 4)
    torch.testing.assert_close(codes.decoded(table), dense @ table)
    torch.testing.assert_close(codes.by_latent().gradient(codes.values, tokens), dense.T @ tokens)
    torch.testing.assert_close(codes.products(table, tokens), (tokens @ table.T).view(-1)[places])


@pytest.mark.parametrize(
    "settings", [{"k": 0}, {"k": 41}, {"kind": "matryoshka"}, {"kind": "matryoshka", "levels": (9, 8)}]
)
def test_impossible_shapes_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="give"):
        Shape(**{"d_in": 8, "d_out": 6, "width": 40, "k": 5, **settings})  # type: ignore[arg-type]
