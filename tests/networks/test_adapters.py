"""Adapters: each reads the picture, leaves the encoder as it is, and starts where it should."""

from __future__ import annotations

import pytest
import torch

from whyray.models._text_autoencoders import build
from whyray.networks.adapters import ADAPTERS, SETTINGS, Adapter, LlamaAdapter, LoraAdapter, beside, sight_of
from whyray.networks.text_encoder import TextEncoder

SMALL = {name: {"side": 3, "tokens": 4, "blocks": 1, "heads": 2} for name in ("llama", "query")}
SMALL |= {"lora": {"side": 2, "rank": 2}}
SMALL |= {"prompt": {"side": 2, "tokens": 3}, "prefix": {"side": 2, "tokens": 3}}


def encoder() -> TextEncoder:
    """A frozen one of 16 numbers a token."""
    torch.manual_seed(0)
    return build({"width": 16, "layers": 2, "heads": 2, "longest": 24}, 300).encoder.eval().requires_grad_(False)


def adapter(name: str, text: TextEncoder) -> Adapter:
    torch.manual_seed(1)
    return ADAPTERS[name](sight_of(text, 6, 5), **SMALL[name])


def inputs() -> tuple[torch.Tensor, ...]:
    """Features, probabilities, tokens, mask; the second text is shorter."""
    torch.manual_seed(2)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return torch.rand(2, 6, 4, 4), torch.rand(2, 5), torch.randint(0, 300, (2, 5)), mask


@pytest.mark.parametrize("name", ADAPTERS)
def test_states_follow_the_picture_and_gradients_reach_the_adapter_only(name: str) -> None:
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter(name, text)
    with torch.no_grad():  # away from where gates and steps of low rank are 0
        for parameter in made.parameters():
            parameter += 0.1
    states, known = made(text, features, probabilities, tokens, mask)
    other, _ = made(text, features.flip(3), probabilities, tokens, mask)
    third, _ = made(text, features, 1 - probabilities, tokens, mask)
    assert states.shape[:2] == known.shape and states.shape[2] == 16
    assert not torch.allclose(states[:, 0], other[:, 0]) and not torch.allclose(states[:, 0], third[:, 0])
    states[known].sum().backward()
    assert all(p.grad is not None for p in made.parameters())
    assert all(p.grad is None for p in text.parameters())


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_fills_a_batch_is_not_read(name: str) -> None:
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter(name, text)
    changed = torch.where(mask, tokens, tokens + 1)
    one, known = made(text, features, probabilities, tokens, mask)
    other, _ = made(text, features, probabilities, changed, mask)
    assert torch.allclose(one[known], other[known], atol=1e-5)


def test_a_closed_gate_leaves_the_text_as_it_was() -> None:
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter("llama", text)
    assert isinstance(made, LlamaAdapter)
    states, _ = made(text, features, probabilities, tokens, mask)
    assert torch.allclose(states, text(tokens, mask), atol=1e-6)
    states.sum().backward()
    assert float(made.gates.grad.abs().max()) > 0  # type: ignore[union-attr]


def test_an_open_gate_is_zero_init_attention() -> None:
    """One layer's formula, written again: softmax apart, times tanh(gate), before the output layer."""
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter("llama", text)
    assert isinstance(made, LlamaAdapter)
    with torch.no_grad():
        made.gates[0] = torch.tensor([0.3, -0.7])
    layer = text.layers[0].attention
    x = text.norm(text.tokens(tokens) + text.positions(torch.arange(5)))
    mixed = made.own[0] + made.reads(made.visual(features, probabilities))
    rows = []
    for head in range(2):
        d = slice(8 * head, 8 * head + 8)
        q = layer.query(x)[..., d]
        text_part = (q @ layer.key(x)[..., d].transpose(1, 2) / 8**0.5).masked_fill(~mask[:, None], -torch.inf)
        own_part = q @ layer.key(mixed)[..., d].transpose(1, 2) / 8**0.5
        gate = torch.tanh(made.gates[0, head])
        rows.append(
            text_part.softmax(-1) @ layer.value(x)[..., d] + gate * (own_part.softmax(-1) @ layer.value(mixed)[..., d])
        )
    wanted = layer.out(torch.cat(rows, -1))
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    made(text, features, probabilities, tokens, mask)
    hook.remove()
    assert torch.allclose(seen[0], wanted, atol=1e-5)


def test_a_step_of_low_rank_is_the_product_and_leaves_no_hook() -> None:
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter("lora", text)
    assert isinstance(made, LoraAdapter)
    with torch.no_grad():
        made.up.normal_()
    got, _ = made(text, features, probabilities, tokens, mask)
    with torch.no_grad():
        for layer, down, up in zip(text.layers, made.down, made.up, strict=True):
            for k, read in enumerate((layer.attention.query, layer.attention.value)):
                read.weight += made.scale * up[k] @ down[k]
    wanted, _ = beside(text, made.visual(features, probabilities), tokens, mask)
    assert torch.allclose(got, wanted, atol=1e-4)
    assert not any(m._forward_hooks for m in text.modules())


def test_lora_is_that_of_peft() -> None:
    peft = pytest.importorskip("peft")
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = adapter("lora", text)
    assert isinstance(made, LoraAdapter)
    with torch.no_grad():
        made.up.normal_()
    got, _ = made(text, features, probabilities, tokens, mask)
    config = peft.LoraConfig(r=2, lora_alpha=32, target_modules=["query", "value"])
    theirs = peft.inject_adapter_in_model(config, text).eval()
    with torch.no_grad():
        for layer, down, up in zip(theirs.layers, made.down, made.up, strict=True):
            for k, read in enumerate((layer.attention.query, layer.attention.value)):
                read.lora_A["default"].weight.copy_(down[k])
                read.lora_B["default"].weight.copy_(up[k])
    wanted, _ = beside(theirs, made.visual(features, probabilities), tokens, mask)
    assert torch.allclose(got, wanted, atol=1e-4)


def test_too_many_tokens_are_named() -> None:
    text, (features, probabilities, tokens, mask) = encoder(), inputs()
    made = ADAPTERS["prompt"](sight_of(text, 6, 5), side=5, tokens=3)
    with pytest.raises(ValueError, match="places for 24"):
        made(text, features, probabilities, tokens, mask)
    assert set(SETTINGS) == set(ADAPTERS)


def test_cells_begin_as_the_classifiers_own_parts_of_the_logits() -> None:
    text = encoder()
    made = adapter("query", text)
    torch.manual_seed(3)
    read_out, mean, std = torch.randn(5, 6), torch.rand(6), torch.rand(6) + 0.5
    made.visual.begin(read_out.double(), mean, std)
    x = mean + std * torch.randn(4000, 6)
    got = made.visual.cell(x)[:, :5]
    assert torch.allclose(got.mean(0), torch.zeros(5), atol=0.1) and torch.allclose(got.std(0), torch.ones(5), atol=0.1)
    wanted = (x - mean) @ read_out.T
    assert torch.corrcoef(torch.stack([got[:, 2], wanted[:, 2]]))[0, 1] > 0.9999
