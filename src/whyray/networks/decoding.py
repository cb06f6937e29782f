"""Words out of a network that gives the next one: greedy or beam search, with control of repetition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[Tensor, "list[Tensor] | None"], "tuple[Tensor, list[Tensor]]"]
"""(tokens ``[b, t]``, cache) -> (logits ``[b, t, v]``, cache)"""


@dataclass(frozen=True)
class Decoding:
    """How a sentence is searched for.

    beams    hypotheses kept; 1 = greedy.
    longest  most tokens of a sentence.
    repeat   no run of this many tokens comes twice; 0 = no such rule. Few are too strict: "the left lung" may be named
             twice, and where that is forbidden it is right the second time.
    length   exponent of the length by which a log-probability is divided; 0 favours short sentences.
    patience it ends when this many times ``beams`` hypotheses have (Kasai et al., 2022).
    """

    beams: int = 3
    longest: int = 48
    repeat: int = 6
    length: float = 1.0
    patience: int = 1


@dataclass(frozen=True)
class Written:
    """Tokens without the end, their mean log-probability, and whether the end was reached."""

    tokens: tuple[int, ...]
    score: float
    ended: bool


def search(
    step: Step, prompt: Sequence[int], end: int, decoding: Decoding = Decoding(), never: Sequence[int] = ()
) -> Written:
    """The best of ``hypotheses``."""
    return hypotheses(step, prompt, end, decoding, never)[0]


def hypotheses(
    step: Step,
    prompt: Sequence[int],
    end: int,
    decoding: Decoding = Decoding(),
    never: Sequence[int] = (),
    allowed: Callable[[Sequence[int]], Sequence[int]] | None = None,
) -> list[Written]:
    """Continuations of one prompt, the best first. ``step`` is asked with the prompt first, then with the last token
    of each hypothesis; ``never``: tokens that do not come; ``allowed``: what may follow a text. Run it without
    gradients."""
    logits, cache = step(torch.tensor([list(prompt)]), None)
    texts: list[tuple[int, ...]] = [()]
    scores = torch.zeros(1)
    done: list[Written] = []
    for _ in range(decoding.longest):
        logp = logits[:, -1].float().log_softmax(-1).cpu()
        for row, text in zip(logp, texts, strict=True):
            row[list(never)] = -torch.inf
            row[_again(text, decoding.repeat)] = -torch.inf
            if allowed is not None:
                row[~_marked(allowed(text), len(row))] = -torch.inf
        best, flat = (scores[:, None] + logp).flatten().topk(min(2 * decoding.beams, logp.numel()))
        parents, tokens = (flat // logp.shape[1]).tolist(), (flat % logp.shape[1]).tolist()
        found = [(float(s), p, t) for s, p, t in zip(best, parents, tokens, strict=True) if s > -torch.inf]
        done += [_written(texts[p], s, decoding, True) for s, p, t in found[: decoding.beams] if t == end]
        live = [(s, p, t) for s, p, t in found if t != end][: decoding.beams]
        if not live or len(done) >= decoding.patience * decoding.beams:
            break
        texts = [(*texts[p], t) for _, p, t in live]
        scores = torch.tensor([s for s, _, _ in live])
        chosen = torch.tensor([p for _, p, _ in live])
        logits, cache = step(torch.tensor([[t] for _, _, t in live]), [c[chosen] for c in cache])
    if not done:
        done = [_written(text, float(s), decoding, False) for text, s in zip(texts, scores, strict=True)]
    return sorted(done, key=lambda w: -w.score)


def _marked(tokens: Sequence[int], size: int) -> Tensor:
    out = torch.zeros(size, dtype=torch.bool)
    out[list(tokens)] = True
    return out


def _written(text: tuple[int, ...], score: float, decoding: Decoding, ended: bool) -> Written:
    return Written(text, score / max(1, len(text) + ended) ** decoding.length, ended)


def _again(text: Sequence[int], run: int) -> list[int]:
    """Tokens that would repeat a run of ``run`` tokens of the text."""
    if not run or len(text) < run:
        return []
    tail = tuple(text[len(text) - run + 1 :])
    return [text[i + run - 1] for i in range(len(text) - run + 1) if tuple(text[i : i + run - 1]) == tail]


def greedy(
    step: Step, prompt: Sequence[int], rows: int, end: int, decoding: Decoding = Decoding()
) -> list[tuple[int, ...]]:
    """The likeliest next token, again and again, for ``rows`` memories that share a prompt; ``step`` as in ``search``,
    with all rows at each call."""
    logits, cache = step(torch.tensor([list(prompt)] * rows), None)
    texts: list[list[int]] = [[] for _ in range(rows)]
    open_rows = [True] * rows
    for _ in range(decoding.longest):
        logp = logits[:, -1].float().cpu()
        for row, text in zip(logp, texts, strict=True):
            row[_again(text, decoding.repeat)] = -torch.inf
        chosen = logp.argmax(-1)
        for i, token in enumerate(chosen.tolist()):
            open_rows[i] = open_rows[i] and token != end
            if open_rows[i]:
                texts[i].append(token)
        if not any(open_rows):
            break
        logits, cache = step(chosen[:, None], cache)
    return [tuple(text) for text in texts]
