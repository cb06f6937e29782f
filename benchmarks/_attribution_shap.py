"""Shapley values of 50 SLIC segments, 18 findings: whyray against shap's explainers at equal error.

    python benchmarks/_attribution_shap.py [--quick] [--rounds 2] [--threads 2]

Same picture, segments, blur fill and network for all. The error is the RMS distance from a reference of 10,000
coalitions in float32 (another seed), over the RMS of the reference, median of the findings. Each of shap's explainers
gets 1000 coalitions; for each of them whyray gets the smallest number of a ladder at which its error (float32, mean of
two seeds) is no larger than theirs. The peers' model function runs batches of 16.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from attribution import Contestant, Subject, measured

from whyray.contracts import Context
from whyray.engine.passes import use_large_malloc
from whyray.engine.perturb import Perturbed
from whyray.engine.superpixels import Segments, slic, view
from whyray.explainers.shap import Shap

SIZES = (1000, 10_000)  # coalitions of each contestant, and of the reference
LADDER = (100, 115, 130, 150, 175, 200, 250, 300, 350, 400, 450, 500, 550, 600, 650, 700, 800)

warnings.filterwarnings("ignore", module="shap|numba|sklearn")


@dataclass(frozen=True)
class Arena:
    """One game for all, its reference, and how far a result is from it."""

    subject: Subject
    samples: int
    of_reference: int

    @cached_property
    def run(self) -> Perturbed:
        """The game in float32, for its segments and its filled picture."""
        frame = self.subject.classifier.prepare(self.subject.radiograph)
        return Perturbed(self.subject.classifier, frame, self.segments, precision="float32")

    @cached_property
    def segments(self) -> Segments:
        """As the explainer cuts them."""
        given = Shap()
        frame = self.subject.classifier.prepare(self.subject.radiograph)
        return slic(view(frame), segments=given.segments, compactness=given.compactness, sigma=given.sigma)

    @cached_property
    def reference(self) -> np.ndarray:
        """Values ``[f, k]`` from many coalitions, with a seed that no contestant uses."""
        found = self.untimed(self.of_reference, 99)
        self.subject.draws.keep()
        return found

    def matched(self, goal: float) -> int:
        """The smallest number of coalitions at which whyray is as near to the reference as ``goal``."""
        for samples in LADDER:
            if samples < self.samples and np.mean([self.error(self.untimed(samples, s)) for s in (0, 1)]) <= goal:
                return samples
        return self.samples

    def error(self, values: np.ndarray) -> float:
        """Distance from the reference over the reference's size, median over findings."""
        return float(np.median(self.errors(values)))

    def errors(self, values: np.ndarray) -> np.ndarray:
        """The same for each finding ``[f]``."""
        return np.sqrt(((values - self.reference) ** 2).mean(1) / (self.reference**2).mean(1))

    def agrees(self, mine: np.ndarray, _: np.ndarray) -> str:
        """Error, and the rank correlation with the reference that the worst finding has."""
        from scipy.stats import spearmanr

        ranks = [spearmanr(a, b).statistic for a, b in zip(mine, self.reference, strict=True)]
        return f"error {self.error(mine):.4f}, worst {self.errors(mine).max():.4f}; Spearman, worst {min(ranks):.4f}"

    def untimed(self, samples: int, seed: int) -> np.ndarray:
        """Values ``[f, k]`` in float32; what was drawn before is not drawn again."""
        return self.values(Shap(samples=samples, tolerance=0, precision="float32"), seed, self.subject.draws.paid)

    def ours(self, samples: int, precision: str, backend: str, surrogate: bool = True) -> np.ndarray:
        """Values ``[f, k]`` of the explainer as a user calls it, without early stop."""
        explainer = Shap(samples=samples, tolerance=0, precision=precision, backend=backend, surrogate=surrogate)  # type: ignore[arg-type]
        return self.values(explainer, 0, {})

    def values(self, explainer: Shap, seed: int, paid: dict[bytes, np.ndarray]) -> np.ndarray:
        """Values ``[f, k]``, read off the maps."""
        model = self.subject.classifier
        context = Context(seed=seed, paid=paid)
        made = explainer.explain(model, [self.subject.radiograph], model.findings, context)[0]
        first = np.unique(self.segments.labels, return_index=True)[1]
        return np.stack([np.asarray(made[f].values, np.float64).ravel()[first] for f in model.findings])

    def kernel(self, selected: bool) -> np.ndarray:
        """shap's KernelExplainer; by default it keeps ten features (``selected``)."""
        import shap

        np.random.seed(0)
        peer = shap.KernelExplainer(self.model, np.zeros((1, self.segments.count)))
        options = {} if selected else {"l1_reg": False}
        whole = np.ones((1, self.segments.count))
        return np.asarray(peer.shap_values(whole, nsamples=self.samples, silent=True, **options))[0].T

    def partition(self) -> np.ndarray:
        """shap's PartitionExplainer on the same segments, joined by the distance of their centres."""
        import shap
        from scipy.cluster.hierarchy import linkage

        grids = np.indices(self.segments.labels.shape).astype(float)
        centres = np.stack([self.segments.sums(g) / self.segments.sizes for g in grids], 1)
        masker = shap.maskers.Partition(np.zeros((1, len(centres))), clustering=linkage(centres, "average"))
        peer = shap.PartitionExplainer(self.model, masker)
        return np.asarray(peer(np.ones((1, len(centres))), max_evals=self.samples, silent=True).values)[0].T

    @cached_property
    def model(self) -> Callable[[np.ndarray], np.ndarray]:
        """What a careful user gives to shap: rows of 0 and 1 -> logits, in batches of 16, eager float32."""
        labels = torch.from_numpy(self.segments.labels.astype(np.int64))
        whole, empty = self.subject.x[0], torch.from_numpy(np.array(self.run.empty))

        def logits(rows: np.ndarray) -> np.ndarray:
            out = []
            with torch.inference_mode():
                for part in torch.from_numpy(np.asarray(rows) > 0.5).split(16):
                    out.append(self.subject.module(torch.where(part[:, labels][:, None], whole, empty)))
            return torch.cat(out).numpy().astype(np.float64)

        return logits


