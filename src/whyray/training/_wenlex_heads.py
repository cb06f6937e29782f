"""Small heads that read z, learned from texts alone and then frozen: its diagnosis, side and severity."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..models._text_autoencoders import TextCoder
from ..models._wenlex import new_head
from ..text.attributes import severity_of, side_of
from ._state import isolated_rng
from ._text_corpora import texts_of
from ._text_plan import TextSource
from ._wenlex_asked import SEVERITIES, SIDES

STEPS = 600
BATCH = 128
SMOOTHED = 0.1
COPIES = 4000  # sentences of a grammar


def fitted_head(
    z: Tensor, labels: Tensor, out: int, *, noise: float, steps: int, seed: int, binary: bool = False
) -> nn.Module:
    """A head of rows ``z [n, width]`` and their labels ``[n]``, each label drawn as often; frozen.

    ``noise``: deviation of what is added to z in training, so that it reads what lies between the texts as well.
    ``binary``: each logit is a yes or no of its own.
    """
    with isolated_rng(seed):
        head = new_head(z.shape[1], out)
        optimiser = torch.optim.AdamW(head.parameters(), 2e-3, weight_decay=0.01)
        weights = (1 / torch.bincount(labels, minlength=out).clamp(min=1).float())[labels]
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            rows = torch.multinomial(weights, min(BATCH, 4 * len(z)), replacement=True)
            x = z[rows] + noise * torch.randn(len(rows), z.shape[1])
            logits, wanted = head(x), labels[rows]
            named = nf.one_hot(wanted, out).float()
            loss = (
                nf.binary_cross_entropy_with_logits(logits, named)
                if binary
                else nf.cross_entropy(logits, wanted, label_smoothing=SMOOTHED)
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return head.eval().requires_grad_(False)


def heads(
    coder: TextCoder, known: Tensor, diagnosis: Tensor, count: int, corpus: Sequence[str], seed: int, steps: int = STEPS
) -> nn.ModuleDict:
    """``diagnosis`` of the database's vectors ``known [k, width]``, and ``side`` and ``severity`` of the corpus."""
    made = {"diagnosis": fitted_head(known, diagnosis, count, noise=0.3, steps=steps, seed=seed, binary=True)}
    texts = corpus_texts(corpus)
    z = coder.encoded(texts).float().cpu() if texts else known[:1].cpu()
    for name, read, choices in (("side", side_of, SIDES), ("severity", severity_of, SEVERITIES)):
        labels = torch.tensor([choices.index(read(text)) for text in texts] or [len(choices) - 1])
        made[name] = fitted_head(z, labels, len(choices), noise=0.3, steps=steps, seed=seed)
    return nn.ModuleDict(made).requires_grad_(False)


def corpus_texts(corpus: Sequence[str]) -> list[str]:
    """Training texts of these specs, those of databases mirrored too."""
    sources = [TextSource(s, s, copies=COPIES, mirrored=s.startswith("database")) for s in corpus]
    return [text for source in sources for text in texts_of(source, "train")]
