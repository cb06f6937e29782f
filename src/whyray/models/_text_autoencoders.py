"""Text autoencoders: texts to vectors and back. Artefacts "text-autoencoder", which belong to no classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from ..networks.text_autoencoder import TextAutoencoder
    from ..text.phrases import Phrases

KIND = "text-autoencoder"
SETTINGS = {"width", "layers", "heads", "hidden", "longest", "dropout"}
MOST = 4096
BATCH = 128


class Tokenizer(Protocol):
    """Text to tokens and back: ``text.bpe.BytePairs``, or ``text.wordpiece.WordPieces`` of a published BERT.

    start, bar  before a text, and behind it or between two; ``end``: behind what is written, and in the place of what
                is missing in a batch; ``blank``: in the place of a token that is hidden.
    """

    @property
    def start(self) -> int: ...
    @property
    def bar(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def blank(self) -> int: ...
    def __len__(self) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, tokens: Sequence[int]) -> str: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class TextCoder:
    """A trained text autoencoder with its tokenizer.

    facts  what it was trained on and how well it does, plain JSON.
    """

    name: str
    tokenizer: Tokenizer
    module: TextAutoencoder = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """Length of z."""
        return self.module.width

    def framed(self, tokens: Sequence[int]) -> list[int]:
        """``start tokens bar``, cut to what the encoder has positions for: how a text is read."""
        room = min(self.module.encoder.longest, self.module.longest) - 2
        return [self.tokenizer.start, *tokens[:room], self.tokenizer.bar]

    def batch(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """(tokens ``[b, t]``, mask ``[b, t]``: which of them are text) of rows of tokens of any length."""
        return padded(rows, self.tokenizer.end)

    def encoded(self, texts: Sequence[str]) -> Tensor:
        """z ``[n, width]`` of texts, without gradients."""
        return self.encoded_tokens([self.tokenizer.encode(text) for text in texts])

    def encoded_tokens(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """z ``[n, width]`` of texts that came as tokens (``tokens``), without gradients."""
        import torch

        device = self.module.bias.device
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), BATCH):
                tokens, mask = self.batch([self.framed(row) for row in rows[start : start + BATCH]])
                parts.append(self.module.encode(tokens.to(device), mask.to(device)))
        return torch.cat(parts) if parts else torch.zeros(0, self.width)

    def tokens(self, z: Tensor, beams: int = 1) -> list[list[int]]:
        """Tokens of the text of each z ``[n, width]``; greedy, or with ``beams`` hypotheses."""
        end, never = self.tokenizer.end, {self.tokenizer.start, self.tokenizer.bar, self.tokenizer.blank}
        rows: list[list[int]] = []
        for start in range(0, len(z), BATCH):
            some = z[start : start + BATCH]
            rows += self.module.write(some, self.tokenizer.start, end, beams=beams, never=sorted(never - {end}))
        return rows

    def texts(self, z: Tensor, beams: int = 1) -> list[str]:
        """The text of each z ``[n, width]``."""
        return [self.tokenizer.decode(row).strip() for row in self.tokens(z, beams)]

    def candidates(self, z: Tensor, beams: int, phrases: Phrases) -> list[str]:
        """Up to ``beams`` different texts of ``z [width]`` that are made of ``phrases``, the likeliest first."""
        rows = self.module.several(z[None], self.tokenizer.start, self.tokenizer.end, beams, phrases.next)
        return list(dict.fromkeys(self.tokenizer.decode(row).strip() for row in rows))

    def phrases(self, texts: Iterable[str], run: int) -> Phrases:
        """The phrases of texts, and of what these become with other sides, heights and degrees; ``run`` tokens long."""
        from ..text.phrases import phrases_of, varied

        return phrases_of((v for text in texts for v in varied(text)), self.tokenizer.encode, run, self.tokenizer.end)


def padded(rows: Sequence[Sequence[int]], filler: int) -> tuple[Tensor, Tensor]:
    """(tokens ``[b, t]``, mask ``[b, t]``) of rows of any length; ``filler`` behind the shorter ones."""
    import torch

    longest = max(map(len, rows), default=0)
    tokens = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], dtype=torch.long)
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(longest)[None] < lengths[:, None]


def build(architecture: Mapping[str, Any], vocabulary: int) -> TextAutoencoder:
    """A text autoencoder's network. Raises WeightsError for one whyray does not have."""
    from ..networks.text_autoencoder import TextAutoencoder, TextEncoder

    settings = dict(architecture)
    dropout = settings.pop("dropout", 0.1)
    heads, longest = settings.get("heads", 4), settings.get("longest", 64)
    whole = all(type(v) is int and 0 <= v <= MOST for v in settings.values())
    whole = whole and heads > 0 and settings.get("width", 128) % heads == 0
    if not set(architecture) <= SETTINGS or not whole or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise WeightsError(
            f"the text autoencoder {dict(architecture)!r:.120} came; it has {', '.join(sorted(SETTINGS))}: whole "
            f"numbers up to {MOST}, width a multiple of heads, dropout a share"
        )
    try:
        encoder = TextEncoder(vocabulary, dropout=dropout, **settings)
        return TextAutoencoder(encoder, heads=heads, longest=longest, dropout=dropout)
    except (RuntimeError, ZeroDivisionError, ValueError) as error:
        raise WeightsError(f"the text autoencoder {dict(architecture)!r:.120} cannot be built: {error}") from None


