"""An LSTM that reads a memory by attention at each word (after TieNet, Wang et al., CVPR 2018, arXiv 1801.04334)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionLSTM(nn.Module):
    """Tokens ``[b, t]`` and a memory ``[b, m, width]`` -> logits over the vocabulary ``[b, t, vocabulary]``.

    Before each word the state asks the memory (additive attention); word and answer go into the LSTM. The first state
    comes from the memory's mean.
    """

    def __init__(self, vocabulary: int, *, width: int = 128, hidden: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.first = nn.Linear(width, 2 * hidden)
        self.asks, self.offers = nn.Linear(hidden, width), nn.Linear(width, width)
        self.weighs = nn.Linear(width, 1, bias=False)
        self.cell = nn.LSTMCell(2 * width, hidden)
        self.drop = nn.Dropout(dropout)
        self.reads = nn.Linear(hidden + width, vocabulary)

    def forward(self, memory: Tensor, tokens: Tensor, cache: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """``cache``: the state ``[b, hidden]`` twice that this returned for the tokens before."""
        hidden, inner = cache or self.first(memory.mean(1)).tanh().chunk(2, dim=-1)
        offered = self.offers(memory)
        out = []
        for word in self.drop(self.wte(tokens)).unbind(1):
            weights = self.weighs((self.asks(hidden)[:, None] + offered).tanh()).softmax(1)
            answer = (weights * memory).sum(1)
            hidden, inner = self.cell(torch.cat([word, answer], -1), (hidden, inner))
            out.append(self.reads(torch.cat([self.drop(hidden), answer], -1)))
        return torch.stack(out, 1), [hidden, inner]
