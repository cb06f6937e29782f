"""Train a generator of explaining sentences, with the classifier that it explains or for one that stays as it is.

After Kayser et al., Explaining Chest X-ray Pathologies in Natural Language, MICCAI 2022 (arXiv 2207.04343).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..contracts import Classifier
from ..errors import SettingError
from ..models._narrators import Sentences, build, prompt
from ..networks.three_states import by_state
from ..text.bpe import BytePairs, learned
from ..types import Report
from ._nle_pairs import Pair, pairs_of, states_of
from ._nle_plan import NlePlan, load_plan, plan_from
from ._nle_score import score_of, written
from ._nle_seen import Listed, Looking, Seen, stored
from .examples import load_cases
from .loop import Task, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NlePlan", "NleTask", "load_plan", "plan_from", "train_nle"]

IGNORED = -100  # places whose next token is not learned


def train_nle(plan: NlePlan, out: Path, report: Report | None = None, *, activations: Path | None = None) -> Path:
    """Train, measure on the test split and write the artefact into ``out``; returns the folder.

    In-model, ``out`` holds the trained classifier as well (``-m OUT``). ``activations``: a store of the classifier's
    features, of which those of the plan's pictures are used. ``out/generated.jsonl`` and ``out/references.jsonl`` are
    the test split, for ``whyray evaluate language``. Run again after a stop, it goes on from the last checkpoint.
    Raises SettingError, DataError, UnmetNeed, LockedError, DiskFullError, Stopped.
    """
    from ..models._resolve import load_model
    from ._nle_finish import finished

    classifier = load_model(plan.classifier, device=plan.loop.device) if plan.classifier else None
    task = NleTask(plan, classifier, out / "cache", activations, report)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out, report)


@dataclass(frozen=True, eq=False)
class Split:
    """One split: its cases, the pairs to learn or to write, the states ``[n, f]``, and what is seen of the pictures."""

    cases: Listed
    pairs: tuple[Pair, ...]
    states: NDArray[np.int64]
    seen: Seen


class NleTask(Task):
    """A generator's pairs, loss and validation."""

    def __init__(
        self,
        plan: NlePlan,
        classifier: Classifier | None,
        cache: Path,
        activations: Path | None = None,
        report: Report | None = None,
    ) -> None:
        self.plan, self.classifier, self.cache, self.activations = plan, classifier, cache, activations
        self.findings = classifier.findings if classifier else plan.findings
        self.train, self.val = (self.split(name, report) for name in ("train", "val"))
        self.diagnoses = plan.diagnoses or tuple(sorted({p.diagnosis for p in self.train.pairs}))
        self.tokenizer = self._tokenizer()
        self.balance = balance(self.train.states, plan.weighting)
        counts = [len(s.pairs) for s in (self.train, self.val)]
        prints = {"fingerprint": classifier.fingerprint if classifier else "", "pairs": counts}
        self.about = {**plan.settings, **prints, "tokens": len(self.tokenizer)}

    def split(self, name: str, report: Report | None = None) -> Split:
        """The cases of a split that have a pair, or all of them where a classifier learns from their labels."""
        plan, wanted = self.plan, set(self.plan.diagnoses or self.findings)
        every = [(source.spec, case) for source in plan.data for case in load_cases(source, name)]
        told = [case for _, case in every]
        pairs = pairs_of(told, self.cache, test=name == "test", audience=plan.audience, report=report)
        pairs = tuple(p for p in pairs if p.diagnosis in wanted)
        listed = every[: plan.tested] if name == "test" else every
        pairs = tuple(p for p in pairs if p.case < len(listed))
        states = states_of([case for _, case in listed], pairs, self.findings)
        return Split(listed, pairs, states, self._seen(name, listed, report))

    def _seen(self, name: str, listed: Listed, report: Report | None) -> Seen:
        if self.classifier is not None:
            folder = self.cache / f"activations-{name}"
            return stored(self.classifier, listed, folder, self.activations, report)
        vision = new_vision(self.plan).eval()
        with torch.inference_mode():
            features: Tensor = vision.features(torch.zeros(1, 1, self.plan.size, self.plan.size))  # type: ignore[operator]
        grid = features.shape[2], features.shape[3]
        return Looking(self.plan, listed, self.cache / f"pictures-{name}", features.shape[1], grid)

    def _tokenizer(self) -> BytePairs:
        """The pretrained one, or one learned from the training sentences."""
        if self.plan.pretrained:
            from ._nle_pretrained import folder_of, published

            return published(folder_of(self.plan.pretrained))
        texts = [text for pair in self.train.pairs for text in pair.texts]
        names = [d.replace("_", " ") for d in self.diagnoses]
        return learned([*texts, *names], self.plan.vocabulary)

    def build(self) -> nn.Module:
        """``narrator``, and ``vision`` where a classifier is trained."""
        seen = self.train.seen
        made = build(self.plan.architecture, len(self.tokenizer), seen.depth, seen.grid, seen.predictions)
        if self.plan.pretrained:
            from ._nle_pretrained import fill

            fill(made, self.plan.pretrained)
        parts: dict[str, nn.Module] = {"narrator": made}
        if self.classifier is None:
            parts["vision"] = new_vision(self.plan)
        return nn.ModuleDict(parts)

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Every pair once."""
        return rng.permutation(len(self.train.pairs))

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Cross-entropy of the words, and of the states of a classifier that learns."""
        pairs = [self.train.pairs[i] for i in examples]
        rows = [p.case for p in pairs]
        features, probabilities, states = self.train.seen(module, rows, epoch)
        targets = torch.from_numpy(self.train.states[rows])
        if self.plan.forcing == "labels":
            probabilities = forced(probabilities, targets)
        tokens, wanted = self._sentences(pairs, examples, epoch)
        device = next(module.parameters()).device
        narrator = module["narrator"]  # type: ignore[index]
        memory = narrator.memory(features.to(device), probabilities.detach().to(device))
        logits, _ = narrator(memory, tokens.to(device))
        words = nf.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten().to(device), ignore_index=IGNORED)
        return words if states is None else words + self.plan.image * self._image_loss(states, targets)

    def _image_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Mean weighted cross-entropy of the known states."""
        three, wanted = by_state(states).float(), targets.to(states.device)
        weights = self.balance.to(states.device).expand(len(three), -1, -1)
        picked = wanted.clamp(min=0)[..., None]
        errors = -three.log_softmax(-1).gather(-1, picked) * weights.gather(-1, picked)
        known = (wanted >= 0)[..., None]
        mean: Tensor = (errors * known).sum() / known.sum().clamp(min=1)
        return mean

    def _sentences(self, pairs: Sequence[Pair], examples: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """Tokens ``[b, t]`` and, at each place, the next one to learn; ``IGNORED`` in the prompt and behind the end."""
        tokens, wanted = [], []
        for pair, i in zip(pairs, examples, strict=True):
            which = np.random.default_rng([self.plan.loop.seed, 3, epoch, i]).integers(len(pair.texts))
            asked = prompt(self.tokenizer, pair.diagnosis)
            text = self.tokenizer.encode(pair.texts[int(which)])[: self.plan.decoding.longest]
            tokens.append([*asked, *text])
            wanted.append([*[IGNORED] * (len(asked) - 1), *text, self.tokenizer.end])
        longest = max(map(len, tokens))
        filled = [t + [self.tokenizer.end] * (longest - len(t)) for t in tokens]
        learned_at = [w + [IGNORED] * (longest - len(w)) for w in wanted]
        return torch.tensor(filled), torch.tensor(learned_at)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """The published criterion AUC x CLEV x mean(BERTScore, METEOR) on the first pairs, then its parts."""
        pairs = self.val.pairs[: self.plan.validated]
        texts, probabilities = written(self, module, self.val, pairs, check)
        return score_of(self, self.val, pairs, texts, probabilities)[0]

    def sentences(self, module: nn.Module, fingerprint: str = "") -> Sentences:
        """The generator in ``module``, as it explains."""
        states = module["vision"].classifier if self.classifier is None else None  # type: ignore[index]
        network: Any = self.plan.architecture["network"]
        narrator: Any = module["narrator"]  # type: ignore[index]
        return Sentences(self.plan.name, network, narrator, self.tokenizer, self.diagnoses, states, fingerprint)


def new_vision(plan: NlePlan) -> nn.Module:
    """The plan's DenseNet with three outputs a finding, from where it starts."""
    from .classifier import new_network
    from .plan import ClassifierPlan

    if plan.vision.get("network") != "densenet":
        raise SettingError(f"vision.network = {plan.vision.get('network')!r}; known: densenet")
    three = tuple(f"{finding} {state}" for finding in plan.findings for state in ("negative", "uncertain", "positive"))
    settings = ClassifierPlan(plan.name, plan.findings, plan.data, plan.vision)
    object.__setattr__(settings, "findings", three)
    object.__setattr__(settings, "init", plan.init)
    return new_network(settings)


