"""Train a generator of explaining sentences from a few examples a diagnosis, without a pair of picture and sentence.

After WeNLEX (Rio-Torto, Cardoso and Teixeira, arXiv 2603.18752). What the paper leaves open is a setting of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..models._text_autoencoders import load_coder
from ..models._wenlex import WeakGenerator, drawn_pictures, latents_of, load_weak
from ..types import Report
from . import _wenlex_losses as losses
from ._wenlex_batch import Batch, balanced, batch_of, rebuilt_from
from ._wenlex_heads import heads
from ._wenlex_joint import around, copied, image_loss, looked_at, pictures_of, seeing
from ._wenlex_parts import Parts
from ._wenlex_plan import WenlexPlan, load_plan, plan_from
from ._wenlex_seen import Measures, Split, split_of
from ._wenlex_words import known_of
from .loop import Task, train
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WenlexPlan", "WenlexTask", "load_plan", "plan_from", "train_wenlex"]


def train_wenlex(
    plan: WenlexPlan,
    out: Path,
    report: Report | None = None,
    *,
    activations: Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Train, measure on the test split and write the artefact into ``out``; returns the folder.

    ``cache``: where pictures and features are kept, for several runs on the same data; None = in ``out``.
    ``activations``: a store of the classifier's features, of which those of the plan's pictures are used. In-model,
    ``out`` holds the trained classifier as well (``-m OUT``). Run again after a stop, it goes on from the last
    checkpoint. Raises SettingError, DataError, UnmetNeed (a classifier without features or gradients), LockedError,
    DiskFullError, Stopped.
    """
    from ..models._resolve import load_model
    from ._wenlex_finish import finished

    classifier = load_model(plan.classifier, device=plan.loop.device)
    if "gradients" not in classifier.capabilities:
        raise UnmetNeed(f"{classifier.name} has no gradients; pictures are fitted by them: name another classifier")
    task = WenlexTask(plan, classifier, cache or out / "cache", activations, report)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out, report)


