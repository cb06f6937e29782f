"""Grad-CAM of 18 findings on DenseNet-121 at 224 px: against one plain forward pass, captum and pytorch-grad-cam.

    python benchmarks/gradcam.py [--rounds 5] [--threads 2]

Everything in one process and one run, rounds alternating; the same named layer (the map that pooling reads). The peers
loop over findings, as their documentation shows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from benchmarks_common import densenet121, wrapped

from whyray.engine.passes import use_large_malloc
from whyray.explainers.gradcam import class_activation

FINDINGS = 18


def main() -> None:
    """Print each contestant's median, the ratios to ours with their intervals, and how far the maps differ."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    use_large_malloc()
    contestants = {
        "one plain forward pass": plain(),
        "whyray": ours(),
        "captum": captum(),
        "pytorch-grad-cam": grad_cam(),
    }
    maps = {name: run() for name, run in contestants.items()}  # also warms up
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(given.rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - started))
    for name, values in times.items():
        ratio = (
            np.divide(values, times["whyray"])
            if name != "one plain forward pass"
            else np.divide(times["whyray"], values)
        )
        what = "whyray / it" if name == "one plain forward pass" else "it / whyray"
        low, middle, high = np.percentile(ratio, [2.5, 50, 97.5])
        gap = (
            "" if name == "one plain forward pass" else f", maps differ by {difference(maps[name], maps['whyray']):.1e}"
        )
        interval = f"{middle:.2f} [{low:.2f}, {high:.2f}], n = {given.rounds}"
        print(f"{name:<24}{np.median(values):>9.1f} ms   {what} {interval}{gap}")


def picture() -> torch.Tensor:
    """One picture of noise."""
    return torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(1))


def plain() -> Callable[[], torch.Tensor]:
    """What a classifier costs without any explanation."""
    module, x = densenet121(), picture()

    def run() -> torch.Tensor:
        with torch.no_grad():
            return module(x)

    return run


def ours() -> Callable[[], torch.Tensor]:
    """All findings from one pass."""
    classifier, x = wrapped(densenet121().to(memory_format=torch.channels_last)), picture()
    return lambda: class_activation(classifier, x, range(FINDINGS))[0][0]


def captum() -> Callable[[], torch.Tensor]:
    """One pass a finding."""
    from captum.attr import LayerGradCam

    module, x = densenet121().requires_grad_(True), picture()
    peer = LayerGradCam(module, module.last_relu)
    return lambda: torch.cat([peer.attribute(x, target=k)[0].detach() for k in range(FINDINGS)])


def grad_cam() -> Callable[[], torch.Tensor]:
    """One pass and one full backward a finding; raw maps, before it scales and resizes them."""
    from whyray._torchvision import ensure_torchvision

    ensure_torchvision()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module, x = densenet121().requires_grad_(True), picture()
    peer = GradCAM(module, [module.last_relu])

    def one(k: int) -> torch.Tensor:
        targets = [ClassifierOutputTarget(k)]
        peer(x.clone(), targets=targets)
        seen, gradients = peer.activations_and_grads.activations[0], peer.activations_and_grads.gradients[0]
        return torch.from_numpy(
            peer.get_cam_image(x, module.last_relu, targets, seen.numpy(), gradients.numpy(), False)
        )[0]

    return lambda: torch.stack([one(k) for k in range(FINDINGS)])


def difference(theirs: torch.Tensor, ours: torch.Tensor) -> float:
    """Largest difference of ReLU maps, each divided by its maximum."""
    a, b = (m.clamp(min=0) / m.clamp(min=0).amax((-2, -1), keepdim=True).clamp(min=1e-12) for m in (theirs, ours))
    return float((a - b).abs().max())


if __name__ == "__main__":
    main()
