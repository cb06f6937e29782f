"""Generators: what a place may read, that a cache changes nothing, and the search against every sentence there is."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from whyray.networks.decoder import Decoder
from whyray.networks.decoding import Decoding, greedy, hypotheses, search
from whyray.networks.narrator import Narrator, narrator
from whyray.networks.three_states import ThreeStates, live

NETWORKS: tuple[Literal["dpt", "ratchet", "tienet"], ...] = ("dpt", "ratchet", "tienet")


def made(network: Literal["dpt", "ratchet", "tienet"], pool: int = 1) -> Narrator:
    torch.manual_seed(0)
    sizes: dict[str, int | float] = {"width": 16, "pool": pool, "dropout": 0.0}
    sizes |= {"hidden": 12} if network == "tienet" else {"layers": 2, "heads": 2, "words": 12}
    return narrator(network, 11, 6, (4, 4), 5, sizes).eval()


@pytest.mark.parametrize("network", NETWORKS)
def test_no_place_reads_ahead_and_every_one_reads_image_and_prediction(
    network: Literal["dpt", "ratchet", "tienet"],
) -> None:
    module = made(network)
    features, prediction = torch.randn(2, 6, 4, 4), torch.rand(2, 5)
    tokens = torch.randint(0, 11, (2, 7))
    memory = module.memory(features, prediction)
    assert memory.shape == (2, 17, 16)
    logits, _ = module(memory, tokens)
    assert logits.shape == (2, 7, 11)
    later = tokens.clone()
    later[:, 5:] = (later[:, 5:] + 1) % 11
    changed, _ = module(memory, later)
    assert torch.allclose(logits[:, :5], changed[:, :5], atol=1e-6) and not torch.allclose(
        logits[:, 5:], changed[:, 5:]
    )
    features[:, :, 2, 3] += 1
    assert not torch.allclose(module(module.memory(features, prediction), tokens)[0][:, 0], logits[:, 0])
    assert not torch.allclose(module(module.memory(features, 1 - prediction), tokens)[0][:, 0], logits[:, 0])


@pytest.mark.parametrize("network", NETWORKS)
def test_a_cache_changes_nothing(network: Literal["dpt", "ratchet", "tienet"]) -> None:
    module = made(network, pool=2)
    memory = module.memory(torch.randn(2, 6, 4, 4), torch.rand(2, 5))
    assert memory.shape[1] == 5
    tokens = torch.randint(0, 11, (2, 6))
    whole, _ = module(memory, tokens)
    part, cache = module(memory, tokens[:, :3])
    parts = [part]
    for place in range(3, 6):
        part, cache = module(memory, tokens[:, place : place + 1], cache)
        parts.append(part)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def chain(steps: Tensor) -> object:
    """A writer whose next token depends on the last one: ``steps [v, v]`` are logits."""

    def step(tokens: Tensor, cache: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        return steps[tokens], [torch.zeros(len(tokens), 1)]

    return step


def test_beams_find_the_best_of_all_sentences() -> None:
    generator = torch.Generator().manual_seed(1)
    steps = torch.randn(5, 5, generator=generator) * 2
    logp = steps.log_softmax(-1)
    best, most = (), -math.inf
    for length in range(4):
        for text in itertools.product(range(4), repeat=length):
            path = [0, *text, 4]
            value = sum(float(logp[a, b]) for a, b in itertools.pairwise(path)) / (length + 1)
            best, most = (text, value) if value > most else (best, most)
    found = search(chain(steps), [0], 4, Decoding(beams=64, longest=4, repeat=0))  # type: ignore[arg-type]
    assert found.tokens == best and found.ended and found.score == pytest.approx(most, abs=1e-5)


def test_hypotheses_keep_to_what_is_allowed_and_come_in_order() -> None:
    steps = torch.randn(5, 5, generator=torch.Generator().manual_seed(2))
    after = {(): (0, 2), (0,): (1,), (2,): (1, 4), (0, 1): (4,), (2, 1): (4,)}
    decoding = Decoding(beams=8, longest=4, repeat=0, patience=3)
    found = hypotheses(chain(steps), [3], 4, decoding, allowed=lambda text: after.get(tuple(text), (4,)))  # type: ignore[arg-type]
    assert {one.tokens for one in found} == {(2,), (0, 1), (2, 1)} and all(one.ended for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_greedy_is_a_beam_of_one_and_repetition_is_stopped() -> None:
    steps = torch.full((4, 4), -9.0)
    steps[0, 1], steps[1, 2], steps[2, 1], steps[2, 3] = 0.0, 0.0, 0.0, -1.0  # 1 2 1 2 ... for ever; 3 is the end
    step = chain(steps)
    again = search(step, [0], 3, Decoding(beams=1, longest=10, repeat=0))  # type: ignore[arg-type]
    assert again.tokens == (1, 2) * 5 and not again.ended
    stopped = search(step, [0], 3, Decoding(beams=1, longest=10, repeat=2))  # type: ignore[arg-type]
    assert (
        stopped.tokens[:3] == (1, 2, 1) and len(set(zip(stopped.tokens, stopped.tokens[1:]))) == len(stopped.tokens) - 1
    )
    assert greedy(step, [0], 2, 3, Decoding(beams=1, longest=10, repeat=0)) == [again.tokens] * 2  # type: ignore[arg-type]
    assert 2 not in search(step, [0], 3, Decoding(beams=2, longest=5), never=(2,)).tokens  # type: ignore[arg-type]


def test_the_decoder_is_gpt2() -> None:
    """The same weights in a decoder written out slowly, as the paper has it."""
    torch.manual_seed(0)
    decoder = Decoder(13, width=8, layers=1, heads=2, context=6, dropout=0.0).eval()
    x = torch.randn(1, 4, 8)
    logits, _ = decoder(x)
    weights = decoder.state_dict()

    def norm(v: Tensor, name: str) -> Tensor:
        centred = v - v.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def line(v: Tensor, name: str) -> Tensor:
        return v @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    v = x[0] + weights["wpe.weight"][:4]
    query, key, value = line(norm(v, "h.0.ln_1"), "h.0.attn.c_attn").split(8, -1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        scores = query[:, part] @ key[:, part].T / 2
        scores[torch.ones(4, 4).triu(1).bool()] = -torch.inf
        heads.append(scores.softmax(-1) @ value[:, part])
    v = v + line(torch.cat(heads, -1), "h.0.attn.c_proj")
    inner = line(norm(v, "h.0.ln_2"), "h.0.mlp.c_fc")
    inner = 0.5 * inner * (1 + torch.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
    v = v + line(inner, "h.0.mlp.c_proj")
    assert torch.allclose(norm(v, "ln_f") @ weights["wte.weight"].T, logits[0], atol=1e-5)


def test_three_states_are_log_odds() -> None:
    states = torch.randn(2, 6)
    p = states.reshape(2, 2, 3).softmax(-1)
    assert torch.allclose(live(states), (p[..., 1] + p[..., 2]).log() - p[..., 0].log(), atol=1e-5)
    assert torch.equal(ThreeStates(torch.nn.Identity())(states), live(states))
