"""LRP against the formulas written again: dense matrices in float64, one unit at a time."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import whyray
from whyray._torchvision import ensure_torchvision
from whyray.contracts import Context
from whyray.errors import SettingError, UnmetNeed
from whyray.explainers._lrp_rules import inner
from whyray.explainers.lrp import Lrp, Named
from whyray.models.timm_ import network
from whyray.networks.resnet import ResNet

FINDINGS = ["mass", "edema", "hernia"]


class Tiny(nn.Module):
    """In-place ReLU, normalisation before and after a concatenation, a residual sum, both poolings."""

    def __init__(self, biases: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1, bias=biases)
        self.norm0 = nn.BatchNorm2d(4)
        self.branch = nn.Conv2d(4, 2, 3, padding=1, bias=biases)
        self.norm1 = nn.BatchNorm2d(6)
        self.mix = nn.Conv2d(6, 6, 1, bias=biases)
        self.norm2 = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3, bias=biases)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm0(self.stem(x)), inplace=True)
        x = functional.max_pool2d(x, 2)
        x = torch.cat([x, self.branch(x)], 1)
        y = functional.relu(self.norm1(x), inplace=True)
        y = self.norm2(self.mix(y))
        y += x
        y = functional.avg_pool2d(functional.relu_(y), 2)
        return self.head(functional.adaptive_avg_pool2d(y, 1).view(y.size(0), -1))


def tiny(biases: bool = True) -> Tiny:
    torch.manual_seed(4)
    net = Tiny(biases)
    for norm in (net.norm0, net.norm1, net.norm2):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.running_var.abs_().add_(0.5), 1, 0.1)
        if biases:
            nn.init.normal_(norm.bias, std=0.3)
            nn.init.normal_(norm.running_mean, std=0.3)
    return net.eval()


def explained(net: nn.Module, size: int = 32, **settings: object) -> dict[str, whyray.Attribution]:
    model = whyray.wrap(net, findings=FINDINGS, size=size)
    picture = whyray.testing.sample_radiographs(1)[0]
    (made,) = Lrp(**settings).explain(model, [picture], FINDINGS, Context())  # type: ignore[arg-type]
    return {f: a for f, a in made.items() if isinstance(a, whyray.Attribution)}


def pixels(net: nn.Module, size: int = 32) -> Tensor:
    model = whyray.wrap(net, findings=FINDINGS, size=size)
    return torch.from_numpy(model.prepare(whyray.testing.sample_radiographs(1)[0]).pixels.copy())[None]


def matrix(layer: nn.Module, x: Tensor) -> Tensor:
    """The dense matrix of a linear map, column by column."""
    units = torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape[1:])
    return (layer(units) - layer(torch.zeros_like(x))).flatten(1).T


def shared_out(w: Tensor, b: Tensor, x: Tensor, r: Tensor, rule: str, eps: float = 1e-6) -> Tensor:
    """``r [out]`` to ``[in]`` by looking at every single contribution ``x_i w_ji``."""
    c = w * x[None, :]
    if rule == "zplus":
        c, b = c.clamp(min=0), b.clamp(min=0)
    if rule == "flat":
        c, b = (w != 0).double(), torch.zeros_like(b)
    z = c.sum(1) + b
    if rule == "gamma":
        sign = torch.where(z >= 0, 1.0, -1.0).double()
        c = c + 0.25 * torch.where(c * sign[:, None] > 0, c, 0.0)
        b = b + 0.25 * torch.where(b * sign > 0, b, 0.0)
        z = c.sum(1) + b
    z = z + torch.where(z >= 0, eps, -eps)
    return (c / z[:, None] * r[:, None]).sum(0)


def slow(net: Tiny, x: Tensor, column: int, rules: tuple[str, str, str]) -> Tensor:
    """Relevance of the pixels, all in float64; ``rules`` for the first layer, the others, and the head."""
    net, x = net.double(), x.double()
    first, other, dense = rules
    a0 = net.norm0(net.stem(x))
    a1 = a0.relu()
    a2, winners = functional.max_pool2d(a1, 2, return_indices=True)
    a3 = net.branch(a2)
    a4 = torch.cat([a2, a3], 1)
    a5 = net.norm1(a4)
    a6 = a5.relu()
    a7 = net.norm2(net.mix(a6))
    a8 = a7 + a4
    a9 = a8.relu()
    pooling = nn.Sequential(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    logits = net.head(pooling(a9))
    r = torch.zeros(3, dtype=torch.float64)
    r[column] = logits[0, column]
    r = shared_out(net.head.weight, net.head.bias, pooling(a9)[0], r, dense)
    zero = torch.zeros(10000, dtype=torch.float64)
    r8 = shared_out(matrix(pooling, a9), zero[:6], a9.flatten(), r, "epsilon").reshape(a8.shape)
    share = r8 / (a8 + torch.where(a8 >= 0, 1e-6, -1e-6))
    r7, r4 = share * a7, share * a4
    joint = nn.Sequential(net.mix, net.norm2)
    bias = joint(torch.zeros_like(a6)).flatten()
    r6 = shared_out(matrix(joint, a6), bias, a6.flatten(), r7.flatten(), other)
    shift = net.norm1(torch.zeros_like(a4)).flatten()
    r4 = r4 + shared_out(matrix(net.norm1, a4), shift, a4.flatten(), r6, other).reshape(a4.shape)
    bias = net.branch(torch.zeros_like(a2)).flatten()
    r2 = r4[:, :4] + shared_out(matrix(net.branch, a2), bias, a2.flatten(), r4[:, 4:].flatten(), other).reshape(
        a2.shape
    )
    r1 = functional.max_unpool2d(r2, winners, 2)
    joint = nn.Sequential(net.stem, net.norm0)
    bias = joint(torch.zeros_like(x)).flatten()
    return shared_out(matrix(joint, x), bias, x.flatten(), r1.flatten(), first).reshape(x.shape[2:]).detach()


@pytest.mark.parametrize(
    ("composite", "rules"),
    [("epsilon_plus_flat", ("flat", "zplus", "epsilon")), ("epsilon", ("epsilon", "epsilon", "epsilon"))],
)
def test_every_contribution_looked_at_by_itself(composite: str, rules: tuple[str, str, str]) -> None:
    made = explained(tiny(), composite=composite)
    for column, finding in enumerate(FINDINGS):
        wanted = slow(tiny(), pixels(tiny()), column, rules).numpy()
        assert np.abs(wanted).max() > 1e-4, "an empty map would prove nothing"
        np.testing.assert_allclose(made[finding].values, wanted, atol=2e-5 * np.abs(wanted).max())


def test_the_gamma_rule_looked_at_by_itself() -> None:
    """Behind the box rule only the sum can be compared: the boxes start at 0 and end at 1 here, as do the pixels."""
    made = explained(tiny(), composite="gamma_box")
    total = slow(tiny(), pixels(tiny()), 0, ("flat", "gamma", "epsilon")).sum()
    assert made["mass"].values.sum() == pytest.approx(float(total), rel=1e-3)


def test_epsilon_without_biases_is_gradient_times_input() -> None:
    net = tiny(biases=False)
    made = explained(net, composite="epsilon", epsilon=1e-12)
    x = pixels(net).requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[0, 1], x)
    wanted = (gradient * x)[0, 0].detach().numpy()
    np.testing.assert_allclose(made["edema"].values, wanted, atol=1e-5 * np.abs(wanted).max())
    assert made["edema"].checks["bias"] == pytest.approx(0, abs=1e-6)


def test_a_relative_epsilon_takes_more_as_it_grows_and_says_so() -> None:
    lost = [abs(explained(tiny(), epsilon=e, relative=True)["mass"].checks["stabiliser"]) for e in (1e-6, 1e-2, 1.0)]
    assert lost[0] < lost[1] < lost[2] and lost[0] < 1e-4


def test_the_module_is_left_as_it_was_and_may_change_between_calls() -> None:
    net = tiny()
    before = explained(net)["mass"].values
    with torch.no_grad():
        net.head.weight.mul_(2)
    after = explained(net)["mass"].values
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()


def test_many_findings_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explained(tiny())
    monkeypatch.setattr("whyray.explainers._lrp_run.AT_ONCE", 1)
    parts = explained(tiny())
    for finding in FINDINGS:
        np.testing.assert_allclose(parts[finding].values, whole[finding].values, atol=1e-6)


def test_a_vision_transformer_tells_what_its_softmax_took() -> None:
    ensure_torchvision()
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(
        img_size=64, patch_size=16, in_chans=1, num_classes=3, embed_dim=32, depth=3, num_heads=2
    ).eval()
    for composite in get_args(Named):
        for made in explained(net, 64, composite=composite).values():
            assert abs(made.checks["conservation_gap"]) < 1e-5 and np.abs(made.values).max() > 1e-6
            assert made.checks["attention"] != 0 and "softmax" in made.notes[-1]


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "convnext_atto", "resnet10t"])
def test_networks_of_timm_account_for_every_logit(name: str) -> None:
    net = network(name, 3, 1)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None
    with torch.no_grad():
        net.train()(torch.rand(4, 1, 64, 64))
    for made in explained(net.eval(), 64).values():
        assert abs(made.checks["conservation_gap"]) < 1e-4 and np.abs(made.values).max() > 1e-9


def test_a_picture_beside_its_surround_accounts_for_every_logit() -> None:
    torch.manual_seed(0)
    net = ResNet(3, blocks=(1, 1), stem=8, expansion=1, stride=2, surround=(5, 13))
    with torch.no_grad():
        net.train()(torch.rand(4, 1, 64, 64))
    model = whyray.wrap(net.eval(), findings=FINDINGS, size=64, channels=1)
    (made,) = Lrp().explain(model, whyray.testing.sample_radiographs(1), FINDINGS, Context())
    assert len(made) == 3
    for each in made.values():
        assert isinstance(each, whyray.Attribution)
        assert abs(each.checks["conservation_gap"]) < 1e-4 and np.abs(each.values).max() > 1e-9


class Attention(nn.Module):
    """One head over the rows of a picture, written out: projections, softmax, product."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(32, 8) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)
        self.whole = True

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x[:, 0]) for f in (self.q, self.k, self.v))
        if self.whole:
            out = functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            out = ((q @ k.transpose(1, 2)) / 8**0.5).softmax(-1) @ v
        return self.head(functional.gelu(self.norm(out)).mean(1))


