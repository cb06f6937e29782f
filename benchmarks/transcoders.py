"""TopK transcoders on one CPU thread: tokens a second against SAELens, dictionary_learning and overcomplete.

    python benchmarks/transcoders.py [--rounds 12] [--width 4096] [--only whyray,sae-lens] [--peaks]

One process, one thread. In each round every contestant takes one step on the same batch, so that other load on the
machine meets all alike; CPU seconds. Equal width, k, batch, learning rate, Adam, clipping at 1 and AuxK of 1/32 with
d/2 latents after the same number of silent tokens (overcomplete's own auxiliary loss takes half of all latents, so it
runs without one, which favours it). Each starts its weights as it does by itself. Beside it the unexplained share of
held-out tokens after the last round: who is faster must not be so by learning less. Peak memory (``--peaks``) is that
of a process of its own each. The bound is the encoder's product alone. A peer that is not installed is left out;
``ensemble.py`` trains a whole ensemble.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from benchmarks_common import resident
from torch import Tensor

from whyray._torchvision import ensure_torchvision
from whyray.errors import WhyrayError
from whyray.training._codes import ROWS
from whyray.training._sparse_step import encoded, pre_activations
from whyray.training._transcoder_learner import Learner
from whyray.training._transcoder_plan import TranscodersPlan

D, K, BATCH, LR, AUX = 512, 32, 4096, 4e-4, 1 / 32
DEAD_AFTER = 4 * BATCH


class Contestant(ABC):
    """A transcoder of ``D -> width -> D`` while it learns."""

    @abstractmethod
    def __init__(self, width: int) -> None: ...

    @abstractmethod
    def step(self, x: Tensor) -> None:
        """Learn from one batch ``[n, D]``."""

    @abstractmethod
    def rebuilt(self, x: Tensor) -> Tensor:
        """What it makes of ``x``."""


class Whyray(Contestant):
    """Sparse steps, as ``whyray train transcoders`` takes them."""

    precision = "float32"

    def __init__(self, width: int) -> None:
        plan = TranscodersPlan(
            width=width, k=K, basis=0, lr=LR, batch=BATCH, warmup=0, decay=0, aux=AUX, dead_after=DEAD_AFTER,
            precision=self.precision,  # type: ignore[arg-type]
        )  # fmt: skip
        self.learner = Learner(plan, plan.shape(D, D), 0)

    def step(self, x: Tensor) -> None:
        self.learner.step(x, x, 0.5)

    def rebuilt(self, x: Tensor) -> Tensor:
        codes = encoded(self.learner.weights, self.learner.shape, self.learner.loss, x)[0]
        return codes.decoded(self.learner.weights.decoder) + self.learner.weights.decoder_bias

    def others(self, x: Tensor) -> tuple[float, float]:
        """Of each token's codes the share that float32 would not choose: mean over tokens, and 1.96 standard errors."""
        loss = self.learner.loss
        mine, exact = (
            encoded(self.learner.weights, self.learner.shape, how, x)[0].latents.view(-1, K)
            for how in (loss, replace(loss, precision="float32"))
        )
        share = 1 - (mine[:, :, None] == exact[:, None]).any(2).float().mean(1)
        return float(share.mean()), float(1.96 * share.std() / len(share) ** 0.5)


class WhyrayHalf(Whyray):
    """Codes chosen in bfloat16."""

    precision = "bfloat16"


class WhyrayBytes(Whyray):
    """Codes chosen in int8."""

    precision = "int8"


