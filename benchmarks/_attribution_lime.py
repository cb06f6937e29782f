"""LIME of 50 SLIC segments, 18 findings: whyray against the package ``lime`` at equal fidelity.

    python benchmarks/_attribution_lime.py [--quick] [--rounds 2] [--threads 2]

Same picture, segments, network, kernel and ridge for both, and the fill that ``lime`` has (each segment's own mean).
Fidelity is the rank correlation with the weights of 10,000 samples drawn one by one with another seed, float32, mean
of the findings. ``lime`` gets 1000 samples and gives all findings in one call; whyray gets, in each precision
and backend, the smallest number of a ladder at which its fidelity is that of independent float32 draws of lime's number
(each the mean of three seeds). What the stop rule takes by itself stands beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
from functools import cached_property, partial

import numpy as np
import torch
from attribution import Contestant, Subject, measured

from whyray.contracts import Context
from whyray.engine.passes import use_large_malloc
from whyray.engine.superpixels import Segments
from whyray.explainers._surrogate import rank_correlation
from whyray.explainers.lime import Lime

SIZES = (1000, 10_000)  # samples of lime, and of the reference
SEEDS = (0, 1, 2)
FILL = "segment"


class Arena:
    """One game for all, its reference, and how far a result is from it."""

    def __init__(self, subject: Subject, samples: int, of_reference: int) -> None:
        self.subject, self.samples, self.of_reference = subject, samples, of_reference

    @cached_property
    def segments(self) -> Segments:
        """As the explainer cuts them."""
        return Lime().cut(self.subject.classifier.prepare(self.subject.radiograph))

    @cached_property
    def reference(self) -> np.ndarray:
        """Weights ``[f, k]`` of many independent samples, with a seed that no contestant uses."""
        found = self.untimed(self.of_reference, 99, antithetic=False)
        self.subject.draws.keep()
        return found

    @cached_property
    def goal(self) -> float:
        """The fidelity of lime's number of independent samples."""
        return float(np.mean([self.fidelity(self.untimed(self.samples, s, antithetic=False)).mean() for s in SEEDS]))

    def matched(self, precision: str, backend: str) -> int:
        """The smallest number at which antithetic samples are as near to the reference; lime's where none is."""
        for samples in range(128, self.samples, 32):
            drawn = (self.untimed(samples, s, precision=precision, backend=backend) for s in SEEDS)
            if np.mean([self.fidelity(weights).mean() for weights in drawn]) >= self.goal:
                return samples
        return self.samples

    def fidelity(self, weights: np.ndarray) -> np.ndarray:
        """Rank correlation ``[f]`` with the reference."""
        return rank_correlation(weights, self.reference)

    def agrees(self, mine: np.ndarray, _: np.ndarray) -> str:
        """Mean and worst fidelity of the findings, beside the goal."""
        found = self.fidelity(mine)
        return f"Spearman, mean {found.mean():.3f}, worst {found.min():.3f}; wanted {self.goal:.3f}"

    def untimed(
        self, samples: int, seed: int, antithetic: bool = True, precision: str = "float32", backend: str = "torch"
    ) -> np.ndarray:
        """Weights ``[f, k]``; a longer draw begins as a shorter, and what was drawn is not drawn again."""
        explainer = Lime(
            fill=FILL,
            samples=samples,
            stop=0,
            antithetic=antithetic,
            precision=precision,
            backend=backend,  # type: ignore[arg-type]
        )
        return self.weights(explainer, Context(seed=seed, paid=self.subject.draws.paid))

    def ours(self, samples: int, precision: str, backend: str, stop: float = 0) -> np.ndarray:
        """Weights ``[f, k]`` of the explainer as a user calls it."""
        explainer = Lime(fill=FILL, samples=samples, stop=stop, precision=precision, backend=backend)  # type: ignore[arg-type]
        return self.weights(explainer, Context())

    def weights(self, explainer: Lime, context: Context) -> np.ndarray:
        """Weights ``[f, k]``, read off the maps."""
        model = self.subject.classifier
        made = explainer.explain(model, [self.subject.radiograph], model.findings, context)[0]
        first = np.unique(self.segments.labels, return_index=True)[1]
        return np.stack([np.asarray(made[f].values, np.float64).ravel()[first] for f in model.findings])  # type: ignore[attr-defined]

    def peer(self) -> np.ndarray:
        """``lime`` with its default batch of 10, eager float32; its segmentation replaced by ours."""
        from lime.lime_image import LimeImageExplainer

        picture = np.repeat(self.subject.x[0, 0].numpy()[..., None], 3, axis=2)
        findings = range(self.subject.findings)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            made = LimeImageExplainer(random_state=0).explain_instance(
                picture,
                self.sees,
                labels=findings,
                top_labels=None,
                num_samples=self.samples,
                segmentation_fn=lambda _: self.segments.labels,
            )
        weights = np.zeros((len(findings), self.segments.count))
        for j in findings:
            for segment, weight in made.local_exp[j]:
                weights[j, segment] = weight
        return weights

    def sees(self, pictures: np.ndarray) -> np.ndarray:
        """What a user gives to lime: pictures ``[b, h, w, 3]`` -> logits."""
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(pictures[..., 0], np.float32))[:, None]
            return self.subject.module(x).numpy()


def contestants(subject: Subject) -> list[Contestant]:
    """Ours at equal fidelity in every precision and backend, by its stop rule, at equal samples, then lime."""
    arena, samples = Arena(subject, *SIZES), SIZES[0]
    engines = ["torch"] + ["openvino"] * (importlib.util.find_spec("openvino") is not None)
    ways = [(engine, precision) for engine in engines for precision in ("bfloat16", "float32")]
    equal = {way: arena.matched(way[1], way[0]) for way in ways}
    made = [
        Contestant(f"whyray {engine} {precision}, {n}", partial(arena.ours, n, precision, engine), n)
        for (engine, precision), n in equal.items()
    ]
    made += [
        Contestant("whyray torch bfloat16, by its stop rule", partial(arena.ours, samples, "bfloat16", "torch", 0.9)),
        Contestant(f"whyray torch float32, {samples}", partial(arena.ours, samples, "float32", "torch"), samples),
        Contestant(f"lime, {samples}", arena.peer, samples),
    ]
    return [Contestant(c.name, c.run, c.passes, agrees=arena.agrees) for c in made]


def main() -> None:
    """This method alone; ``--quick`` with 130 samples of lime and a reference of 200, one seed, to see that it runs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    use_large_malloc()
    if given.quick:
        read = importlib.import_module("_attribution_lime")  # as ``measured`` does
        read.SIZES, read.SEEDS = (130, 200), (0,)
    measured("lime", Subject(rounds=given.rounds), given.rounds)


if __name__ == "__main__":
    main()
