"""Every attribution method against its peers on DenseNet-121, 224 px, 18 findings: one run, all in turn.

    python benchmarks/attribution.py [occlusion lime ...] [--rounds 3] [--threads 2] [--clock wall] [--json FILE]
    python benchmarks/attribution.py lime shap --draws draws.npz --prepare

A method is one file beside this one, ``_attribution_<method>.py``, with one function

    def contestants(subject: Subject) -> list[Contestant]

whose first contestant is the yardstick of the others. In each round every contestant runs once, so the ratios are of
runs made minutes apart on the same machine; "plain" is one eager float32 pass of a batch of 16, the unit of the bound.
A contestant that would take too long runs a part and says so with ``scale``. On a machine that others use, one thread
and ``--clock cpu`` count the processor's seconds of this process instead. References of 10,000 passes take minutes and
are not timed: ``--draws FILE`` keeps them between runs, ``--prepare`` makes them and stops. ``--weights FILE`` explains
a network that has learned (``taught.py``), on phantom ``--picture`` of the test split.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from benchmarks_common import Draws, densenet121, wrapped

import whyray
from whyray.datasets.phantom import FIRST, phantom_case
from whyray.engine.passes import use_large_malloc

Result = np.ndarray | None
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Contestant:
    """One way to do a thing.

    name   as in the table: who, how, in which precision.
    run    does it once, from nothing that an earlier round has left (make a new ``Context``).
    passes forward passes that it cannot do without: the bound is this x the cost of a plain pass (None: not stated).
    scale  the whole is this many times what ``run`` does (a loop over 18 findings of which one is run: 18).
    agrees says how far the result is from the yardstick's: (its result, the yardstick's) -> words.
    """

    name: str
    run: Callable[[], Result]
    passes: float | None = None
    scale: float = 1.0
    agrees: Callable[[np.ndarray, np.ndarray], str] | None = None


@dataclass(frozen=True)
class Subject:
    """What is explained: a picture of noise by a DenseNet-121 of fixed random weights, BatchNorm calibrated.

    Times do not depend on the weights; figures of agreement between precisions do: ``weights`` is a network that has
    learned (``taught.py``), and explains phantom number ``picture`` of the test split.
    """

    findings: int = 18
    size: int = 224
    rounds: int = 3
    draws: Draws = field(default_factory=lambda: Draws(None))
    weights: Path | None = None
    picture: int = 0

    @cached_property
    def module(self) -> torch.nn.Module:
        """The network as a peer gets it: eager, contiguous."""
        return densenet121(self.findings, self.weights)

    @cached_property
    def classifier(self) -> whyray.Classifier:
        """The same weights behind whyray's contract, channels_last as ``load_model`` sets them."""
        return wrapped(densenet121(self.findings, self.weights).to(memory_format=torch.channels_last))

    @cached_property
    def radiograph(self) -> whyray.Radiograph:
        """Smooth with noise, as superpixels need something to follow; for weights that have learned, a phantom."""
        if self.weights is not None:
            return phantom_case(FIRST["test"] + self.picture, size=self.size).radiograph()
        return whyray.testing.sample_radiographs(1, self.size)[0]

    @cached_property
    def x(self) -> torch.Tensor:
        """The model input ``[1, 1, h, w]``."""
        return torch.from_numpy(np.array(self.classifier.prepare(self.radiograph).pixels))[None]


@dataclass
class Row:
    """What the table says of one contestant; seconds of each round."""

    method: str
    name: str
    passes: float | None
    seconds: list[float] = field(default_factory=list)
    agrees: str = ""