class SaeLens(Contestant):
    """SAELens 6: ``SAETrainer`` on a ``TopKTrainingSAE``; its auxiliary loss is not divided by the variance.

    Its ``use_sparse_activations`` ends in the backward pass on a CPU (torch 2.13), so it runs as it comes.
    """

    autocast = False

    def __init__(self, width: int) -> None:
        from sae_lens.config import SAETrainerConfig
        from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer

        config = TopKTrainingSAEConfig(d_in=D, d_sae=width, k=K, aux_loss_coefficient=AUX, device="cpu")
        how = SAETrainerConfig(
            total_training_samples=10**9, train_batch_size_samples=BATCH, lr=LR, lr_end=LR,
            dead_feature_window=DEAD_AFTER // BATCH, autocast=self.autocast,
        )  # fmt: skip
        self.sae = TopKTrainingSAE(config)
        self.trainer = SAETrainer(how, self.sae, iter(()))

    def step(self, x: Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def rebuilt(self, x: Tensor) -> Tensor:
        return self.sae.decode(self.sae.encode(x))


class SaeLensHalf(SaeLens):
    """With its bfloat16 autocast."""

    autocast = True


class DictionaryLearning(Contestant):
    """dictionary_learning 0.1: ``TopKTrainer``."""

    def __init__(self, width: int) -> None:
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.trainer = TopKTrainer(
            steps=10**6, activation_dim=D, dict_size=width, k=K, layer=0, lm_name="none", lr=LR, auxk_alpha=AUX,
            warmup_steps=1, threshold_start_step=10**6, device="cpu", seed=0,
        )  # fmt: skip
        self.trainer.dead_feature_threshold = DEAD_AFTER
        self.steps = 0

    def step(self, x: Tensor) -> None:
        self.trainer.update(self.steps, x)
        self.steps += 1

    def rebuilt(self, x: Tensor) -> Tensor:
        return self.trainer.ae(x)


class Overcomplete(Contestant):
    """overcomplete 0.3: ``train_sae`` on a ``TopKSAE``, mean squared error alone."""

    def __init__(self, width: int) -> None:
        import matplotlib as mpl

        if not hasattr(mpl.cm, "get_cmap"):  # gone from matplotlib 3.11, and asked for at import
            mpl.cm.get_cmap = lambda name=None: mpl.colormaps[name or "viridis"]
        from overcomplete.sae import TopKSAE, train_sae

        self.sae, self.train = TopKSAE(D, nb_concepts=width, top_k=K), train_sae
        self.optimiser = torch.optim.Adam(self.sae.parameters(), lr=LR)

    def step(self, x: Tensor) -> None:
        self.train(self.sae, [x], _squared, self.optimiser, nb_epochs=1, clip_grad=1.0, monitoring=0)

    def rebuilt(self, x: Tensor) -> Tensor:
        return self.sae.eval()(x)[2]


def _squared(x: Tensor, made: Tensor, *_: Tensor) -> Tensor:
    return (x - made).square().sum(1).mean()


CONTESTANTS: dict[str, type[Contestant]] = {
    "whyray": Whyray,
    "whyray bfloat16": WhyrayHalf,
    "whyray int8": WhyrayBytes,
    "sae-lens": SaeLens,
    "sae-lens bfloat16": SaeLensHalf,
    "dictionary_learning": DictionaryLearning,
    "overcomplete": Overcomplete,
}


@dataclass(frozen=True)
class Tokens:
    """Sums of ``K`` of 2,048 planted directions with weights of 0.5 to 1.5, some often and some rare, and noise."""

    directions: Tensor
    shares: Tensor

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``[count, D]``, of mean square 1."""
        chosen = torch.multinomial(self.shares.expand(count, -1), K, generator=generator)
        weights = 0.5 + torch.rand(count, K, generator=generator)
        offsets = torch.arange(0, count * K, K)
        x = torch.embedding_bag(self.directions, chosen.view(-1), offsets, False, 0, False, weights.view(-1))[0]
        x = x + 0.1 * torch.randn(x.shape, generator=generator) / D**0.5 * K**0.5
        return x / (x.square().mean().sqrt())


def planted() -> Tokens:
    """Directions and how often each is there; of a seed that no contestant starts its weights from."""
    generator = torch.Generator().manual_seed(9_876_543)
    directions = torch.nn.functional.normalize(torch.randn(2048, D, generator=generator), dim=1)
    return Tokens(directions, torch.exp(torch.randn(2048, generator=generator)))


def main() -> None:
    """Print the table, the bound and the memory."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--width", type=int, default=4096)
    options.add_argument("--only", default=",".join(CONTESTANTS))
    options.add_argument("--peaks", action="store_true", help="peak memory as well")
    options.add_argument("--memory", help=argparse.SUPPRESS)
    given = options.parse_args()
    torch.set_num_threads(1)
    with contextlib.suppress(WhyrayError):  # the peers import it
        ensure_torchvision()
    if given.memory:
        memory(given.memory, given.width)
        return
    names = [n for n in given.only.split(",") if n in CONTESTANTS]
    tokens, generator = planted(), torch.Generator().manual_seed(1)
    running = {name: made for name in names if (made := entered(name, given.width)) is not None}
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(given.rounds + 1):
        x = tokens.draw(BATCH, generator)
        for name, contestant in running.items():
            times[name].append(seconds_of(lambda c=contestant, x=x: c.step(x)))  # type: ignore[misc]
    held = tokens.draw(BATCH, torch.Generator().manual_seed(2))
    print(f"{D} -> {given.width}, k = {K}, batch {BATCH}, n = {given.rounds} steps, 1 thread, CPU seconds")
    for name, contestant in running.items():
        table_row(name, times, contestant, held)
    bound(given.width)
    if given.peaks:
        for name in running:
            print(f"{name:<22}+{peak(name, given.width)} MiB", flush=True)


