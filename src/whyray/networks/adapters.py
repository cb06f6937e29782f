"""Adapters: how a frozen text encoder reads a picture and a prediction beside the name of a diagnosis.

Each takes the encoder, features ``[b, d, h, w]``, probabilities ``[b, f]`` and the tokens of the diagnosis, and gives
the encoder's states ``[b, t, width]`` with their mask. The encoder's own weights stay as they are.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from .text_encoder import Injected, TextEncoder


@dataclass(frozen=True)
class Sight:
    """What there is to read: depth of the features, how many probabilities, and the encoder's sizes."""

    depth: int
    predictions: int
    width: int
    layers: int
    heads: int


class Adapter(nn.Module, ABC):
    """What all adapters share: the picture as tokens."""

    def __init__(self, sight: Sight, side: int) -> None:
        super().__init__()
        self.visual = VisualTokens(sight, side)

    @abstractmethod
    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States ``[b, t', width]``, the first that of the first token, and their mask ``[b, t']``."""


class VisualTokens(nn.Module):
    """Features and probabilities -> ``[b, side * side + 1, width]``: a token a cell with its place, and one of all
    probabilities."""

    def __init__(self, sight: Sight, side: int) -> None:
        super().__init__()
        self.side = side
        self.cell = nn.Linear(sight.depth, sight.width)
        self.prediction = nn.Linear(sight.predictions, sight.width)
        self.norm = nn.LayerNorm(sight.width)
        self.places = nn.Parameter(0.2 * torch.randn(side * side + 1, sight.width))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        cells = nf.adaptive_avg_pool2d(features, (self.side, self.side)).flatten(2).transpose(1, 2)
        made = torch.cat([self.cell(cells), self.prediction(probabilities)[:, None]], 1)
        return self.norm(made) + self.places  # type: ignore[no-any-return]

    @torch.no_grad()
    def begin(self, read_out: Tensor, mean: Tensor, std: Tensor) -> None:
        """Let the first numbers of a cell be its standardised parts of the logits, as far as there is room.

        read_out ``[f, d]`` of the logits; mean, std ``[d]`` of the channels, taken as independent.
        """
        rows = read_out[: len(self.cell.weight)].float()
        spread = ((rows * std) ** 2).sum(1, keepdim=True).sqrt().clamp(min=1e-6)
        self.cell.weight[: len(rows)] = rows / spread
        self.cell.bias[: len(rows)] = -(rows @ mean) / spread[:, 0]


class VisionToAdapter(nn.Module):
    """Visual tokens -> ``[b, tokens, width]``: what learned questions read in them through a small transformer."""

    def __init__(self, width: int, tokens: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.out = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, seen: Tensor) -> Tensor:
        x = torch.cat([self.queries.expand(len(seen), -1, -1), seen], 1)
        for block in self.blocks:
            x = block(x)
        return self.out(x[:, : len(self.queries)])  # type: ignore[no-any-return]


class LlamaAdapter(Adapter):
    """Multimodal LLaMA-Adapter (Zhang et al., ICLR 2024): learned tokens of each layer, moved by what a small
    transformer reads in the picture, are attended to in a softmax of their own, behind a gate that starts at 0."""

    def __init__(self, sight: Sight, *, side: int = 7, tokens: int = 10, blocks: int = 2, heads: int = 4) -> None:
        super().__init__(sight, side)
        self.reads = VisionToAdapter(sight.width, tokens, blocks, heads)
        self.own = nn.Parameter(0.02 * torch.randn(sight.layers, tokens, sight.width))
        self.gates = nn.Parameter(torch.zeros(sight.layers, sight.heads))

    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen = self.reads(self.visual(features, probabilities))
        injected = []
        for layer, own, gate in zip(encoder.layers, self.own, self.gates, strict=True):
            attention: Any = layer.attention
            mixed = own + seen
            keys, values = (attention.split(read(mixed)) for read in (attention.key, attention.value))
            injected.append(Injected(keys, values, gate))
        return encoder(tokens, mask, injected=injected), mask


class QueryAdapter(Adapter):
    """What learned questions read in the picture and in the diagnosis stands in the text as words of its own (after the
    Q-Former; Li et al., ICML 2023): the bottleneck reads them like a sentence."""

    def __init__(self, sight: Sight, *, side: int = 7, tokens: int = 12, blocks: int = 2, heads: int = 4) -> None:
        super().__init__(sight, side)
        self.reads = VisionToAdapter(sight.width, tokens, blocks, heads)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        words = encoder.tokens(tokens) * mask[..., None]
        seen = self.reads(torch.cat([words / words.std().clamp(min=1e-3), self.visual(features, probabilities)], 1))
        spread = encoder.tokens.weight.std()
        return beside(encoder, self.scale * spread * seen, tokens, mask)


class PromptAdapter(Adapter):
    """Learned tokens (Lester et al., EMNLP 2021) and those of the picture stand in the text, behind its first token."""

    def __init__(self, sight: Sight, *, side: int = 5, tokens: int = 10) -> None:
        super().__init__(sight, side)
        self.soft = nn.Parameter(0.02 * torch.randn(tokens, sight.width))

    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen = self.visual(features, probabilities)
        return beside(encoder, torch.cat([self.soft.expand(len(seen), -1, -1), seen], 1), tokens, mask)


class PrefixAdapter(Adapter):
    """Learned keys and values of each layer (Li and Liang, ACL 2021); the picture stands in the text."""

    def __init__(self, sight: Sight, *, side: int = 5, tokens: int = 10) -> None:
        super().__init__(sight, side)
        shape = (sight.layers, 2, sight.heads, tokens, sight.width // sight.heads)
        self.prefix = nn.Parameter(0.02 * torch.randn(shape))

    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        seen = self.visual(features, probabilities)
        many = (len(seen), -1, -1, -1)
        injected = [Injected(keys.expand(many), values.expand(many)) for keys, values in self.prefix]
        return beside(encoder, seen, tokens, mask, injected)


class LoraAdapter(Adapter):
    """A step of low rank on each layer's queries and values (Hu et al., ICLR 2022); the picture stands in the text."""

    def __init__(self, sight: Sight, *, side: int = 5, rank: int = 8, alpha: int = 32) -> None:
        super().__init__(sight, side)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.randn(sight.layers, 2, rank, sight.width) / sight.width**0.5)
        self.up = nn.Parameter(torch.zeros(sight.layers, 2, sight.width, rank))

    def forward(
        self, encoder: TextEncoder, features: Tensor, probabilities: Tensor, tokens: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        with self.stepped(encoder):
            return beside(encoder, self.visual(features, probabilities), tokens, mask)

    @contextlib.contextmanager
    def stepped(self, encoder: TextEncoder) -> Iterator[None]:
        """Queries and values with their steps while the block runs."""
        with contextlib.ExitStack() as stack:
            for layer, down, up in zip(encoder.layers, self.down, self.up, strict=True):
                attention: Any = layer.attention
                for k, read in enumerate((attention.query, attention.value)):
                    stack.callback(read.register_forward_hook(self._step(down[k], up[k])).remove)
            yield

    def _step(self, down: Tensor, up: Tensor) -> Any:
        def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + self.scale * (inputs[0] @ down.T) @ up.T

        return after


ADAPTERS: Mapping[str, type[Adapter]] = {
    "llama": LlamaAdapter,
    "query": QueryAdapter,
    "lora": LoraAdapter,
    "prompt": PromptAdapter,
    "prefix": PrefixAdapter,
}
SETTINGS: Mapping[str, frozenset[str]] = {
    "llama": frozenset({"side", "tokens", "blocks", "heads"}),
    "query": frozenset({"side", "tokens", "blocks", "heads"}),
    "lora": frozenset({"side", "rank", "alpha"}),
    "prompt": frozenset({"side", "tokens"}),
    "prefix": frozenset({"side", "tokens"}),
}


def sight_of(encoder: TextEncoder, depth: int, predictions: int) -> Sight:
    """What an adapter of this encoder reads of features of this depth."""
    attention: Any = encoder.layers[0].attention
    return Sight(depth, predictions, encoder.width, len(encoder.layers), attention.heads)


def beside(
    encoder: TextEncoder, seen: Tensor, tokens: Tensor, mask: Tensor, injected: list[Injected] | None = None
) -> tuple[Tensor, Tensor]:
    """The encoder's states of a text with ``seen [b, m, width]`` behind its first token, and their mask."""
    words = encoder.tokens(tokens)
    embedded = torch.cat([words[:, :1], seen, words[:, 1:]], 1)
    known = torch.cat([mask[:, :1], mask.new_ones(seen.shape[:2]), mask[:, 1:]], 1)
    if embedded.shape[1] > encoder.longest:
        raise ValueError(f"{embedded.shape[1]} tokens, and the encoder has places for {encoder.longest}")
    return encoder(tokens, known, embedded=embedded, injected=injected or ()), known