def held(coder: TextCoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(facts, tensors in float16) from which ``coder_of`` makes the coder again, for an artefact.

    Of a pretrained encoder, which stayed as it was, the facts hold the name and hash, and no tensor is kept.
    """
    from ..io.weights import halved

    tensors = halved(coder.module.state_dict())
    if coder.facts.get("encoder"):
        tensors = {k: v for k, v in tensors.items() if not k.startswith("encoder.")}
    return {**coder.facts, "name": coder.name, "tokenizer": coder.tokenizer.to_json()}, tensors


def coder_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> TextCoder:
    """The coder of which ``held`` gave these; ``source`` names it in errors. Raises WeightsError."""
    from ..io.weights import load_into, widened

    tokenizer = tokenizer_of(facts.get("tokenizer", {}))
    filled = widened(tensors)
    if facts.get("encoder"):
        from ._bert import frozen_encoder

        encoder = frozen_encoder(facts["encoder"]["source"], sha256=facts["encoder"]["sha256"])
        module = around(encoder.module, facts["architecture"])
        filled |= {f"encoder.{k}": v for k, v in encoder.module.state_dict().items()}
    else:
        module = build(facts["architecture"], len(tokenizer))
    load_into(module.float(), filled, source)
    return TextCoder(str(facts.get("name", source)), tokenizer, module.eval().requires_grad_(False), dict(facts))


def around(encoder: Any, architecture: Mapping[str, Any]) -> TextAutoencoder:
    """Bottleneck and decoder for an encoder that is there; of ``architecture`` heads, longest and dropout count."""
    from ..networks.text_autoencoder import TextAutoencoder

    chosen = {k: v for k, v in architecture.items() if k in ("heads", "longest", "dropout")}
    return TextAutoencoder(encoder, **chosen)


def tokenizer_of(data: Mapping[str, Any]) -> Tokenizer:
    """What a tokenizer's ``to_json`` gave. Raises WeightsError for anything else."""
    from ..text import bpe, wordpiece

    return wordpiece.from_json(data) if "words" in data else bpe.from_json(data)


def save_coder(folder: Path, coder: TextCoder) -> Path:
    """Write the coder as an artefact; returns its folder."""
    from ..io.artefacts import Artefact, save_artefact

    facts, tensors = held(coder)
    return save_artefact(folder, Artefact(KIND, "", tensors, facts))


def load_coder(folder: str | Path) -> TextCoder:
    """The text autoencoder in an artefact's folder. Raises WeightsError where it is missing or damaged."""
    from ..io.artefacts import NAME, load_artefact

    folder = Path(folder)
    if not (folder / NAME).is_file():
        raise WeightsError(f"{folder} holds no text autoencoder; train one: whyray train text-autoencoder PLAN -o OUT")
    artefact = load_artefact(folder, KIND, "")
    return coder_of(artefact.facts, artefact.tensors, f"the text autoencoder {folder.name}")