def slow_attention(net: Attention, x: Tensor, column: int) -> Tensor:
    """The rules of AttnLRP with loops over rows, float64."""
    net, rows = net.double(), x.double()[0, 0]
    q, k, v = net.q(rows), net.k(rows), net.v(rows)
    scores = q @ k.T / 8**0.5
    weights = scores.softmax(-1)
    out = weights @ v
    normed = net.norm(out)
    act = functional.gelu(normed)
    pooled = act.mean(0)
    r = torch.zeros(3, dtype=torch.float64)
    r[column] = net.head(pooled)[column]
    r = shared_out(net.head.weight, net.head.bias, pooled, r, "epsilon")
    r = act / 32 * (r / (pooled + torch.where(pooled >= 0, 1e-6, -1e-6)))  # mean over rows, then GELU passes it
    handed = []
    for row, share, y in zip(out, r, normed, strict=True):
        linear = (torch.eye(8, dtype=torch.float64) - 1 / 8) / torch.sqrt(row.var(unbiased=False) + 1e-5)
        w = net.norm.weight[:, None] * linear
        assert torch.allclose(w @ row + net.norm.bias, y)
        handed.append(shared_out(w, net.norm.bias, row, share, "epsilon"))
    s = torch.stack(handed) / (out + torch.where(out >= 0, 1e-6, -1e-6))
    to_weights = weights * (s @ v.T) / 2
    to_scores = scores * (to_weights - weights * to_weights.sum(1, keepdim=True))
    each = to_scores / scores / 2 / 8**0.5
    found = torch.zeros_like(rows)
    for layer, shares, value in (
        (net.q, q * (each @ k), q),
        (net.k, k * (each.T @ q), k),
        (net.v, v * (weights.T @ s) / 2, v),
    ):
        for i, row in enumerate(rows):
            assert torch.allclose(layer(row), value[i])
            found[i] += shared_out(layer.weight, layer.bias, row, shares[i], "epsilon")
    return found.detach()


