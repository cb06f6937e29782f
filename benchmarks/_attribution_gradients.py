"""Integrated gradients, 50 steps, black baseline, one finding: captum at its best setting, and the memory of each.

python benchmarks/_attribution_gradients.py NAME FINDINGS     # peak of one contestant, in a process of its own
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from attribution import Contestant, Subject, correlation, largest_difference
from benchmarks_common import resident

from whyray.contracts import Context
from whyray.explainers.integrated_gradients import IntegratedGradients

STEPS, EACH_WAY = 50, 2  # a backward pass to the input costs about a forward pass


def contestants(subject: Subject, findings: int = 1) -> list[Contestant]:
    """Ours for all asked findings at once, captum in a loop over them (one of its calls is run)."""
    shared = STEPS * (1 + findings)
    made = [
        Contestant(
            f"whyray, {findings} of 18 findings",
            partial(ours, subject, findings),
            shared,
            agrees=peak("ours", findings),
        )
    ]
    for batch in (1, 8):
        made.append(
            Contestant(
                f"captum internal_batch_size={batch}",
                partial(captum, subject, batch),
                STEPS * EACH_WAY * findings,
                scale=findings,
                agrees=peak(str(batch), findings),
            )
        )
    return made


def ours(subject: Subject, findings: int) -> np.ndarray:
    """Maps ``[f, h, w]``."""
    explainer = IntegratedGradients(baseline="0", steps=STEPS, tolerance=0)
    asked = subject.classifier.findings[:findings]
    made = explainer.explain(subject.classifier, [subject.radiograph], asked, Context())[0]
    return np.stack([made[f].attribution().values for f in asked])  # type: ignore[attr-defined]


def captum(subject: Subject, batch: int) -> np.ndarray:
    """One of its calls."""
    from captum.attr import IntegratedGradients as Peer

    made = Peer(subject.module).attribute(subject.x, target=0, n_steps=STEPS, internal_batch_size=batch)
    return made.detach()[0].numpy()


def peak(name: str, findings: int) -> Callable[[np.ndarray, np.ndarray], str]:
    """Agreement, and the growth of the resident set in a process of its own."""

    def words(mine: np.ndarray, yardstick: np.ndarray) -> str:
        command = [sys.executable, __file__, name, str(findings)]
        grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        same = f"{correlation(mine, yardstick[: len(mine)])}, {largest_difference(mine, yardstick[: len(mine)])}"
        return f"{same}, +{grown} MiB"

    return words


def main() -> None:
    """Print how much the resident set grew over that of the process with the model loaded and run once."""
    import torch

    name, findings = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(2)
    subject = Subject()
    run = partial(ours, subject, findings) if name == "ours" else partial(captum, subject, int(name))
    with torch.no_grad():
        subject.module(subject.x), subject.classifier.logits(subject.x)
    before = resident("VmRSS")
    run()
    print(round(resident("VmHWM") - before))


if __name__ == "__main__":
    main()
