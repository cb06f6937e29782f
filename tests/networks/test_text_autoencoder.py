"""The text autoencoder: its formulas written again slowly, adapters, and that padding and caches change nothing."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from whyray.networks.text_autoencoder import Bottleneck, GatedDecoder, Injected, TextAutoencoder, TextEncoder
from whyray.networks.text_encoder import TextAttention

VOCABULARY, START, END = 23, 21, 22


def made(width: int = 16, heads: int = 4, layers: int = 2) -> TextAutoencoder:
    torch.manual_seed(0)
    encoder = TextEncoder(VOCABULARY, width, layers, heads, longest=12, dropout=0.0)
    module = TextAutoencoder(encoder, heads=heads, longest=12, dropout=0.0).eval().requires_grad_(False)
    torch.nn.init.normal_(
        encoder.tokens.weight, std=0.2
    )  # so that tokens and places are told apart before any training
    torch.nn.init.normal_(module.decoder.positions.weight, std=0.5)
    return module


def softmaxed(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """``[t, d]`` of one head, a place at a time."""
    rows = []
    for q in query:
        weights = torch.stack([(q * k).sum() / math.sqrt(len(q)) for k in keys]).softmax(0)
        rows.append(sum(w * v for w, v in zip(weights, values, strict=True)))
    return torch.stack(rows)


def attended(attention: TextAttention, x: Tensor, injected: Injected | None) -> Tensor:
    """What ``TextAttention`` computes of one text ``[t, width]`` without padding, head by head."""
    parts = []
    for h in range(attention.heads):
        query, key, value = (
            attention.split(layer(x[None]))[0, h] for layer in (attention.query, attention.key, attention.value)
        )
        if injected is None:
            parts.append(softmaxed(query, key, value))
            continue
        more, held = injected.keys[0, h], injected.values[0, h]
        if injected.gate is None:
            parts.append(softmaxed(query, torch.cat([more, key]), torch.cat([held, value])))
        else:
            parts.append(softmaxed(query, key, value) + injected.gate[h].tanh() * softmaxed(query, more, held))
    return attention.out(torch.cat(parts, -1))


def test_attention_is_its_formula_with_and_without_what_is_injected() -> None:
    torch.manual_seed(1)
    attention = TextAttention(8, 2, 0.0).eval()
    x, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    keys, values = torch.randn(2, 1, 2, 3, 4).unbind(0)
    for injected in (None, Injected(keys, values), Injected(keys, values, torch.tensor([0.7, -0.3]))):
        assert torch.allclose(attention(x, mask, injected)[0], attended(attention, x[0], injected), atol=1e-5)


def test_a_gate_of_zero_changes_nothing_and_learns() -> None:
    encoder = made().encoder
    tokens, mask = torch.randint(0, 20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    gate = torch.zeros(4, requires_grad=True)
    adapted = encoder(tokens, mask, injected=[None, Injected(*torch.randn(2, 2, 4, 3, 4).unbind(0), gate)])
    assert torch.allclose(adapted, encoder(tokens, mask), atol=1e-6)
    (adapted * torch.randn(2, 6, 16)).sum().backward()
    assert gate.grad is not None and bool(gate.grad.abs().max() > 1e-4)


def test_embedded_vectors_stand_in_place_of_tokens() -> None:
    encoder = made().encoder
    tokens, mask = torch.randint(0, 20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    assert torch.equal(encoder(tokens, mask, embedded=encoder.tokens(tokens)), encoder(tokens, mask))
    assert not torch.allclose(encoder(tokens, mask, embedded=torch.zeros(2, 6, 16)), encoder(tokens, mask))


def test_padding_changes_no_vector_and_every_token_does() -> None:
    module = made()
    tokens = torch.randint(0, 20, (1, 6))
    z = module.encode(tokens, torch.ones(1, 6, dtype=torch.bool))
    longer = torch.cat([tokens, torch.full((1, 3), END)], 1)
    mask = torch.tensor([[True] * 6 + [False] * 3])
    assert torch.allclose(module.encode(longer, mask), z, atol=1e-5)
    assert torch.allclose(z.mean(-1), torch.zeros(1), atol=1e-5) and torch.allclose(
        z.var(-1, correction=0), torch.ones(1), atol=1e-2
    )
    for place in range(6):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % 20
        assert not torch.allclose(module.encode(other, mask[:, :6]), z, atol=1e-4)


def test_the_bottleneck_asks_with_the_first_state_and_reads_the_others() -> None:
    torch.manual_seed(2)
    bottleneck = Bottleneck(8, 2, 0.0).eval()
    states, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    query, key, value = (layer(states[0]) for layer in (bottleneck.query, bottleneck.key, bottleneck.value))
    parts = [softmaxed(query[:1, s], key[1:, s], value[1:, s]) for s in (slice(0, 4), slice(4, 8))]
    read = bottleneck.out(torch.cat(parts, -1))[0]
    wanted = (read - read.mean()) / (read.var(correction=0) + 1e-5).sqrt()
    assert torch.allclose(bottleneck(states, mask)[0], wanted, atol=1e-5)


def test_the_decoder_reads_z_through_its_gate() -> None:
    torch.manual_seed(3)
    decoder = GatedDecoder(8, 2, 9, 0.0).eval()
    x, z = torch.randn(1, 4, 8), torch.randn(1, 8)
    states, _ = decoder(x, z)
    v = x + decoder.positions.weight[:4]
    v = decoder.attention_norm(v + decoder.attention(v, [])[0])
    gate = decoder.gate
    opened = 1 / (1 + (-(v @ gate.place.weight.T + gate.place.bias + z @ gate.asked.weight.T)).exp())
    v = decoder.gate_norm(v + opened * (z @ gate.value.weight.T + gate.value.bias))
    wide = v @ decoder.wide.weight.T + decoder.wide.bias
    v = decoder.norm(v + decoder.narrow(wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))))
    assert torch.allclose(states, v, atol=1e-5)


def test_no_place_reads_ahead_and_a_cache_changes_nothing() -> None:
    module = made()
    tokens, z = torch.randint(0, 20, (2, 7)), torch.randn(2, 16)
    logits = module.decode(tokens, z)
    later = tokens.clone()
    later[:, 4:] = (later[:, 4:] + 1) % 20
    assert torch.allclose(module.decode(later, z)[:, :4], logits[:, :4], atol=1e-6)
    cache, parts = None, []
    for place in range(7):
        part, cache = module.step(tokens[:, place : place + 1], z, cache)
        parts.append(part)
    assert torch.allclose(torch.cat(parts, 1), logits, atol=1e-5)


def test_writing_takes_the_likeliest_token_again_and_again() -> None:
    module = made()
    module.bias[END] = 0.6  # so that texts end at different places
    z = torch.randn(12, 16) * 3
    written = module.write(z, START, END)
    for row, text in zip(z, written, strict=True):
        tokens = [START]
        while len(tokens) <= 11:
            tokens.append(int(module.decode(torch.tensor([tokens]), row[None])[0, -1].argmax()))
            if tokens[-1] == END:
                break
        assert text == [t for t in tokens[1:] if t != END]
    assert len({len(text) for text in written}) > 1
    assert module.write(z, START, END, longest=3) == [text[:3] for text in written]
    assert module.write(z[:0], START, END) == []


def test_beams_find_the_best_of_all_texts() -> None:
    torch.manual_seed(4)
    encoder = TextEncoder(5, 8, 1, 2, longest=5, dropout=0.0)
    module = TextAutoencoder(encoder, heads=2, longest=5, dropout=0.0).eval().requires_grad_(False)
    torch.nn.init.normal_(encoder.tokens.weight, std=0.6)
    for z in torch.randn(3, 1, 8) * 2:
        scores = {}
        for text in (t for n in range(4) for t in itertools.product(range(3), repeat=n)):
            logp = module.decode(torch.tensor([[3, *text]]), z)[0].log_softmax(-1)
            scores[text] = float(logp[range(len(text) + 1), [*text, 4]].mean())
        best = max(scores, key=scores.__getitem__)
        assert module.write(z, 3, 4, 4, beams=200, never=[3]) == [list(best)]
        assert 0 not in module.write(z, 3, 4, 4, beams=3, never=[0, 3])[0] + module.write(z, 3, 4, never=[0])[0]
