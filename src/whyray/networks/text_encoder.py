"""A BERT encoder of texts (Devlin et al., 2019), with places where adapters put keys and values into its attention.

Published BERT weights fit (``models/_bert.py``); a small one is trained from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

EPSILON = 1e-12  # of BERT's norms


@dataclass(frozen=True, eq=False)
class Injected:
    """What an adapter adds to one layer's attention.

    keys, values  ``[b, heads, m, d]``, as the layer's own.
    gate          None: they join the text's own keys in one softmax (prefix tuning; Li and Liang, 2021). ``[heads]``:
                  they have a softmax of their own, added times tanh(gate) (zero-init attention; Zhang et al., 2023).
    """

    keys: Tensor
    values: Tensor
    gate: Tensor | None = None


class TextAttention(nn.Module):
    """Each place reads every place of the text, and what was injected."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        """``[b, t, width]`` -> ``[b, heads, t, d]``."""
        parts: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return parts

    def forward(self, x: Tensor, mask: Tensor, injected: Injected | None = None) -> Tensor:
        """``x [b, t, width]``; ``mask [b, t]``: which places are text."""
        query, key, value = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        drop = self.dropout if self.training else 0.0
        if injected is not None and injected.gate is None:
            key, value = torch.cat([injected.keys, key], 2), torch.cat([injected.values, value], 2)
            mask = torch.cat([mask.new_ones(len(mask), injected.keys.shape[2]), mask], 1)
        read = nf.scaled_dot_product_attention(query, key, value, mask[:, None, None], drop)
        if injected is not None and injected.gate is not None:
            apart = nf.scaled_dot_product_attention(query, injected.keys, injected.values, None, drop)
            read = read + injected.gate.tanh()[None, :, None, None] * apart
        return self.out(read.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class TextLayer(nn.Module):
    """Attention, then an MLP; each added to what came in, and normalised."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = TextAttention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width, EPSILON)
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, injected: Injected | None = None) -> Tensor:
        x = self.attention_norm(x + self.drop(self.attention(x, mask, injected)))
        return self.norm(x + self.drop(self.narrow(nf.gelu(self.wide(x)))))  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Tokens ``[b, t]`` -> states ``[b, t, width]``; the first token stands for the whole text.

    longest  places that have a position; ``hidden``: width of the MLPs, 0 = four times ``width``.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        longest: int = 64,
        dropout: float = 0.1,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(longest, width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TextLayer(width, heads, hidden or 4 * width, dropout) for _ in range(layers))
        self.width, self.longest = width, longest
        self.apply(first_weights)

    def forward(
        self, tokens: Tensor, mask: Tensor, *, embedded: Tensor | None = None, injected: Sequence[Injected | None] = ()
    ) -> Tensor:
        """``mask [b, t]``: which places are text. ``embedded [b, t, width]`` stands in place of the tokens' own
        embeddings (soft prompts); ``injected``: one a layer, from the first."""
        x = self.tokens(tokens) if embedded is None else embedded
        places = torch.arange(x.shape[1], device=x.device)
        x = self.drop(self.norm(x + self.positions(places)))
        for i, layer in enumerate(self.layers):
            x = layer(x, mask, injected[i] if i < len(injected) else None)
        states: Tensor = x
        return states


def first_weights(module: nn.Module) -> None:
    """Embeddings normal with BERT's deviation of 0.02; matrices uniform after Glorot and Bengio (2010), biases 0."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
