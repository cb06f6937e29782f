"""Train a generator of explaining sentences from a few examples a diagnosis, without a pair of picture and sentence.

After WeNLEX (Rio-Torto, Cardoso and Teixeira, arXiv 2603.18752). What the paper leaves open is a setting of the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Classifier
from ..errors import SettingError, UnmetNeed
from ..models._text_autoencoders import load_coder
from ..models._wenlex import WeakGenerator, drawn_pictures, latents_of
from ..text.attributes import severity_of, side_of
from ..text.nle_database import Entry, drawn, mirrored, read_database
from ..types import Report
from . import _wenlex_losses as losses
from ._wenlex_heads import heads
from ._wenlex_parts import Parts
from ._wenlex_plan import WenlexPlan, load_plan, plan_from
from ._wenlex_seen import split_of
from .loop import Task, train
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._wenlex_seen import Split

__all__ = ["WenlexPlan", "WenlexTask", "load_plan", "plan_from", "train_wenlex"]


def train_wenlex(plan: WenlexPlan, out: Path, report: Report | None = None, *, activations: Path | None = None) -> Path:
    """Train, measure on the test split and write the artefact into ``out``; returns the folder.

    ``activations``: a store of the classifier's features, of which those of the plan's pictures are used. In-model, ``out``
    holds the trained classifier as well (``-m OUT``). Run again after a stop, it goes on from the last checkpoint. Raises
    SettingError, DataError, UnmetNeed (a classifier without features or gradients), LockedError, DiskFullError, Stopped.
    """
    from ..models._resolve import load_model
    from ._wenlex_finish import finished

    classifier = load_model(plan.classifier, device=plan.loop.device)
    if "gradients" not in classifier.capabilities:
        raise UnmetNeed(f"{classifier.name} has no gradients; pictures are fitted through them: name another classifier")
    task = WenlexTask(plan, classifier, out / "cache", activations, report)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out, report)


@dataclass(frozen=True, eq=False)
class Batch:
    """Sentences of one step.

    rows      pictures ``[k]``; ``whose [b]``: place among them of each sentence.
    diagnosis index ``[b]``, audience index ``[b]``.
    """

    rows: tuple[int, ...]
    whose: Tensor
    diagnosis: Tensor
    audience: Tensor


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
        self.plan, self.classifier, self.places = plan, classifier, (cache, activations)
        self.coder = load_coder(expanded(plan.text))
        self.databases = {a: chosen(plan, name) for a, name in plan.databases.items()}
        self.diagnoses = diagnoses_of(plan, self.databases, classifier.findings)
        self.known, self.known_group = self._known()
        count = len(self.diagnoses)
        with torch.no_grad():
            known_diagnosis = self.known_group % count
        self.heads = heads(self.coder, self.known, known_diagnosis, count, plan.corpus, plan.loop.seed)
        self.train, self.measures = self._split("train", report)
        self.val, _ = self._split("val", report)
        self.steps = max(1, len(self.order(0, np.random.default_rng(0))) // plan.loop.batch)
        self.about = {
            **plan.settings,
            "fingerprint": classifier.fingerprint,
            "text": self.coder.facts.get("sha256", ""),
            "pictures": [len(self.train.cases), len(self.val.cases)],
            "known": [len(entries) for entries in self.databases.values()],
        }

    def _known(self) -> tuple[Tensor, Tensor]:
        """z ``[k, width]`` of the databases' sentences and the group of each: audience * diagnoses + diagnosis."""
        entries = [
            (text, i * len(self.diagnoses) + self.diagnoses.index(e.diagnosis))
            for i, found in enumerate(self.databases.values())
            for e in found
            if e.diagnosis in self.diagnoses
            for text in dict.fromkeys((e.nle, mirrored(e.nle)) if self.plan.mirrored else (e.nle,))
        ]
        return self.coder.encoded([t for t, _ in entries]).float(), torch.tensor([g for _, g in entries])

    def _split(self, name: str, report: Report | None) -> Any:
        spoken = tuple(
            np.array([any(read(e.nle) for e in self._entries(d)) for d in self.diagnoses]) for read in (side_of, severity_of)
        )
        measures = getattr(self, "measures", None)
        return split_of(
            self.plan, self.classifier, name, (spoken[0], spoken[1]), self.diagnoses, measures, self.places, report
        )

    def _entries(self, diagnosis: str) -> list[Entry]:
        return [e for found in self.databases.values() for e in found if e.diagnosis == diagnosis]

    def build(self) -> nn.Module:
        """Adapters and the network to pictures; and a copy of the classifier, where it is trained."""
        seen = self.train.seen
        groups = len(self.diagnoses) * len(self.plan.audiences)
        parts = Parts(self.plan, self.coder, seen.depth, seen.predictions, groups)
        return parts

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Pictures that are called something, so that each diagnosis comes as often as the others."""
        called = self.train.asked.called.astype(np.float64)
        weights = (called / np.maximum(called.sum(0), 1)).sum(1)
        wanted = self.plan.draws or int((weights > 0).sum())
        return rng.choice(len(weights), wanted, p=weights / weights.sum())

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """The weighted terms."""
        assert isinstance(module, Parts)
        terms = self.terms(module, self.batch(examples, epoch), through=self.through(module, epoch))
        plan = self.plan.weighting
        terms = {k: plan.fixed.get(k, 1.0) * v for k, v in terms.items()}
        if plan.by == "equal":
            return torch.stack(list(terms.values())).sum()
        return losses.weighted(terms, dict(module.logs.items()), plan.least, plan.most)

    def through(self, module: Parts, epoch: int) -> bool:
        """Whether this epoch goes through words."""
        return self.plan.through == "words" and epoch >= self.plan.latent * self.plan.loop.epochs

    def batch(self, examples: Sequence[int], epoch: int) -> Batch:
        """Of each picture some of its called diagnoses, all for one audience."""
        called, audiences = self.train.asked.called, len(self.plan.audiences)
        triples = []
        for k, row in enumerate(examples):
            rng = np.random.default_rng([self.plan.loop.seed, 4, epoch, k, int(row)])
            audience = int(rng.integers(audiences))
            names = rng.permutation(np.flatnonzero(called[row]))[: self.plan.labels]
            triples += [(k, int(name), audience) for name in names]
        whose, diagnosis, audience_of = torch.tensor(triples).T
        return Batch(tuple(int(r) for r in examples), whose, diagnosis, audience_of)

    def terms(self, module: Parts, batch: Batch, *, through: bool) -> dict[str, Tensor]:
        """Each term of the loss on a batch of training pictures."""
        plan, asked = self.plan, self.train.asked
        features, probabilities = self.train.read(batch.rows)
        with torch.autocast(plan.loop.device.split(":")[0], enabled=False):
            z = self.latents(module, features, probabilities, batch)
            used = losses.straight_through(z, self.again(z)) if through else z
            group = batch.audience * len(self.diagnoses) + batch.diagnosis
            terms = self._plausible(module, used, group)
            rows = np.asarray(batch.rows)[batch.whose.numpy()], batch.diagnosis.numpy()
            if plan.terms.alignment:
                columns = torch.tensor([self.classifier.findings.index(d) for d in self.diagnoses])[batch.diagnosis]
                p = probabilities[batch.whose, columns]
                terms["alignment"] = losses.alignment(
                    self.heads["diagnosis"](used), batch.diagnosis, p, plan.certainty
                )
            for name, wanted in (("side", asked.sides), ("severity", asked.severities)):
                if getattr(plan.terms, name):
                    terms[name] = losses.stated(self.heads[name](used), torch.from_numpy(wanted[rows]))
            if plan.through == "words":
                again = used if through else self.again(z)
                terms["commitment"] = losses.commitment(z, again)
        if plan.terms.reconstruction:
            terms["reconstruction"] = self._rebuilt(module, used, batch, features)
        return terms

    def latents(self, module: Parts, features: Tensor, probabilities: Tensor, batch: Batch) -> Tensor:
        """z ``[b, width]`` of the sentences of a batch."""
        out = features.new_zeros(len(batch.whose), self.coder.width)
        for i, adapter in enumerate(module.adapters.values()):
            mine = torch.nonzero(batch.audience == i)[:, 0]
            if len(mine):
                whose = batch.whose[mine]
                names = [self.diagnoses[d] for d in batch.diagnosis[mine].tolist()]
                made = latents_of(self.coder, adapter, features[whose], probabilities[whose], names)  # type: ignore[arg-type]
                out = out.index_put((mine,), made)
        return out

    def again(self, z: Tensor) -> Tensor:
        """The vector of the words that z becomes, without gradients."""
        return self.coder.encoded_tokens(self.coder.tokens(z.detach())).to(z)

    def _plausible(self, module: Parts, z: Tensor, group: Tensor) -> dict[str, Tensor]:
        kind = self.plan.terms.plausibility
        if kind == "none":
            return {}
        if kind == "wgan-gp":
            assert module.judge is not None
            if module.training:
                module.judge.learn(z, self.known, group, self.known_group)
            return {"plausibility": -module.judge.critic(z, group).mean()}
        term = losses.plausibility(
            z, group, self.known, self.known_group, module.memory.rows.clone(), module.memory.filled()
        )
        if module.training:
            module.memory.push(z, group)
        return {"plausibility": term}

    def _rebuilt(self, module: Parts, z: Tensor, batch: Batch, features: Tensor) -> Tensor:
        """The features of pictures that are made from what was said of each picture."""
        plan, measures = self.plan, self.measures
        z, rows = mixed(z, batch.whose, plan.rebuilt)
        device = plan.loop.device.split(":")[0]
        with torch.autocast(device, torch.bfloat16, enabled=plan.precision == "bfloat16"):
            x = drawn_pictures(module.pictures, z, self.classifier.card.preparation)
            _, taps = self.classifier.run(x, ("features",))
        made = taps["features"].float()
        return losses.reconstruction(
            made, features[rows], measures.mean, measures.std, centred=plan.centred, cells=plan.cells
        )

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """How well sentences name their diagnosis and bring back their picture, by their words; then the weights."""
        from ._wenlex_measure import validated

        assert isinstance(module, Parts)
        numbers = validated(self.generator(module), self.classifier, self.val, check)
        return {**numbers, **{f"s_{k}": float(v) for k, v in module.logs.items()}}

    def generator(self, module: Parts, facts: Mapping[str, Any] | None = None, fingerprint: str = "") -> WeakGenerator:
        """The generator in ``module``, as it explains."""
        return WeakGenerator(
            self.plan.name,
            self.coder,
            self.diagnoses,
            self.plan.audiences,
            self.databases,
            dict(module.adapters.items()),  # type: ignore[arg-type]
            module.pictures,
            dict(self.heads.items()),
            self.classifier.card.preparation,
            fingerprint or self.classifier.fingerprint,
            facts or {},
        )


def chosen(plan: WenlexPlan, name: str) -> tuple[Entry, ...]:
    """The sentences of a database that are learned from."""
    return drawn(read_database(expanded(name)), plan.examples or None, plan.loop.seed)


def diagnoses_of(
    plan: WenlexPlan, databases: Mapping[str, Sequence[Entry]], findings: Sequence[str]
) -> tuple[str, ...]:
    """Findings that every database and the classifier have, in the classifier's order. Raises SettingError."""
    has = [{e.diagnosis for e in entries} for entries in databases.values()]
    both = tuple(f for f in findings if all(f in names for names in has))
    for name in plan.diagnoses:
        if name not in both:
            raise SettingError(f"diagnoses has {name!r}; databases and classifier share {', '.join(both) or 'none'}")
    if not both:
        raise SettingError("the databases and the classifier share no finding; write sentences for the classifier's")
    return plan.diagnoses or both


def mixed(z: Tensor, whose: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """(vectors pictures are made from ``[m, w]``, place of the picture of each ``[m]``): the mean of each picture's, that
    of some of them drawn at random, or each ("label")."""
    if how == "label":
        return z, whose
    count = int(whose.max()) + 1
    kept = torch.ones(len(z), device=z.device)
    if how == "some":
        kept = (torch.rand(len(z), device=z.device) < 0.5).float()
        none = torch.zeros(count, device=z.device).index_add(0, whose, kept) == 0
        first = torch.cat([whose.new_tensor([1]), (whose[1:] != whose[:-1]).long()])
        kept = torch.maximum(kept, none[whose].float() * first)
    total = torch.zeros(count, z.shape[1], device=z.device).index_add(0, whose, z * kept[:, None])
    number = torch.zeros(count, device=z.device).index_add(0, whose, kept)
    return total / number[:, None], torch.arange(count, device=z.device)
