"""What text autoencoder to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SettingError
from .loop import LoopPlan
from .settings import Plans


@dataclass(frozen=True)
class TextSource:
    """One set of texts; none of them needs a picture.

    spec      "phantom:clinician" or "phantom:lay" (our grammar), "database:clinician" or "database:lay" (our own
              sentences of each diagnosis), "rules" (example sentences of our text rules), or a file: .txt (a line a
              text), .csv or .jsonl (its column or key "nle", else "text"). ``$NAME`` comes from the environment.
    name      short name for tables.
    copies    sentences drawn from a grammar; the others have as many as they have.
    mirrored  each text also with left and right exchanged.
    draws     texts an epoch (every one once before any comes twice); 0 = each once.
    learns    False = only its test texts are measured: what a run that never saw such texts makes of them.
    about, licence  for the card.
    """

    spec: str
    name: str
    copies: int = 8000
    mirrored: bool = False
    draws: int = 0
    learns: bool = True
    about: str = ""
    licence: str = ""


@dataclass(frozen=True)
class TextPlan:
    """A text autoencoder to train (after Montero et al., EMNLP 2021).

    architecture  width, layers, heads, hidden, longest (tokens) and dropout; see networks/text_autoencoder.py.
    encoder       folder of a published BERT, or hf-hub:NAME in the local cache: its encoder stays as it is. Empty = one
                  is trained with the rest.
    vocabulary    tokens that are learned from the training texts, where the encoder is our own.
    masked        share of the input's tokens that are hidden while it learns (denoising).
    crossed       chance that a training text goes on, from some word, with the end of another one.
    swapped       chance that a word of a training text is replaced by any word of them. Both change input and target:
                  the vector must then hold words, where known phrases would do.
    smoothing     of the labels.
    noise         deviation of Gaussian noise on z while it learns; a coordinate of z has a deviation of 1.
    validated, tested  texts at most of each source's validation and test splits that are measured.
    """

    name: str
    data: tuple[TextSource, ...]
    architecture: Mapping[str, Any] = field(default_factory=lambda: {"width": 128})
    encoder: str = ""
    loop: LoopPlan = field(default_factory=lambda: LoopPlan(keep="best"))
    vocabulary: int = 1024
    masked: float = 0.15
    crossed: float = 0.0
    swapped: float = 0.0
    smoothing: float = 0.1
    noise: float = 0.0
    validated: int = 200
    tested: int = 400
    licence: str = "unknown"
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not any(source.learns for source in self.data):
            raise SettingError(f"the plan {self.name!r} needs at least one set of texts that it learns from")
        if len({s.name for s in self.data}) != len(self.data):
            raise SettingError(f"the plan {self.name!r} has two sets of texts of one name; name them apart")
        for name in ("masked", "crossed", "swapped", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)} came; give a share from 0 to below 1")
        if self.noise < 0 or self.vocabulary < 258 or self.validated < 1 or self.tested < 1:
            raise SettingError("noise is 0 or more, vocabulary 258 or more, validated and tested 1 or more")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the weights, as plain JSON; folders by their names."""
        after = ("name", "loop", "licence", "limits", "tested", "encoder")
        return {**{k: v for k, v in asdict(self).items() if k not in after}, "encoder": Path(self.encoder).name}


_PLANS = Plans(TextPlan, "text")
load_plan, plan_from = _PLANS.load, _PLANS.read