@pytest.mark.parametrize("whole", [True, False])
def test_attention_row_by_row(whole: bool) -> None:
    torch.manual_seed(0)
    net = Attention().eval()
    net.whole = whole
    made = explained(net)
    wanted = slow_attention(net, pixels(net), 0).numpy()
    np.testing.assert_allclose(made["mass"].values, wanted, atol=1e-4 * np.abs(wanted).max())


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x.flatten(1), 1)[:, -3:]


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x if x.max() > 0.5 else -x).flatten(1)[:, :3]


@pytest.mark.parametrize(("net", "named"), [(Odd(), "cumsum"), (Branching(), "branch")])
def test_what_has_no_rule_is_named(net: nn.Module, named: str) -> None:
    with pytest.raises(UnmetNeed, match=named):
        explained(net)


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError):
        Lrp(epsilon=-1)
    with pytest.raises(SettingError, match="epsilon_plus_flat"):
        Lrp(composite="deep_taylor")  # type: ignore[arg-type]


def test_sums_do_not_depend_on_the_memory_order() -> None:
    s, v = torch.rand(3, 1, 4, 5, 6), torch.rand(1, 4, 5, 6)
    wanted = (s * v).sum((1, 2, 3, 4))
    last = s[:, 0].contiguous(memory_format=torch.channels_last)[:, None]
    for given in (s, last):
        torch.testing.assert_close(inner(given, v), wanted)
