"""A text as one vector, and back (after AUTOBOT; Montero et al., EMNLP 2021).

encoder     a BERT; frozen where it was pretrained (``networks/text_encoder.py``).
bottleneck  attention that asks with the state of the first token and reads the others: z ``[b, width]``.
decoder     one transformer layer that reads z through a gate, with the encoder's embedding as its own and its read-out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from .decoder import Cache, SelfAttention
from .decoding import Decoding, Step, hypotheses, search
from .text_encoder import Injected, TextEncoder, first_weights

__all__ = ["Bottleneck", "GatedDecoder", "Injected", "TextAutoencoder", "TextEncoder"]


class Bottleneck(nn.Module):
    """States ``[b, t, width]`` -> z ``[b, width]``, normalised: the scale of z says nothing."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """``mask [b, t]``: which places are text."""
        first, others = states[:, :1], states[:, 1:]
        asked = ((self.query, first), (self.key, others), (self.value, others))
        query, key, value = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer, x in asked)
        drop = self.dropout if self.training else 0.0
        read = nf.scaled_dot_product_attention(query, key, value, mask[:, None, None, 1:], drop)
        return self.norm(self.out(read.transpose(1, 2).flatten(1)))  # type: ignore[no-any-return]


class Gate(nn.Module):
    """What a place takes of z: sigmoid(W_h x + W_z z) * (W_v z)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Linear(width, width)
        self.asked = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """``x [b, t, width]``, ``z [b, width]``."""
        gate = torch.sigmoid(self.place(x) + self.asked(z)[:, None])
        return gate * self.value(z)[:, None]  # type: ignore[no-any-return]


class GatedDecoder(nn.Module):
    """One layer: a place reads those before it, then z through a gate, then an MLP; each added and normalised."""

    def __init__(self, width: int, heads: int, longest: int, dropout: float, hidden: int = 0) -> None:
        super().__init__()
        self.positions = nn.Embedding(longest, width)
        self.attention = SelfAttention(width, heads, dropout)
        self.gate = Gate(width)
        self.wide, self.narrow = nn.Linear(width, hidden or 4 * width), nn.Linear(hidden or 4 * width, width)
        self.attention_norm, self.gate_norm, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, z: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Embedded tokens ``[b, t, width]`` -> states; ``cache``: what this returned for the places before ``x``."""
        before = cache[0].shape[2] if cache else 0
        places = torch.arange(before, before + x.shape[1], device=x.device)
        x = self.drop(x + self.positions(places))
        read, kept = self.attention(x, cache or [])
        x = self.attention_norm(x + self.drop(read))
        x = self.gate_norm(x + self.drop(self.gate(x, z)))
        return self.norm(x + self.drop(self.narrow(nf.gelu(self.wide(x))))), kept


class TextAutoencoder(nn.Module):
    """Encoder, bottleneck and decoder. ``longest``: most tokens that are written, the start included."""

    def __init__(self, encoder: TextEncoder, *, heads: int = 4, longest: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        vocabulary, width = encoder.tokens.weight.shape
        self.encoder = encoder
        self.bottleneck = Bottleneck(width, heads, dropout)
        self.decoder = GatedDecoder(width, heads, longest, dropout)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.width, self.longest = width, longest
        for part in (self.bottleneck, self.decoder):
            part.apply(first_weights)

    def encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """z ``[b, width]`` of tokens ``[b, t]``; ``mask [b, t]``: which places are text."""
        return self.bottleneck(self.encoder(tokens, mask), mask)  # type: ignore[no-any-return]

    def decode(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Logits ``[b, t, vocabulary]`` of the token behind each of ``tokens [b, t]``, which begin with the start."""
        return self.step(tokens, z, None)[0]

    def step(self, tokens: Tensor, z: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """As ``decode``, for tokens that come behind those of ``cache``; returns the cache with them."""
        states, kept = self.decoder(self.encoder.tokens(tokens), z, cache)
        return states @ self.encoder.tokens.weight.T + self.bias, kept

    @torch.no_grad()
    def write(
        self, z: Tensor, start: int, end: int, longest: int = 0, *, beams: int = 1, never: Sequence[int] = ()
    ) -> list[list[int]]:
        """Tokens of the text of each z ``[b, width]``, without start and end; greedy, or with ``beams`` hypotheses.

        ``longest``: most tokens, 0 = as many as there are positions; ``never``: tokens that do not come.
        """
        most = min(longest or self.longest, self.longest - 1)
        if not len(z):
            return []
        if beams == 1:
            return self._greedy(z, start, end, most, never)
        decoding = Decoding(beams=beams, longest=most, repeat=0)
        return [self._searched(row, start, end, decoding, never) for row in z[:, None]]

    @torch.no_grad()
    def several(
        self, z: Tensor, start: int, end: int, beams: int, allowed: Callable[[Sequence[int]], Sequence[int]]
    ) -> list[list[int]]:
        """Up to ``beams`` texts of ``z [1, width]``, the likeliest first; ``allowed``: what may follow a text."""
        decoding = Decoding(beams=beams, longest=self.longest - 1, repeat=0, patience=3)
        found = hypotheses(self._stepping(z), [start], end, decoding, allowed=allowed)
        return [list(one.tokens) for one in found if one.ended][:beams]

    def _searched(self, z: Tensor, start: int, end: int, decoding: Decoding, never: Sequence[int]) -> list[int]:
        """One text by beam search; ``z [1, width]``."""
        return list(search(self._stepping(z), [start], end, decoding, never).tokens)

    def _stepping(self, z: Tensor) -> Step:
        """What a search asks, for one ``z [1, width]``."""

        def step(tokens: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
            return self.step(tokens.to(z.device), z.expand(len(tokens), -1), cache)

        return step

    def _greedy(self, z: Tensor, start: int, end: int, longest: int, never: Sequence[int]) -> list[list[int]]:
        """All rows at once; a row that has ended goes on unread until all have."""
        last = torch.full((len(z), 1), start, device=z.device)
        done = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        made, cache = [], None
        for _ in range(longest):
            logits, cache = self.step(last, z, cache)
            logits[..., list(never)] = -torch.inf
            last = logits[:, -1].argmax(-1, keepdim=True)
            made.append(last[:, 0])
            done |= last[:, 0] == end
            if bool(done.all()):
                break
        rows = torch.stack(made, 1).tolist()
        return [row[: row.index(end)] if end in row else row for row in rows]