class WenlexTask(Task):
    """A generator's pictures, terms and validation."""

    def __init__(
        self,
        plan: WenlexPlan,
        classifier: Classifier,
        cache: Path,
        activations: Path | None = None,
        report: Report | None = None,
    ) -> None:
        self.plan, self.classifier, self.cache, self.activations = plan, classifier, cache, activations
        self.coder, device = load_coder(expanded(plan.text)), plan.loop.device
        self.coder.module.to(device)
        known = known_of(plan, self.coder, classifier.findings)
        made = heads(self.coder, known.z, known.diagnosis, len(known.diagnoses), plan.corpus, plan.loop.seed)
        self.known, self.heads = known.to(device), made.to(device)
        self.measures: Measures | None = None
        self.train = self.split("train", report)
        self.val = self.split("val", report)
        self.pictures = [
            pictures_of(plan, classifier, split, cache / f"pictures-{name}")
            for name, split in (("train", self.train), ("val", self.val))
            if plan.joint
        ]
        self.columns = torch.tensor([classifier.findings.index(d) for d in self.known.diagnoses], device=device)
        self.about = {
            **plan.settings,
            "fingerprint": classifier.fingerprint,
            "text": self.coder.name,
            "pictures": [len(self.train.cases), len(self.val.cases)],
            "known": [len(entries) for entries in self.known.databases.values()],
        }

    def split(self, name: str, report: Report | None = None) -> Split:
        """The pictures of a split; those of "train" are measured, and come first."""
        found, self.measures = split_of(self, name, report)
        return found

    def build(self) -> nn.Module:
        """Adapters and the network to pictures; and a copy of the classifier, where it is trained."""
        seen = self.train.seen
        parts = Parts(self.plan, self.coder, seen.depth, seen.predictions, self.known.groups)
        assert self.measures is not None
        read_out = torch.from_numpy(seen.store.site.weights)
        for adapter in parts.adapters.values():
            adapter.visual.begin(read_out, self.measures.mean, self.measures.std)  # type: ignore[operator, union-attr]
        if self.plan.init:
            earlier = load_weak(self.plan.init, self.classifier.fingerprint)
            parts.pictures.load_state_dict(earlier.network.state_dict())
            for audience, adapter in parts.adapters.items():
                adapter.load_state_dict(earlier.adapters[audience].state_dict())
        parts.vision = copied(self.classifier) if self.plan.joint else None
        return parts

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Pictures of which something is called, each diagnosis as often as the others."""
        return balanced(self.train.asked.called, self.plan.draws, rng)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """The weighted terms; each is reported by name in the history."""
        assert isinstance(module, Parts)
        plan = self.plan
        seed = [plan.loop.seed, 4, epoch]
        batch = batch_of(examples, self.train.asked.called, len(plan.audiences), plan.labels, seed)
        batch = batch.to(plan.loop.device)
        through = plan.through == "words" and epoch >= plan.latent * plan.loop.epochs
        matched = epoch < plan.matched * plan.loop.epochs
        found = self.terms(module, batch, through=through, matched=matched)
        module.note(found)
        logs, by = module.logs(), plan.weighting
        return losses.weighted(
            found, logs if by.by == "uncertainty" else {k: 0 * s for k, s in logs.items()}, by.stress
        )

    def terms(self, module: Parts, batch: Batch, *, through: bool, matched: bool = False) -> dict[str, Tensor]:
        """Each term of the loss on a batch of training pictures."""
        plan, terms = self.plan, {}
        target, probabilities = (seen.to(plan.loop.device) for seen in self.train.read(batch.rows))
        features, read = target, probabilities
        if module.vision is not None:
            features, logits = seeing(
                self.classifier, module.vision, self.pictures[0].inputs(batch.rows, self.classifier)
            )
            terms["image"] = image_loss(logits, self.pictures[0].labels[np.asarray(batch.rows)])
            read = logits.detach().sigmoid()
        with torch.autocast(plan.loop.device.split(":")[0], enabled=False):
            z = self.latents(module, features, read, batch)
            again = self.again(z) if plan.through == "words" else z
            used = losses.straight_through(z, again) if through else z
            terms |= self._said(module, used, batch, probabilities)
            if matched:
                terms["matching"] = self._matching(z, batch)
            if plan.through == "words":
                terms["commitment"] = losses.commitment(z, again)
        if plan.terms.reconstruction:
            terms["reconstruction"] = self._rebuilt(module, used, batch, target)
        return terms

    def latents(self, module: Parts, features: Tensor, probabilities: Tensor, batch: Batch) -> Tensor:
        """z ``[b, width]`` of the sentences of a batch."""
        out = features.new_zeros(len(batch.whose), self.coder.width)
        for i, adapter in enumerate(module.adapters.values()):
            mine = torch.nonzero(batch.audience == i)[:, 0]
            if len(mine):
                whose = batch.whose[mine]
                names = [self.known.diagnoses[d] for d in batch.diagnosis[mine].tolist()]
                made = latents_of(self.coder, adapter, features[whose], probabilities[whose], names)  # type: ignore[arg-type]
                out = out.index_put((mine,), made)
        return out

    def again(self, z: Tensor) -> Tensor:
        """The vector of the words that z becomes, without gradients."""
        return self.coder.encoded_tokens(self.coder.tokens(z.detach())).to(z)

    def _said(self, module: Parts, z: Tensor, batch: Batch, probabilities: Tensor) -> dict[str, Tensor]:
        """The terms that read vectors alone."""
        plan, asked = self.plan, self.train.asked
        group = self.group(batch)
        terms = {} if plan.terms.plausibility == "none" else {"plausibility": self._plausible(module, z, group)}
        if plan.terms.alignment:
            p = probabilities[batch.whose, self.columns[batch.diagnosis]]
            terms["alignment"] = losses.alignment(self.heads["diagnosis"](z), batch.diagnosis, p, plan.certainty)
        for name, wanted in (("side", asked.sides), ("severity", asked.severities)):
            if getattr(plan.terms, name):
                terms[name] = losses.stated(self.heads[name](z), torch.from_numpy(wanted[batch.places]).to(z.device))
        return terms

    def group(self, batch: Batch) -> Tensor:
        """Of each sentence: audience * diagnoses + diagnosis."""
        return batch.audience * len(self.known.diagnoses) + batch.diagnosis

    def _matching(self, z: Tensor, batch: Batch) -> Tensor:
        """The nearest examples that state what the evidence says."""
        asked, places = self.train.asked, batch.places
        parts = {"side": asked.sides, "severity": asked.severities}
        wanted = {name: torch.from_numpy(part[places]).to(z.device) for name, part in parts.items()}
        return losses.matching(z, self.known.z, self.known.fitting(self.group(batch), wanted))

    def _plausible(self, module: Parts, z: Tensor, group: Tensor) -> Tensor:
        known = self.known
        if module.judge is not None:
            if module.training:
                module.judge.learn(z, known.z, group, known.group)
            score: Tensor = -module.judge.critic(z, group).mean()
            return score
        held = module.memory.rows.clone(), module.memory.filled()
        term = losses.plausibility(z, group, known.z, known.group, *held)
        if module.training:
            module.memory.push(z, group)
        return term

    def _rebuilt(self, module: Parts, z: Tensor, batch: Batch, target: Tensor) -> Tensor:
        """The features of pictures that are made from what was said, beside those of the pictures themselves."""
        plan, measures = self.plan, self.measures
        assert measures is not None
        if plan.rebuilds:
            mine = batch.whose < plan.rebuilds
            z, batch = z[mine], replace(batch, whose=batch.whose[mine])
        z, rows = rebuilt_from(z, batch.whose, plan.rebuilt)
        device = plan.loop.device.split(":")[0]
        with torch.autocast(device, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            x = drawn_pictures(module.pictures, z, self.classifier.card.preparation)
            if module.vision is None:
                made = self.classifier.run(x, ("features",))[1]["features"]
            else:
                made = seeing(self.classifier, module.vision, x)[0]
        scale = measures.mean.to(made.device), measures.std.to(made.device)
        return losses.reconstruction(made.float(), target[rows], *scale, centred=plan.centred, cells=plan.cells)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """How well sentences name their diagnosis and bring back their picture, by their words; then the mean terms of
        the last steps, and their weights."""
        from ._wenlex_measure import validated

        assert isinstance(module, Parts)
        split, classifier = self.val, self.classifier
        if module.vision is not None:
            classifier = around(classifier, module.vision)
            split = looked_at(split, classifier, self.pictures[1])
        numbers = validated(self.generator(module), classifier, split, check)
        return {**numbers, **module.noted(), **{f"weight_{k}": float(torch.exp(-v)) for k, v in module.logs().items()}}

    def generator(self, module: Parts, fingerprint: str = "") -> WeakGenerator:
        """The generator in ``module``, as it explains."""
        return WeakGenerator(
            self.plan.name,
            self.coder,
            self.known.diagnoses,
            self.plan.audiences,
            self.known.databases,
            dict(module.adapters.items()),  # type: ignore[arg-type]
            module.pictures,
            dict(self.heads.items()),
            self.classifier.card.preparation,
            fingerprint or self.classifier.fingerprint,
        )
