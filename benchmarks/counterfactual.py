"""Latent Shift's search for how far to go: ours against the published walk, one finding and all, in one run.

    python benchmarks/counterfactual.py [--autoencoder FOLDER] [--pictures 50] [--many 12] [--rules gif] [--threads 2]
    python benchmarks/counterfactual.py --full --pictures 3 --many 1

Without ``--full``: ``mini`` and its autoencoder on phantoms; three means of two of its logits join its 15 findings, so
that there are 18. With it: DenseNet-121 of 18 findings and the published autoencoder's shape, both of random weights,
which give times but no meaning, and predictions that go up and down along the way as no trained network's do. The walk
is ``_published_walk.py``: one label, one step, one picture at a time, on plain contiguous copies of both networks. Both
sides do the whole explanation, from the picture to frames and their predictions, and are timed picture by picture in
turn; a ratio is of sums, its interval a bootstrap over pictures. "agrees": the end lies within one step of the walk's.

How long a walk is depends on the unit of the latent, which no rule of the paper fixes. The latent is divided by a
number (the pictures stay the same) chosen on other pictures so that the median walk has about 20 steps.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from _published_walk import shifted
from benchmarks_common import densenet121, wrapped
from torch import Tensor, nn

import whyray
from whyray.cards import Preparation
from whyray.contracts import Context
from whyray.datasets._resolve import load_dataset
from whyray.engine.passes import use_large_malloc
from whyray.explainers._latent_published import grid_of
from whyray.explainers.latent_shift import LatentShift
from whyray.models._autoencoders import Autoencoder, autoencoder_for, from_grey, quick, to_grey
from whyray.networks.autoencoder import ResNetAE

STEPS = 20  # of the median walk
BACKENDS = ("torch", "openvino")


@dataclass(frozen=True)
class Subject:
    """A classifier, its autoencoder, and pictures."""

    classifier: whyray.Classifier
    autoencoder: Autoencoder
    pictures: Sequence[whyray.Radiograph]

    @cached_property
    def plain(self) -> tuple[nn.Module, nn.Module]:
        """Both networks as they come: contiguous copies."""
        both = copy.deepcopy((self.classifier.module, self.autoencoder.module))
        return tuple(module.to(memory_format=torch.contiguous_format) for module in both)  # type: ignore[return-value, call-overload]


@dataclass
class Row:
    """Seconds a picture of one contestant, and where its searches ended: |lambda| ``[findings]`` a picture."""

    seconds: list[float] = field(default_factory=list)
    ends: list[list[float]] = field(default_factory=list)


class Scaled(nn.Module):
    """The same autoencoder with its latent in another unit."""

    def __init__(self, inner: nn.Module, unit: float) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("unit", torch.tensor(unit))  # part of the fingerprint, as a compiled program needs it

    def encode(self, x: Tensor) -> Tensor:
        return self.inner.encode(x) / self.unit  # type: ignore[operator, no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        return self.inner.decode(z * self.unit)  # type: ignore[operator, no-any-return]


def main() -> None:
    """Print one table for one finding a picture (the most probable one), and one for all findings."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--autoencoder", default="")
    options.add_argument("--full", action="store_true")
    options.add_argument("--pictures", type=int, default=50)
    options.add_argument("--many", type=int, default=12, help="pictures of which all findings are explained")
    options.add_argument("--rules", choices=("gif", "later"), default="gif")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    use_large_malloc()
    clock = time.perf_counter if given.clock == "wall" else time.process_time
    subject = full(given.pictures) if given.full else small(given.pictures, given.autoencoder)
    subject = in_unit(subject, given.rules)
    findings = subject.classifier.findings
    tops = [[int(c)] for c in most_probable(subject)]
    title = f"{subject.classifier.name}, rules={given.rules}, {given.threads} threads, {given.clock} time"
    compare(f"{title}: one finding", subject, tops, given.rules, clock)
    every = [list(range(len(findings)))] * min(given.many, len(subject.pictures))
    compare(f"{title}: {len(findings)} findings", subject, every, given.rules, clock)


