"""What generator of explaining sentences to train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..datasets._phantom_nle import Audience
from ..errors import SettingError
from ..findings import crosswalk
from ..findings import finding as canonical
from ..networks.decoding import Decoding
from .augment import Augment
from .loop import LoopPlan
from .plan import Source
from .settings import Plans


@dataclass(frozen=True)
class NlePlan:
    """A generator to train (after Kayser et al., MICCAI 2022).

    classifier    explained as it is (post-hoc), by its last feature map and its probabilities; empty = one is trained
                  with the generator (in-model), by ``vision``, with three states (negative, uncertain, positive).
    architecture  {"network": "dpt" | "ratchet" | "tienet", "width": 128, ...}; see networks/narrator.py.
    vision        {"network": "densenet", ...} and where it starts from (``init``, as in a classifier's plan).
    findings      of the classifier that is trained; MIMIC-NLE's ten.
    diagnoses     whose sentences are learned; empty = every one that occurs.
    audience      "clinician", or "lay": sentences in plain words, which phantoms alone have.
    forcing       prediction that the generator reads while it learns: "labels" as published, or "predictions".
    image         weight of the classifier's loss beside that of the words; ``weighting``: states count
                  (1 / their share) ** weighting.
    vocabulary    tokens that are learned from the training sentences.
    pretrained    folder with GPT-2's files (or hf-hub:NAME in the local cache): its tokens, weights and sizes.
    decoding      how sentences are written when they are measured.
    validated     pairs at most that a validation writes; ``tested``: pictures of the test split that are measured.
    bertscore     folder of the model for the BERTScore in the selection; without one the term is left out.
    """

    name: str
    data: tuple[Source, ...]
    architecture: Mapping[str, Any] = field(default_factory=lambda: {"network": "dpt"})
    classifier: str = ""
    vision: Mapping[str, Any] = field(default_factory=lambda: {"network": "densenet"})
    init: str = ""
    findings: tuple[str, ...] = tuple(crosswalk("mimic-nle-10").values())
    diagnoses: tuple[str, ...] = ()
    audience: Audience = "clinician"
    loop: LoopPlan = field(default_factory=lambda: LoopPlan(keep="best"))
    augment: Augment = field(default_factory=Augment)
    forcing: Literal["labels", "predictions"] = "labels"
    image: float = 1.0
    weighting: float = 0.5
    size: int = 224
    stored: int = 256
    vocabulary: int = 1024
    pretrained: str = ""
    decoding: Decoding = field(default_factory=lambda: Decoding(beams=1))
    validated: int = 200
    tested: int = 400
    bertscore: str = ""
    licence: str = "unknown"
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise SettingError(f"the plan {self.name!r} needs at least one data set")
        for name in ("findings", "diagnoses"):
            object.__setattr__(self, name, tuple(canonical(f) for f in getattr(self, name)))
        if self.image < 0 or self.weighting < 0 or self.vocabulary < 258 or self.validated < 1:
            raise SettingError("image and weighting are 0 or more, vocabulary 258 or more, validated 1 or more")
        if self.classifier and self.init:
            raise SettingError("init is for a classifier that is trained here; leave out init, or classifier")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the weights, as plain JSON; folders by their names."""
        after = ("name", "classifier", "loop", "licence", "limits", "tested")
        named = {k: Path(getattr(self, k)).name for k in ("init", "pretrained", "bertscore")}
        return {k: v for k, v in asdict(self).items() if k not in after} | named


_PLANS = Plans(NlePlan, "sentences")
load_plan, plan_from = _PLANS.load, _PLANS.read