def contestants(subject: Subject) -> list[Contestant]:
    """shap's explainers, each with ours at its error in every precision and backend; then ours at equal samples."""
    arena, samples = Arena(subject, *SIZES), SIZES[0]
    engines = ["torch"] + ["openvino"] * (importlib.util.find_spec("openvino") is not None)
    peers: dict[str, Callable[[], np.ndarray]] = {
        "KernelExplainer, no selection": partial(arena.kernel, False),
        "KernelExplainer, as it comes": partial(arena.kernel, True),
        "PartitionExplainer": arena.partition,
    }
    made = []
    for name, peer in peers.items():
        equal = arena.matched(arena.error(peer()))
        made += [Contestant(f"shap {name}, {samples}", peer, samples)]
        made += [
            Contestant(f"  whyray {engine} {precision}, {equal}", partial(arena.ours, equal, precision, engine), equal)
            for engine in engines
            for precision in ("float32", "bfloat16")
        ]
    made += [
        Contestant(
            f"whyray torch float32, {samples}{'' if surrogate else ', no surrogate'}",
            partial(arena.ours, samples, "float32", "torch", surrogate),
            samples,
        )
        for surrogate in (True, False)
    ]
    return [Contestant(c.name, c.run, c.passes, agrees=arena.agrees) for c in made]


def main() -> None:
    """This method alone; ``--quick`` with 120 coalitions and a reference of 300, to see that it runs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    use_large_malloc()
    if given.quick:
        importlib.import_module("_attribution_shap").SIZES = (120, 300)  # the module that ``measured`` reads
    measured("shap", Subject(rounds=given.rounds), given.rounds)


if __name__ == "__main__":
    main()