def small(pictures: int, autoencoder: str) -> Subject:
    """``mini`` with three findings more, and phantoms of the test split, ten more than asked for."""
    mini = whyray.load_model("mini")
    cases = load_dataset(f"phantom:test={pictures + 10}").cases("test")
    radiographs = [case.radiograph() for case in cases]
    return Subject(with_means(mini), autoencoder_for(mini, autoencoder), radiographs)


def with_means(mini: whyray.Classifier) -> whyray.Classifier:
    """``mini`` whose last layer also gives the means of some pairs of logits, under names that it does not have."""
    module, preparation = copy.deepcopy(mini.module), mini.card.preparation
    pairs = [("cardiomegaly", "pleural_effusion"), ("edema", "consolidation"), ("nodule", "mass")]
    rows = torch.tensor([[mini.findings.index(name) for name in pair] for pair in pairs])
    own, head = module.classifier, nn.Linear(module.classifier.in_features, len(mini.findings) + len(pairs))
    for name in ("weight", "bias"):
        values = getattr(own, name).detach()
        setattr(head, name, nn.Parameter(torch.cat([values, values[rows].mean(1)]), requires_grad=False))
    module.classifier = head
    findings = [*mini.findings, "enlarged_cardiomediastinum", "hernia", "lung_lesion"]
    mean, std = preparation.mean, preparation.std
    return whyray.wrap(module.eval(), findings=findings, size=preparation.size, mean=mean, std=std, name="mini of 18")


def full(pictures: int) -> Subject:
    """DenseNet-121 and the published autoencoder's shape, brought into range on eight other pictures.

    Without that, what random weights draw is a million times too bright, every probability is 0 or 1, and no
    prediction has a slope to follow.
    """
    torch.manual_seed(0)
    module, network = ResNetAE(), densenet121()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    classifier = wrapped(network.to(memory_format=torch.channels_last))
    taken, preparation = classifier.card.preparation, Preparation(mean=(0.5,), std=(0.25,))
    shown = whyray.testing.sample_radiographs(pictures + 18, 224)
    x = torch.from_numpy(np.stack([classifier.prepare(picture).pixels for picture in shown[:8]]))
    with torch.no_grad():
        grey = from_grey(to_grey(x, taken), preparation)
        module.conv1_1.weight /= module.train()(grey).std()
        drawn = quick(module)(grey)
        network.classifier.weight /= classifier.logits(from_grey(to_grey(drawn, preparation), taken)).std()
    autoencoder = Autoencoder("published shape", module, preparation)
    return Subject(classifier, autoencoder, shown[8:])


def in_unit(subject: Subject, rules: str) -> Subject:
    """The latent in the unit that makes walks about ``STEPS`` steps long on the last ten pictures, which then go."""
    own, rest = subject.pictures[-10:], subject.pictures[:-10]
    low, high = -8.0, 16.0  # powers of two; a larger unit makes walks shorter
    for _ in range(7):
        middle = (low + high) / 2
        scaled = scaled_by(subject, 2**middle, own)
        ends = [ours(scaled, i, [int(c)], rules, "torch")[0] for i, c in enumerate(most_probable(scaled))]
        median = float(np.median(steps(rules, ends)))
        low, high = (low, middle) if median < STEPS else (middle, high)
    print(f"the latent is divided by {2**middle:.2f}: the median walk of ten other pictures has {median:g} steps")
    return scaled_by(subject, 2**middle, rest)


def scaled_by(subject: Subject, unit: float, pictures: Sequence[whyray.Radiograph]) -> Subject:
    """Some pictures, and the autoencoder with its latent divided by ``unit``."""
    autoencoder = subject.autoencoder
    scaled = Autoencoder("scaled", Scaled(autoencoder.module, unit).eval(), autoencoder.preparation)
    return Subject(subject.classifier, scaled, pictures)


def most_probable(subject: Subject) -> np.ndarray:
    """Column of the highest logit of each picture."""
    x = torch.from_numpy(np.stack([subject.classifier.prepare(p).pixels for p in subject.pictures]))
    with torch.inference_mode():
        return np.array([int(subject.classifier.logits(one[None])[0].argmax()) for one in x])


