"""What generator of explaining sentences to train without a pair of picture and sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import SettingError
from ..findings import finding as canonical
from .loop import LoopPlan
from .plan import Source
from .settings import Plans


@dataclass(frozen=True)
class Terms:
    """Which terms the loss has; the last two are ours.

    plausibility    "mmd" (to the database, a diagnosis and audience), "wgan-gp", or "none".
    alignment       the text names the diagnosis, as surely as the classifier does.
    reconstruction  the picture made from the text has the features of the picture that is explained.
    side, severity  the text states the side where the classifier's evidence lies, and how strong its answer is.
    """

    plausibility: Literal["mmd", "wgan-gp", "none"] = "mmd"
    alignment: bool = True
    reconstruction: bool = True
    side: bool = False
    severity: bool = False


@dataclass(frozen=True)
class Weighting:
    """How the terms are weighed: "uncertainty" = exp(-s) L + s with a learned s of each (Kendall et al., CVPR 2018), s
    between -``bound`` and ``bound``, and learned ``speed`` times as fast as the rest; "equal" = their sum. ``stress``
    multiplies what a term adds."""

    by: Literal["uncertainty", "equal"] = "uncertainty"
    bound: float = 4.0
    speed: float = 10.0
    stress: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CriticPlan:
    """The critic of "wgan-gp": its width, its steps a step of the generator, weight of the penalty, rate of Adam."""

    hidden: int = 512
    steps: int = 5
    penalty: float = 10.0
    lr: float = 1e-4


@dataclass(frozen=True)
class WenlexPlan:
    """A generator to train (after WeNLEX, arXiv 2603.18752).

    text          folder of the text autoencoder (``whyray train text-autoencoder``); it stays as it is.
    classifier    explained as it is (post-hoc). ``joint``: a copy of it is trained with the generator (in-model), by
                  its pictures' labels; the targets are the features of the one that stays.
    databases     audience -> a shipped database or a CSV file; ``examples`` sentences a diagnosis are drawn, 0 = all.
    mirrored      each of them also with left and right exchanged.
    diagnoses     whose sentences are learned; empty = every one that all databases and the classifier have.
    adapter       {"adapter": "llama" | "lora" | "prompt" | "prefix", ...}; see networks/adapters.py.
    pictures      {"widths": [...], "start": 4}: the network from text to picture; see networks/text_to_image.py.
    terms, weighting, critic  of the loss.
    queue         generated vectors of each diagnosis that are remembered for the MMD.
    certainty     weight of the classifier's probability beside the name of the diagnosis, in the alignment.
    centred       the cosine of reconstruction counts what pictures do not share; ``cells``: weight of the maps in it.
    rebuilt       what pictures are made from: the mean of a picture's vectors, that of "some" of them, or each
                  by itself ("label"); ``rebuilds``: pictures of a step that this is done for, 0 = all.
    labels        sentences on one picture in a step; ``least``: pictures of a diagnosis that count as called at least.
    through       "latent" (as published), or "words": each vector is written, and the loss sees that of the words.
    latent        share of the run that is through the latent before it goes through words.
    matched       share of the run in which each vector is also drawn to the nearest example that states the side
                  and the severity of the classifier's evidence; 0 = as published.
    corpus        where the heads of side and severity learn words: specs of the text autoencoder's plan.
    draws         pictures an epoch, each diagnosis as often as the others; 0 = as many as there are.
    validated     pictures of a validation; ``tested``: of the test split.
    init          a folder that an earlier training wrote: begin with its adapters and its network to pictures.
    precision     of G and the classifier behind it: "bfloat16" = autocast.
    """

    name: str
    data: tuple[Source, ...]
    text: str
    classifier: str
    joint: bool = False
    databases: Mapping[str, str] = field(default_factory=lambda: {"clinician": "clinician", "lay": "lay"})
    examples: int = 5
    mirrored: bool = False
    diagnoses: tuple[str, ...] = ()
    adapter: Mapping[str, Any] = field(default_factory=lambda: {"adapter": "llama"})
    pictures: Mapping[str, Any] = field(default_factory=lambda: {"widths": [512, 256, 128, 64, 32], "start": 4})
    terms: Terms = field(default_factory=Terms)
    weighting: Weighting = field(default_factory=Weighting)
    critic: CriticPlan = field(default_factory=CriticPlan)
    queue: int = 256
    certainty: float = 1.0
    centred: bool = False
    cells: float = 0.1
    rebuilt: Literal["mean", "some", "label"] = "mean"
    rebuilds: int = 0
    labels: int = 3
    least: int = 20
    through: Literal["latent", "words"] = "latent"
    latent: float = 0.3
    matched: float = 0.0
    corpus: tuple[str, ...] = ("phantom:clinician", "phantom:lay", "database:clinician", "database:lay")
    draws: int = 0
    validated: int = 100
    tested: int = 400
    precision: Literal["float32", "bfloat16"] = "float32"
    loop: LoopPlan = field(default_factory=lambda: LoopPlan(lr=5e-4, keep="last"))
    init: str = ""
    licence: str = "unknown"
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data or not self.databases:
            raise SettingError(f"the plan {self.name!r} needs at least one data set and one database")
        object.__setattr__(self, "diagnoses", tuple(canonical(f) for f in self.diagnoses))
        if (
            min(self.examples, self.draws, self.least, self.rebuilds) < 0
            or min(self.labels, self.queue, self.validated) < 1
        ):
            raise SettingError(
                "examples, draws, least and rebuilds are 0 or more; labels, queue and validated are 1 or more"
            )
        if not 0 <= self.latent <= 1 or not 0 <= self.matched <= 1 or min(self.cells, self.certainty) < 0:
            raise SettingError("latent and matched are shares from 0 to 1; cells and certainty are 0 or more")
        if min(self.weighting.bound, self.weighting.speed) <= 0:
            raise SettingError("weighting.bound and weighting.speed are above 0")

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom it speaks to, in the order of the plan."""
        return tuple(self.databases)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the weights, as plain JSON; folders and files by their names."""
        after = ("name", "classifier", "loop", "licence", "limits", "tested", "text")
        named = {"databases": {a: Path(p).name for a, p in self.databases.items()}, "init": Path(self.init).name}
        return {k: v for k, v in asdict(self).items() if k not in after} | named


_PLANS = Plans(WenlexPlan, "wenlex")
load_plan, plan_from = _PLANS.load, _PLANS.read
