"""What ensemble of transcoders to train."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import SettingError
from ..networks.transcoder import Kind, Shape
from ._sparse_step import Precision
from .settings import Plans


@dataclass(frozen=True)
class TranscodersPlan:
    """An ensemble of transcoders.

    kind      "topk", "jumprelu" (with ``l1``) or "matryoshka" (with ``levels``).
    width, k  latents a member, and codes a token.
    basis     principal components of the tokens that the encoder reads; 0 = the tokens as they are.
    share     of the patients that a member sees, drawn anew for each.
    epochs    passes over the data; all members learn from each part of it while it is in memory.
    batch, part  tokens a step, and tokens in memory at once.
    lr        highest rate; 0 = 2e-4 / sqrt(width / 2^14), the rule of the TopK papers. It rises over the share
              ``warmup`` of the run and falls to nothing over its last ``decay``.
    aux       weight of the AuxK loss; ``dead_after`` = tokens without a code that make a latent dead.
    precision "bfloat16", "int8": codes are chosen in it. "int8" is for wide encoders on processors with AVX-512 VNNI;
              on others torch multiplies it in a plain loop.
    split     of the store that is learned from; ``measure`` = the split for the figures of each member.
    processes, engine  how members are spread ("ray": over a cluster); the result of each is the same bit for bit.
    save_s    seconds between checkpoints.
    """

    name: str = "transcoders"
    members: int = 100
    kind: Kind = "topk"
    width: int = 512
    k: int = 16
    levels: tuple[int, ...] = ()
    basis: int = 64
    share: float = 0.8
    epochs: int = 1
    batch: int = 2048
    part: int = 50_000
    lr: float = 0.0
    warmup: float = 0.05
    decay: float = 0.2
    clip: float = 1.0
    aux: float = 1 / 32
    dead_after: int = 100_000
    l1: float = 0.0
    precision: Precision = "float32"
    split: str = "train"
    measure: str = "val"
    seed: int = 0
    processes: int = 1
    engine: Literal["local", "ray"] = "local"
    save_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("members", "epochs", "batch", "part", "processes", "clip", "dead_after"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name}={getattr(self, name)} came; give a number above 0")
        for name in ("lr", "l1", "aux", "basis", "warmup", "decay"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name}={getattr(self, name)} came; give 0 or more")
        if not 0 < self.share <= 1 or self.warmup + self.decay > 1:
            raise SettingError("share lies above 0 and at most at 1, and warmup and decay fill at most the whole run")
        if self.kind == "jumprelu" and self.precision != "float32":
            raise SettingError(f"jumprelu in {self.precision} came; its thresholds need precision=float32")
        self.shape(1, 1)

    def shape(self, d_in: int, d_out: int) -> Shape:
        """A member's sizes."""
        return Shape(d_in, d_out, self.width, self.k, self.kind, self.levels)

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.lr or 2e-4 / (self.width / 2**14) ** 0.5

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the weights, as plain JSON."""
        return {k: v for k, v in asdict(self).items() if k not in ("name", "processes", "engine", "save_s")}


_PLANS = Plans(TranscodersPlan, "transcoders")
load_plan, plan_from = _PLANS.load, _PLANS.read
