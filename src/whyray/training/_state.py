"""Everything a training run is at one moment, to and from a checkpoint."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoints import Checkpoint
from .muon import Muon


class State:
    """Module, average, optimisers, position (epoch, step in it, steps in all), best weights and history."""

    def __init__(
        self, module: nn.Module, lr: float, weight_decay: float, averaged: bool, optimiser: str = "adamw"
    ) -> None:
        self.module = module
        self.average = copy.deepcopy(module).requires_grad_(False) if averaged else None
        learned = [p for p in module.parameters() if p.requires_grad]
        kernels = [p for p in learned if p.ndim > 2 and optimiser == "muon"]
        wide = [p for p in learned if p.ndim > 1 and (p.ndim == 2 or not kernels)]
        thin = [p for p in learned if p.ndim <= 1]
        groups = [{"params": wide, "weight_decay": weight_decay}, {"params": thin, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        self.optimisers: list[torch.optim.Optimizer] = []
        if groups:
            self.optimisers.append(torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True))
        if kernels:
            self.optimisers.append(Muon(kernels, lr=lr, weight_decay=weight_decay))
        self.epoch = self.step = self.total = 0
        self.loss = self.seconds = 0.0
        self.best: dict[str, Tensor] = {}
        self.best_score = float("-inf")
        self.history: list[Mapping[str, float]] = []
        self.dirty = True

    def set_rate(self, lr: float) -> None:
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = lr

    def advance(self, ema: float) -> None:
        """One step of each optimiser, and the average after it."""
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.step, self.total, self.dirty = self.step + 1, self.total + 1, True
        if self.average is not None:
            follow(self.average, self.module, min(ema, (1 + self.total) / (10 + self.total)))

    def kept_module(self) -> nn.Module:
        """What is validated: the average where there is one."""
        return self.module if self.average is None else self.average

    def kept(self) -> dict[str, Tensor]:
        """Its state dict."""
        return self.kept_module().state_dict()

    def checkpoint(self, config: str) -> Checkpoint:
        """All of it, with the generators as they are now."""
        tensors = {f"model.{k}": v for k, v in self.module.state_dict().items()}
        average = {} if self.average is None else self.average.state_dict()
        tensors |= {f"average.{k}": v for k, v in average.items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        for n, optimiser in enumerate(self.optimisers):
            slots = optimiser.state_dict()["state"]
            tensors |= {f"optimiser.{n}.{i}.{k}": v for i, slot in slots.items() for k, v in slot.items()}
        rng, facts = rng_state()
        return Checkpoint(
            {**tensors, **rng},
            {
                "config": config,
                "epoch": self.epoch,
                "step": self.step,
                "total": self.total,
                "loss": self.loss,
                "seconds": self.seconds,
                "best_score": self.best_score,
                "history": self.history,
                "rng": facts,
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of ``checkpoint``."""
        tensors, facts = checkpoint.tensors, checkpoint.facts
        self.module.load_state_dict(_part(tensors, "model."))
        if self.average is not None:
            self.average.load_state_dict(_part(tensors, "average."))
        self.best = _part(tensors, "best.")
        for n, optimiser in enumerate(self.optimisers):
            _restore(optimiser, _part(tensors, f"optimiser.{n}."))
        self.epoch, self.step, self.total = facts["epoch"], facts["step"], facts["total"]
        self.loss, self.seconds, self.best_score = facts["loss"], facts["seconds"], facts["best_score"]
        self.history, self.dirty = list(facts["history"]), False
        set_rng_state(tensors, facts["rng"])


def _restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        slots.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, slot in optimiser.state.items():  # the fused step pairs numbers by their place in memory
        slot |= {k: torch.empty_like(parameter).copy_(v) for k, v in slot.items() if v.shape == parameter.shape}


def follow(average: nn.Module, module: nn.Module, decay: float) -> None:
    """average = decay * average + (1 - decay) * module, buffers too; whole numbers are copied."""
    with torch.no_grad():
        pairs = list(zip(average.state_dict().values(), module.state_dict().values(), strict=True))
        floats = [(kept, new) for kept, new in pairs if kept.dtype.is_floating_point]
        torch._foreach_lerp_([kept for kept, _ in floats], [new for _, new in floats], 1 - decay)
        for kept, new in pairs:
            if not kept.dtype.is_floating_point:
                kept.copy_(new)


def rng_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """States of torch's, numpy's and Python's global generators: (tensors, JSON)."""
    tensors = {"rng.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"rng.cuda.{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    tensors["rng.numpy"] = torch.from_numpy(np.asarray(keys, np.int64))
    version, words, gauss_next = random.getstate()
    numpy_facts = [str(kind), int(position), int(has_gauss), float(gauss)]
    return tensors, {"numpy": numpy_facts, "python": [version, list(words), gauss_next]}


def set_rng_state(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """The inverse of ``rng_state``."""
    torch.set_rng_state(tensors["rng.torch"])
    cuda = [tensors[k] for k in sorted(tensors) if k.startswith("rng.cuda.")]
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
    kind, position, has_gauss, gauss = facts["numpy"]
    np.random.set_state((kind, tensors["rng.numpy"].numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = facts["python"]
    random.setstate((version, tuple(words), gauss_next))


@contextlib.contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """The global generators seeded inside, and as before outside."""
    tensors, facts = rng_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
    finally:
        set_rng_state(tensors, facts)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
