"""Train a text autoencoder: denoising, one vector a text (after Montero et al., AUTOBOT, EMNLP 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..models._text_autoencoders import TextCoder, Tokenizer, around, build, padded, save_coder
from ..text.bpe import learned
from ..types import Report
from ._text_corpora import tests_of, texts_of
from ._text_measure import Held, measured, reconstruction
from ._text_plan import TextPlan, load_plan, plan_from
from .examples import mixed_order
from .loop import Task, Trained, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TextPlan", "TextTask", "load_plan", "plan_from", "train_text_autoencoder"]

IGNORED = -100  # places behind the end


def train_text_autoencoder(plan: TextPlan, out: Path, report: Report | None = None) -> Path:
    """Train, measure on the test texts and write the artefact into ``out``; returns the folder.

    Run again after a stop, it goes on from the last checkpoint. Raises SettingError, DataError, MissingExtra,
    LockedError, DiskFullError, Stopped.
    """
    task = TextTask(plan)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out)


class TextTask(Task):
    """A text autoencoder's texts, loss and validation."""

    def __init__(self, plan: TextPlan) -> None:
        self.plan = plan
        self.sources = tuple(source for source in plan.data if source.learns)
        texts = [texts_of(source, "train") for source in self.sources]
        self.source = np.concatenate([np.full(len(part), i) for i, part in enumerate(texts)])
        self.texts = tuple(text for part in texts for text in part)
        self.words = tuple(sorted({word for text in self.texts for word in text.split()}))
        self.tokenizer = self._tokenizer()
        self.val = tuple(text for source in self.sources for text in texts_of(source, "val")[: plan.validated])
        self.about = {**plan.settings, "texts": [len(part) for part in texts], "tokens": len(self.tokenizer)}

    def _tokenizer(self) -> Tokenizer:
        """The published encoder's, or one learned from the training texts."""
        if self.plan.encoder:
            from ..models._bert import frozen_encoder

            return frozen_encoder(self.plan.encoder).tokenizer
        return learned(self.texts, self.plan.vocabulary)

    def build(self) -> nn.Module:
        """The autoencoder; a published encoder is in it, without gradients."""
        if self.plan.encoder:
            from ..models._bert import frozen_encoder

            return around(frozen_encoder(self.plan.encoder).module, self.plan.architecture)
        return build(self.plan.architecture, len(self.tokenizer))

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Each source's share of the epoch, mixed."""
        return mixed_order(self.sources, self.source, rng)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Cross-entropy of each text's tokens, read from a vector of its tokens with some of them hidden."""
        rows = [
            self._changed(self.texts[i], np.random.default_rng([self.plan.loop.seed, 3, epoch, i])) for i in examples
        ]
        coder = self.coder(module)
        seen, mask = coder.batch([coder.framed(hidden) for _, hidden in rows])
        most = len(seen[0]) - 2
        before, _ = padded([[self.tokenizer.start, *tokens[:most]] for tokens, _ in rows], self.tokenizer.end)
        behind, _ = padded([[*tokens[:most], self.tokenizer.end] for tokens, _ in rows], IGNORED)
        device = next(module.parameters()).device
        z = module.encode(seen.to(device), mask.to(device))  # type: ignore[operator]
        logits = module.decode(before.to(device), z + self.plan.noise * torch.randn_like(z))  # type: ignore[operator]
        return nf.cross_entropy(
            logits.flatten(0, 1).float(),
            behind.flatten().to(device),
            ignore_index=IGNORED,
            label_smoothing=self.plan.smoothing,
        )

    def _changed(self, text: str, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """(tokens to write, tokens to read): words changed in both, tokens hidden in the latter."""
        words = text.split()
        if self.plan.crossed and rng.random() < self.plan.crossed:
            other = self.texts[int(rng.integers(len(self.texts)))].split()
            words = words[: int(rng.integers(1, len(words) + 1))] + other[int(rng.integers(len(other))) :]
        swap = rng.random(len(words)) < self.plan.swapped
        words = [self.words[int(rng.integers(len(self.words)))] if s else w for w, s in zip(words, swap)]
        tokens = self.tokenizer.encode(" ".join(words))
        hide = rng.random(len(tokens)) < self.plan.masked
        return tokens, [self.tokenizer.blank if h else t for t, h in zip(tokens, hide)]

    def coder(self, module: nn.Module) -> TextCoder:
        """The autoencoder in ``module`` with its tokenizer."""
        return TextCoder(self.plan.name, self.tokenizer, module)  # type: ignore[arg-type]

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """Reconstruction BLEU-4 of the validation texts, and the share that comes back word for word."""
        return reconstruction(self.coder(module), self.val, check)


def finished(task: TextTask, trained: Trained, out: Path) -> Path:
    """Measure the kept weights on the test texts, and write the artefact."""
    plan = task.plan
    module = task.build().eval()
    module.load_state_dict(dict(trained.weights))
    counts = dict(zip((s.name for s in task.sources), np.bincount(task.source).tolist()))
    held = [Held(*part) for source in plan.data for part in tests_of(source, plan.tested)]
    facts = {
        "architecture": dict(plan.architecture),
        "licence": plan.licence,
        "limits": list(plan.limits),
        "data": [
            {"name": s.name, "about": s.about, "licence": s.licence, "texts": counts.get(s.name, 0)} for s in plan.data
        ],
        "results": measured(task.coder(module), held),
        "provenance": {
            "plan": {**plan.settings, "loop": asdict(plan.loop)},
            "history": [dict(h) for h in trained.history],
            "seconds": trained.seconds,
        },
    }
    if plan.encoder:
        from ..models._bert import frozen_encoder

        facts["encoder"] = {"source": plan.encoder, "sha256": frozen_encoder(plan.encoder).sha256}
    return save_coder(out, TextCoder(plan.name, task.tokenizer, module, facts))  # type: ignore[arg-type]
