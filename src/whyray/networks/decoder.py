"""A transformer decoder in GPT-2's layout (Radford et al., 2019), with cross-attention where it is asked for.

Module names are GPT-2's, so that published weights fit: only its ``Conv1D`` matrices are stored transposed there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

Cache = list[Tensor]
"""keys and values ``[b, heads, t, d]`` of each layer, in turns."""


class SelfAttention(nn.Module):
    """Each place reads those before it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, past: Cache) -> tuple[Tensor, Cache]:
        query, key, value = (_split(part, self.heads) for part in self.c_attn(x).chunk(3, dim=-1))
        if past:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=x.device)
        seen = seen.tril(key.shape[2] - query.shape[2])
        out = nf.scaled_dot_product_attention(query, key, value, seen, self.dropout if self.training else 0.0)
        return self.c_proj(_joined(out)), [key, value]


class CrossAttention(nn.Module):
    """Each place reads the whole memory."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q_attn = nn.Linear(width, width)
        self.c_attn = nn.Linear(width, 2 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        query = _split(self.q_attn(x), self.heads)
        key, value = (_split(part, self.heads) for part in self.c_attn(memory).chunk(2, dim=-1))
        out = nf.scaled_dot_product_attention(query, key, value, None, self.dropout if self.training else 0.0)
        return self.c_proj(_joined(out))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Wide, GELU, narrow."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(nf.gelu(self.c_fc(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Self-attention, cross-attention where there is a memory to read, and an MLP; each added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads, dropout)
        if cross:
            self.ln_cross_attn = nn.LayerNorm(width)
            self.crossattention = CrossAttention(width, heads, dropout)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)
        self.drop, self.cross = nn.Dropout(dropout), cross

    def forward(self, x: Tensor, memory: Tensor | None, past: Cache) -> tuple[Tensor, Cache]:
        read, cache = self.attn(self.ln_1(x), past)
        x = x + self.drop(read)
        if self.cross and memory is not None:
            x = x + self.drop(self.crossattention(self.ln_cross_attn(x), memory))
        return x + self.drop(self.mlp(self.ln_2(x))), cache


class Decoder(nn.Module):
    """Vectors ``[b, t, width]`` -> logits ``[b, t, vocabulary]``; the embedding is also the read-out.

    context  places that have a position; ``hidden``: width of the MLPs, 0 = four times ``width``.
    cross    whether the blocks read a memory ``[b, m, width]``.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        hidden: int = 0,
        context: int = 64,
        dropout: float = 0.1,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(Block(width, heads, hidden or 4 * width, dropout, cross) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.context, self.width = context, width
        self.apply(_first)

    def embed(self, tokens: Tensor) -> Tensor:
        """``[b, t]`` -> ``[b, t, width]``, without positions."""
        return self.wte(tokens)  # type: ignore[no-any-return]

    def forward(self, x: Tensor, memory: Tensor | None = None, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """``cache``: what this returned for the places before ``x``."""
        before = cache[0].shape[2] if cache else 0
        places = torch.arange(before, before + x.shape[1], device=x.device)
        x = self.drop(x + self.wpe(places))
        kept: Cache = []
        for i, block in enumerate(self.h):
            x, made = block(x, memory, cache[2 * i : 2 * i + 2] if cache else [])
            kept += made
        return self.ln_f(x) @ self.wte.weight.T, kept


def _first(module: nn.Module) -> None:
    """GPT-2's first weights: normal with a deviation of 0.02, biases 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def _split(x: Tensor, heads: int) -> Tensor:
    """``[b, t, width]`` -> ``[b, heads, t, d]``."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """The inverse of ``_split``."""
    return x.transpose(1, 2).flatten(2)