def main() -> None:
    """Run the asked methods and print one table each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("methods", nargs="*", help=f"of {', '.join(methods())}; all where none is named")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--clock", choices=CLOCKS, default="wall")
    options.add_argument("--json", type=Path)
    options.add_argument("--draws", type=Path)
    options.add_argument("--weights", type=Path)
    options.add_argument("--picture", type=int, default=0)
    options.add_argument("--prepare", action="store_true")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    use_large_malloc()
    rows: list[Row] = []
    for method in given.methods or methods():
        subject = Subject(rounds=given.rounds, draws=Draws(given.draws), weights=given.weights, picture=given.picture)
        if given.prepare:
            contestants_of(method, subject)
        else:
            rows += measured(method, subject, given.rounds, CLOCKS[given.clock])
    if given.json:
        facts = {"threads": given.threads, "clock": given.clock, "rounds": given.rounds, "torch": torch.__version__}
        given.json.write_text(json.dumps({**facts, "rows": [vars(r) for r in rows]}, indent=1))


def methods() -> list[str]:
    """Names of the files beside this one."""
    found = Path(__file__).parent.glob("_attribution_*.py")
    return sorted(p.stem.removeprefix("_attribution_") for p in found)


def measured(method: str, subject: Subject, rounds: int, clock: Clock = time.perf_counter) -> list[Row]:
    """Rounds in turn; the first run of each contestant warms up and gives the result that is compared."""
    contestants = contestants_of(method, subject)
    results = {c.name: c.run() for c in contestants}
    rows = [Row(method, c.name, c.passes) for c in contestants]
    yardstick = results[contestants[0].name]
    for row, contestant in zip(rows, contestants):
        mine = results[contestant.name]
        if contestant.agrees is not None and mine is not None and yardstick is not None:
            row.agrees = contestant.agrees(mine, yardstick)
    plain: list[float] = []
    for _ in range(rounds):
        plain.append(seconds_of(lambda: pass_of_16(subject), clock) / 16)
        for row, contestant in zip(rows, contestants):
            row.seconds.append(contestant.scale * seconds_of(contestant.run, clock))
    show(method, rows, np.array(plain), contestants)
    return rows


def contestants_of(method: str, subject: Subject) -> list[Contestant]:
    """The contestants of one method; what they had to draw for it is kept."""
    found: list[Contestant] = importlib.import_module(f"_attribution_{method}").contestants(subject)
    subject.draws.keep()
    return found


def show(method: str, rows: Sequence[Row], plain: np.ndarray, contestants: Sequence[Contestant]) -> None:
    """One line a contestant: seconds, ratio to the yardstick in the same round, share of the bound, agreement."""
    print(f"\n{method}: plain pass {1000 * np.median(plain):.1f} ms a picture, n = {len(plain)} rounds")
    print(f"{'':<52}{'s':>9}{'it / ours':>10}  {'[range]':<16}{'x bound':>8}  agreement")
    for row, contestant in zip(rows, contestants):
        ratio = np.divide(row.seconds, rows[0].seconds)
        bound = f"{np.median(row.seconds / (row.passes * plain)):.2f}" if row.passes else ""
        name = row.name + (f" (x{contestant.scale:g})" if contestant.scale != 1 else "")
        spread = f"[{ratio.min():.2f}, {ratio.max():.2f}]"
        print(
            f"{name:<52}{np.median(row.seconds):>9.3f}{np.median(ratio):>10.2f}  {spread:<16}{bound:>8}  {row.agrees}"
        )


def seconds_of(run: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Seconds of one run."""
    started = clock()
    run()
    return clock() - started


def pass_of_16(subject: Subject) -> None:
    """The eager network as it comes, float32."""
    with torch.inference_mode():
        subject.module(subject.x.expand(16, -1, -1, -1).contiguous())


def largest_difference(mine: np.ndarray, yardstick: np.ndarray) -> str:
    """For ``Contestant.agrees``: largest difference over the yardstick's maximum."""
    return f"max |diff| / max = {np.abs(mine - yardstick).max() / np.abs(yardstick).max():.1e}"


def correlation(mine: np.ndarray, yardstick: np.ndarray) -> str:
    """For ``Contestant.agrees``: Spearman correlation of the maps ``[f, h, w]``, least over findings."""
    from scipy.stats import spearmanr

    found = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(mine, yardstick, strict=True)]
    return f"Spearman, least of {len(found)}: {min(found):.4f}"


if __name__ == "__main__":
    main()