def compare(
    title: str, subject: Subject, asked: Sequence[Sequence[int]], rules: str, clock: Callable[[], float]
) -> None:
    """The walk and ours on each picture in turn; ours once before, to warm up (OpenVINO compiles)."""
    rows = {name: Row() for name in ("walk", *BACKENDS)}
    for backend in BACKENDS:
        ours(subject, 0, asked[0], rules, backend)
    for i, columns in enumerate(asked):
        for name, row in rows.items():
            started = clock()
            walks = name == "walk"
            ends = theirs(subject, i, columns, rules) if walks else ours(subject, i, columns, rules, name)
            row.seconds.append(clock() - started)
            row.ends.append(ends)
    show(title, rows, rules)


def theirs(subject: Subject, i: int, columns: Sequence[int], rules: str) -> list[float]:
    """The published way, a label at a time; |lambda| of each end."""
    classifier, autoencoder = subject.plain
    x = torch.from_numpy(np.array(subject.classifier.prepare(subject.pictures[i]).pixels))[None]
    wanted, own = subject.classifier.card.preparation, subject.autoencoder.preparation

    def encode(picture: Tensor) -> Tensor:
        return autoencoder.encode(from_grey(to_grey(picture, wanted), own))  # type: ignore[operator, no-any-return]

    def decode(z: Tensor) -> Tensor:
        return 2 * to_grey(autoencoder.decode(z), own) - 1  # type: ignore[operator]

    def logits(made: Tensor) -> Tensor:
        return classifier(from_grey((made + 1) / 2, wanted))  # type: ignore[no-any-return]

    return [-shifted(encode, decode, logits, x, column, rules).lam for column in columns]


def ours(subject: Subject, i: int, columns: Sequence[int], rules: str, backend: str) -> list[float]:
    """Ours, all findings in one call; |lambda| of each end."""
    explainer = LatentShift(rules=rules, backend=backend)  # type: ignore[arg-type]
    context = Context(artefact=lambda _kind, _fingerprint: subject.autoencoder)
    names = [subject.classifier.findings[c] for c in columns]
    (made,) = explainer.explain(subject.classifier, [subject.pictures[i]], names, context)
    return [-float(e.lambdas[0]) for e in made.values()]  # type: ignore[union-attr, attr-defined]


def steps(rules: str, end: float | Sequence[float]) -> np.ndarray:
    """How many steps a walk takes to an end."""
    return np.searchsorted(grid_of(rules), np.asarray(end) - 1e-6) + 1  # type: ignore[arg-type]


def show(title: str, rows: dict[str, Row], rules: str) -> None:
    """Seconds a picture, ratio to the walk with its interval, agreement."""
    walk = rows["walk"]
    theirs_steps = np.concatenate([steps(rules, ends) for ends in walk.ends])
    print(
        f"\n{title}, n = {len(walk.seconds)} pictures; walks of {np.mean(theirs_steps):.0f} steps "
        f"(median {np.median(theirs_steps):.0f})"
    )
    for name, row in rows.items():
        line = f"{name:<12}{np.mean(row.seconds):>9.3f} s a picture"
        if row is not walk:
            middle, low, high = ratio(np.array(walk.seconds), np.array(row.seconds))
            gap = np.abs(np.concatenate([steps(rules, ends) for ends in row.ends]) - theirs_steps)
            line += f"   walk / ours {middle:.1f} [{low:.1f}, {high:.1f}]   agrees {np.sum(gap <= 1)} of {len(gap)}"
            line += f", the same step {np.sum(gap == 0)}"
        print(line)


def ratio(theirs: np.ndarray, mine: np.ndarray) -> tuple[float, float, float]:
    """Ratio of sums, and its 95 % interval over resampled pictures."""
    draw = np.random.default_rng(0).integers(0, len(mine), (2000, len(mine)))
    low, high = np.percentile(theirs[draw].sum(1) / mine[draw].sum(1), [2.5, 97.5])
    return theirs.sum() / mine.sum(), float(low), float(high)


if __name__ == "__main__":
    main()