def forced(probabilities: Tensor, states: Tensor) -> Tensor:
    """Labels in place of predictions where they are known. ``states [b, f]`` of 0, 1, 2 and -1; ``[b, f]`` or
    ``[b, 3 f]`` probabilities, of which uncertain counts as a half in the former."""
    states = states.to(probabilities.device)
    known = states >= 0
    if probabilities.shape[-1] == states.shape[-1]:
        return torch.where(known, states.clamp(min=0).float() / 2, probabilities)
    three = nf.one_hot(states.clamp(min=0), 3).float()
    return torch.where(known[..., None], three, by_state(probabilities)).flatten(1)


def balance(states: NDArray[np.int64], weighting: float) -> Tensor:
    """``[f, 3]``: (1 / share of a state) ** weighting, scaled so that the mean weight of a known label is 1."""
    counts = np.stack([(states == k).sum(0) for k in range(3)], -1).astype(np.float64)
    whole = counts.sum(-1, keepdims=True)
    weights = np.where(counts > 0, (np.maximum(whole, 1) / np.maximum(counts, 1)) ** weighting, 1.0)
    mean = (weights * counts).sum(-1, keepdims=True) / np.maximum(whole, 1)
    return torch.from_numpy((weights / np.where(mean > 0, mean, 1.0)).astype(np.float32))
