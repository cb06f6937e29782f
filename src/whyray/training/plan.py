"""What to train a classifier on, and how: frozen dataclasses, read from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import SettingError
from ..findings import finding
from .augment import Augment
from .loop import LoopPlan
from .settings import Plans

MARGIN = 8 / 7  # pictures are sampled from ones a little larger: 256 for 224


@dataclass(frozen=True)
class Source:
    """One data set, or a part of it.

    spec      as on the command line ("phantom", "folder:PATH"); ``$NAME`` comes from the environment.
    name      short name for tables.
    where     only cases whose ``facts`` have these values.
    findings  labels that are used; empty = all of the plan's. The others count as not labelled.
    draws     pictures an epoch (every one once before any comes twice); 0 = each once.
    implied   labels of parents from their children: lung opacity is present where a consolidation is, and absent where
              the data set says that there is no finding at all.
    selects   its validation AUC decides which epoch is kept.
    calibrates  findings whose calibration and operating point come from its validation split.
    about, licence  for the model card.
    """

    spec: str
    name: str
    where: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    draws: int = 0
    implied: bool = False
    selects: bool = True
    calibrates: tuple[str, ...] = ()
    about: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ClassifierPlan:
    """A classifier to train.

    architecture  a network of whyray's own by its name and settings ({"network": "densenet", "growth": 32, ...}).
    init          start from a weights file, or "timm:NAME" (a DenseNet whose tensors fit), or a trained folder;
                  the head is kept only where that names the same findings.
    tower         frozen image tower: a release in open_clip's layout, or hf-hub:NAME in the local cache. Only a head is
                  trained ({"network": "clip_vit", "hidden": 256}), on embeddings that are made once, of pictures as
                  they are: size, stored and augment do not apply.
    weighting     positives count (negatives / positives) ** weighting; 0 = all alike, 1 = balanced.
    uncertain     labels a data set calls uncertain (``case.facts["uncertain"]``): left out, absent or present.
    size          side of the input; ``sizes`` = sides during training, one a part of the run of equal length.
    stored        side at which training pictures are cached.
    dropout       share of the pooled features dropped.
    prevalences   finding -> reference prevalence of the calibrated probabilities; ``prevalence_source`` = whose.
    unfamiliar_percentile  of the validation pictures' distances: above it an input gets a warning.
    """

    name: str
    findings: tuple[str, ...]
    data: tuple[Source, ...]
    architecture: Mapping[str, Any]
    loop: LoopPlan = field(default_factory=LoopPlan)
    augment: Augment = field(default_factory=Augment)
    init: str = ""
    tower: str = ""
    weighting: float = 0.0
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore"
    size: int = 224
    sizes: tuple[int, ...] = ()
    stored: int = 256
    dropout: float = 0.2
    prevalences: Mapping[str, float] = field(default_factory=dict)
    prevalence_source: str = ""
    unfamiliar_percentile: float = 99.0
    licence: str = "unknown"
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.findings or not self.data:
            raise SettingError(f"the plan {self.name!r} needs at least one finding and one data set")
        object.__setattr__(self, "findings", tuple(finding(f) for f in self.findings))
        if len(set(self.findings)) != len(self.findings):
            raise SettingError(f"the plan {self.name!r} names a finding twice")
        if len({s.name for s in self.data}) != len(self.data):
            raise SettingError(f"the plan {self.name!r} has two data sets of one name; name them apart")
        for label, prevalence in self.prevalences.items():
            if not 0 < prevalence < 1:
                raise SettingError(f"prevalences.{label} = {prevalence}; give a share between 0 and 1")
        if self.tower and (self.init or self.sizes):
            raise SettingError("a plan with a tower trains a head only; leave out init and sizes")
        if not 0 <= self.dropout < 1 or min((self.size, *self.sizes)) < 32:
            raise SettingError("dropout lies from 0 to below 1, and pictures have at least 32 pixels a side")

    def side(self, epoch: int) -> int:
        """Side of the training pictures in an epoch."""
        return self.sizes[epoch * len(self.sizes) // self.loop.epochs] if self.sizes else self.size


_PLANS = Plans(ClassifierPlan, "classifier")
load_plan, plan_from = _PLANS.load, _PLANS.read