def entered(name: str, width: int) -> Contestant | None:
    """The contestant, or None where its package is missing."""
    torch.manual_seed(0)
    try:
        return CONTESTANTS[name](width)
    except ImportError as error:
        print(f"{name}: left out ({error})")
        return None


def table_row(name: str, times: dict[str, list[float]], contestant: Contestant, held: Tensor) -> None:
    """One contestant: seconds a step, tokens a second, how many times whyray's steps it takes, its loss."""
    mine = np.array(times[name][1:])
    with torch.no_grad():
        left = float((contestant.rebuilt(held).float() - held).square().sum() / (held - held.mean(0)).square().sum())
    ratios = ""
    for own in [n for n in ("whyray", "whyray int8") if n in times]:
        low, middle, high = np.percentile(mine / np.array(times[own][1:]), [2.5, 50, 97.5])
        ratios += f"   x {own} {middle:6.2f} [{low:.2f}, {high:.2f}]"
    others = ""
    if isinstance(contestant, Whyray):
        share, around = contestant.others(held)
        others = f"   others {100 * share:.2f} +- {100 * around:.2f} %"
    step = float(np.median(mine))
    speed = f"{step:8.3f} s{BATCH / step:9.0f} tokens/s"
    print(f"{name:<22}{speed}{ratios}{others}   unexplained {left:.3f}", flush=True)


def peak(name: str, width: int) -> str:
    """MiB by which the peak of a process of its own grows."""
    child = [sys.executable, __file__, "--memory", name, "--width", str(width)]
    return subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]


def memory(name: str, width: int) -> None:
    """Print by how many MiB six steps raise the peak of this process above what it held before (Linux)."""
    x = planted().draw(BATCH, torch.Generator().manual_seed(1))
    CONTESTANTS[name](8 * K)  # imports
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    contestant = CONTESTANTS[name](width)
    for _ in range(6):
        contestant.step(x)
    print(f"{resident('VmHWM') - before:.0f}")


def bound(width: int) -> None:
    """What the encoder's product alone allows, and how many operations a token needs."""
    contestant, x = Whyray(width), torch.randn(BATCH, D)
    learner = contestant.learner
    with torch.no_grad():
        product = pre_activations(learner.weights, learner.loss)
        took = np.median([seconds_of(lambda: [product(rows) for rows in x.split(ROWS)]) for _ in range(7)])
    sparse = 2 * D * width + 4 * 2 * K * D
    dense = 5 * 2 * D * width
    print(f"operations a token: sparse {sparse / 1e6:.2f} M, dense {dense / 1e6:.1f} M")
    rate = 2 * D * width * BATCH / took / 1e9
    print(f"the encoder's product alone: {BATCH / took:.0f} tokens/s ({rate:.0f} GFLOP/s)")


def seconds_of(run: object) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    run()  # type: ignore[operator]
    return time.process_time() - started


if __name__ == "__main__":
    main()
