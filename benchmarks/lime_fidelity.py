"""What bfloat16 and antithetic pairs do to LIME on a network that has learned: ``mini``, all findings, some pictures.

    python benchmarks/lime_fidelity.py [--pictures 8] [--samples 448] [--dataset phantom:test=60#test] [--threads 1]

Fidelity is the rank correlation with the weights of 10,000 samples drawn one by one in float32 (another seed), mean of
the findings: of 1000 samples drawn one by one in float32, as the package ``lime`` draws them, and of fewer antithetic
ones in each precision and backend. Pictures are those with a labelled finding. 95 % intervals over pictures.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from _attribution_lime import FILL, SEEDS, SIZES, Arena
from attribution import Subject

import whyray
from whyray.contracts import Context
from whyray.explainers.lime import Lime


@dataclass(frozen=True)
class Mini(Subject):
    """One picture, explained by ``mini``."""

    picture: whyray.Radiograph | None = None

    @cached_property
    def classifier(self) -> whyray.Classifier:
        """The bundled model."""
        return whyray.load_model("mini")

    @property
    def radiograph(self) -> whyray.Radiograph:  # type: ignore[override]
        """The picture."""
        assert self.picture is not None
        return self.picture


def main() -> None:
    """A row a way to draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=8)
    options.add_argument("--samples", type=int, default=448)
    options.add_argument("--dataset", default="phantom:test=60#test")
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    name, _, split = given.dataset.partition("#")
    cases = whyray.load_dataset(name).cases(split or None)
    chosen = [case for case in cases if 1.0 in case.labels.values()][: given.pictures]
    found: dict[str, list[float]] = {}
    for case in chosen:
        for name, value in fidelities(Arena(Mini(picture=case.radiograph()), *SIZES), given.samples).items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
        low, high = np.percentile(draws, (2.5, 97.5))
        print(f"{name:45} {np.mean(values):.3f} [{low:.3f}, {high:.3f}], n = {len(values)}")


def fidelities(arena: Arena, samples: int) -> dict[str, float]:
    """Name of a way to draw -> its fidelity on this picture, mean of three seeds and of the findings."""
    engines = ["torch"] + ["openvino"] * (importlib.util.find_spec("openvino") is not None)
    single = Lime(fill=FILL, samples=SIZES[0], stop=0, antithetic=False, precision="float32")
    ways = {f"{SIZES[0]} one by one, float32": single}
    for engine in engines:
        for precision in ("float32", "bfloat16"):
            name = f"{samples} antithetic, {engine} {precision}"
            ways[name] = Lime(fill=FILL, samples=samples, stop=0, precision=precision, backend=engine)  # type: ignore[arg-type]
    return {
        name: float(np.mean([arena.fidelity(arena.weights(way, Context(seed=seed))).mean() for seed in SEEDS]))
        for name, way in ways.items()
    }


if __name__ == "__main__":
    main()
