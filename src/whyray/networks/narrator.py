"""From an image's features and a prediction to words: the three generators of MIMIC-NLE (Kayser et al., MICCAI 2022).

Each reads the cells of the last feature map and the whole prediction vector as a memory, and continues the prompt
``diagnosis bar`` with a sentence:

dpt      one sequence, [cells] [bar] [prediction] [bar] [prompt] [sentence], through a GPT-2-style decoder.
ratchet  a decoder of prompt and sentence that reads [cells; prediction] by cross-attention (Hou et al., 2021).
tienet   an LSTM of prompt and sentence that reads [cells; prediction] by attention (Wang et al., 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from .attention_lstm import AttentionLSTM
from .decoder import Decoder

Network = Literal["dpt", "ratchet", "tienet"]
Cache = list[Tensor]


class Narrator(nn.Module):
    """What the three share: how memory is made of features ``[b, d, h, w]`` and predictions ``[b, p]`` (0..1).

    cells  places of the feature map, which have learned positions; ``pool``: cells a side that are averaged to one.
    """

    def __init__(self, depth: int, grid: tuple[int, int], predictions: int, width: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool)
        cells = (grid[0] // pool) * (grid[1] // pool)
        self.sees = nn.Linear(depth, width)
        self.predicts = nn.Linear(predictions, width)
        self.norm = nn.LayerNorm(width)
        self.place = nn.Parameter(torch.randn(cells, width) * 0.5)  # of the scale of normalised cells

    def memory(self, features: Tensor, prediction: Tensor) -> Tensor:
        """``[b, cells + 1, width]``; the prediction last."""
        cells = self.norm(self.sees(self.pool(features).flatten(2).transpose(1, 2))) + self.place
        return torch.cat([cells, self.predicts(prediction)[:, None]], 1)

    def forward(self, memory: Tensor, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits of each next token ``[b, t, vocabulary]``; ``cache``: what this returned for the tokens before."""
        raise NotImplementedError


class Dpt(Narrator):
    """One sequence through a decoder; ``bar`` is the token between its parts."""

    def __init__(
        self, decoder: Decoder, bar: int, depth: int, grid: tuple[int, int], predictions: int, pool: int
    ) -> None:
        super().__init__(depth, grid, predictions, decoder.width, pool)
        self.decoder, self.bar = decoder, bar

    def forward(self, memory: Tensor, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        x = self.decoder.embed(tokens)
        if cache:
            return self.decoder(x, None, cache)  # type: ignore[no-any-return]
        bar = self.decoder.embed(tokens.new_full((len(tokens), 1), self.bar))
        logits, kept = self.decoder(torch.cat([memory[:, :-1], bar, memory[:, -1:], bar, x], 1))
        return logits[:, -tokens.shape[1] :], kept


class Ratchet(Narrator):
    """A decoder that reads the memory by cross-attention."""

    def __init__(self, decoder: Decoder, depth: int, grid: tuple[int, int], predictions: int, pool: int) -> None:
        super().__init__(depth, grid, predictions, decoder.width, pool)
        self.decoder = decoder

    def forward(self, memory: Tensor, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        return self.decoder(self.decoder.embed(tokens), memory, cache)  # type: ignore[no-any-return]


class TieNet(Narrator):
    """An LSTM that reads the memory by attention."""

    def __init__(self, lstm: AttentionLSTM, depth: int, grid: tuple[int, int], predictions: int, pool: int) -> None:
        super().__init__(depth, grid, predictions, lstm.wte.embedding_dim, pool)
        self.lstm = lstm

    def forward(self, memory: Tensor, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        return self.lstm(memory, tokens, cache)  # type: ignore[no-any-return]


def narrator(
    network: Network,
    vocabulary: int,
    depth: int,
    grid: tuple[int, int],
    predictions: int,
    settings: Mapping[str, int | float],
) -> Narrator:
    """One of the three. ``settings``: pool, width, dropout, and layers, heads, hidden, words (most tokens of prompt and
    sentence) of the decoders, hidden of the LSTM."""
    rest = dict(settings)
    pool, words = int(rest.pop("pool", 1)), int(rest.pop("words", 64))
    if network == "tienet":
        return TieNet(AttentionLSTM(vocabulary, **rest), depth, grid, predictions, pool)  # type: ignore[arg-type]
    decoder: Callable[..., Decoder] = Decoder
    if network == "ratchet":
        made = decoder(vocabulary, context=words, cross=True, **rest)
        return Ratchet(made, depth, grid, predictions, pool)
    context = (grid[0] // pool) * (grid[1] // pool) + 3 + words
    return Dpt(decoder(vocabulary, context=context, **rest), vocabulary - 2, depth, grid, predictions, pool)
