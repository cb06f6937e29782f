"""Latent Shift: the radiograph with a finding weaker or stronger, as drawn by an autoencoder (Cohen, MIDL 2021)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ..cards import Operation
from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..engine.backends import Backend
from ..errors import SettingError
from ..explanations import Explanation
from ..types import Frame, Radiograph
from ._latent import Shift, Side, shift_of
from ._latent_path import FIDELITY as FIDELITY
from ._latent_path import SEEN as SEEN
from ._latent_path import Path
from ._latent_published import FRAMES, walked, wanted_logits
from ._latent_region import box_of, weights
from ._latent_search import Bound, Rules, Target, relinearised
from ._latent_sweep import confirmed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..models._autoencoders import Autoencoder

    Array = NDArray[np.float64]

SIDES: tuple[Side, Side] = (-1, 1)


@dataclass(frozen=True)
class LatentShift(Explainer):
    """Frames x'(lambda) = D(z + lambda g) between the finding taken away and exaggerated; one gradient, no iteration.

    removal       the probability falls to this share of the reconstruction's; 1 = do not remove.
    exaggeration  the odds rise to this many times the reconstruction's; 1 = do not exaggerate.
    frames        pictures along the path, that at lambda = 0 (the reconstruction) included; 0 = 11, or as published.
    distortion    a side ends where the picture has changed by this share of its mean grey value.
    rules         "gif" or "later": the published search, removal only; "own" = the targets above.
    steps         parts of the way, each along the gradient where the one before it ended; 1 = as in the paper.
    smooth        blur of the gradient, a standard deviation in pixels of the picture, so that regions change and not
                  fine waves that nobody sees; 0 = none, as in the paper.
    mix           share of the radiograph itself in each picture; 0 = none, as in the paper.
    region        ``x0;y0;x1;y1`` in pixels of the radiograph: nothing outside changes; empty = everywhere.
    autoencoder   a folder or ``xrv-ae:101-elastic``; empty = the one that belongs to the classifier.
    backend       of the passes without gradients.

    The classifier sees reconstructions only. Checks: "reconstruction_error" (mean absolute grey difference to what the
    model saw), "kept" (probability of the reconstruction over that of the radiograph), "reached_removal" and
    "reached_exaggeration" (share of the asked change in logits), "turned" (frames from where it turns back on),
    "trimmed" (those left out for it), "revised" (times that the frames made the search look again), "looked" (passes).
    """

    kind: ClassVar[str] = "counterfactual"
    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    version: ClassVar[int] = 2
    cost: ClassVar[float] = 40.0
    paper: ClassVar[str] = "Cohen et al., Gifsplanation via Latent Shift, MIDL 2021"

    removal: float = 0.1
    exaggeration: float = 10.0
    frames: int = 0
    distortion: float = 0.1
    rules: Literal["own", "gif", "later"] = "own"
    steps: int = 1
    smooth: float = 0.0
    mix: float = 0.0
    region: str = ""
    autoencoder: str = ""
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        in_range("removal", self.removal, 1e-6, 1)
        in_range("exaggeration", self.exaggeration, 1, 1e6)
        in_range("frames", self.frames or 2, 2, 101)
        in_range("distortion", self.distortion, 1e-3, 10)
        in_range("steps", self.steps, 1, 20)
        in_range("smooth", self.smooth, 0, 64)
        in_range("mix", self.mix, 0, 0.95)
        if self.region:
            box_of(self.region)
        if self.removal == 1 and self.exaggeration == 1:
            raise SettingError("removal=1 and exaggeration=1 came: nothing would change; lower one or raise the other")
        if self.rules != "own":
            if self.rules not in FRAMES:
                raise SettingError(f"setting rules={self.rules!r} came; give own, gif or later")
            own = {f.name: f.default for f in dataclasses.fields(self)}
            given = [n for n in ("removal", "exaggeration", "distortion", "steps") if getattr(self, n) != own[n]]
            if given:
                raise SettingError(f"rules={self.rules} brings its own search; leave out {', '.join(given)}")

    def passes(self, findings: int) -> float:
        """Search and frames of each finding, both sides; the autoencoder's part is counted like the classifier's."""
        return 2 * findings * (self.shown + 12 * self.steps)

    @property
    def shown(self) -> int:
        """Pictures of a path."""
        return self.frames or (11 if self.rules == "own" else FRAMES[self.rules])

    def reads(self, classifier: Classifier) -> Mapping[str, str]:
        """The autoencoder."""
        from ..models._autoencoders import autoencoder_for

        return {"autoencoder": autoencoder_for(classifier, self.autoencoder).sha256}

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Counterfactual a finding; all findings of a picture share its encoding and their batches."""
        from ..models._autoencoders import KIND, autoencoder_for

        asked = Asked(self, classifier, radiographs, findings, context)
        autoencoder = context.resolved(KIND, classifier, autoencoder_for, self.autoencoder)
        results = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            made = self._paths(asked, autoencoder, frame, i / len(asked.frames))
            provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
            done: dict[str, Explanation] = {path.finding: path.explanation(provenance) for path in made}
            results.append(done)
            context.step((i + 1) / len(asked.frames))
        return results

    def _paths(self, asked: Asked, autoencoder: Autoencoder, frame: Frame, done: float) -> list[Path]:
        """Direction, search and sweep of every finding of one picture; ``done``: share of the call before it."""
        import torch

        from ..models._autoencoders import sized, to_grey

        classifier = asked.classifier
        x = torch.from_numpy(frame.pixels)[None]
        grey = sized(to_grey(x, classifier.card.preparation), autoencoder.preparation.size).clamp(0, 1)
        with torch.no_grad():
            original = classifier.logits(x)[0].double().cpu().numpy()
        shift = self._shift(asked, autoencoder, grey, frame, done)
        operations = [classifier.card.operations.get(f, Operation()) for f in asked.findings]
        sides = {sign: self.wanted(shift.logits[asked.columns], operations, sign) for sign in SIDES}
        shift, bounds, revised = self._bounds(shift, asked.columns, sides)
        steps = [self.lambdas(*(bounds[sign][j].lam for sign in SIDES)) for j in range(len(asked.columns))]
        owner = np.repeat(np.arange(len(asked.columns)), [len(s) for s in steps])
        pictures, logits = shift.frames(owner.tolist(), np.concatenate(steps).tolist())
        return [
            Path(
                finding=finding,
                column=asked.columns[j],
                findings=classifier.findings,
                operation=operations[j],
                frame=frame,
                base=grey[0, 0].cpu().numpy(),
                original=original,
                lambdas=steps[j],
                pictures=pictures[owner == j],
                logits=logits[owner == j],
                wanted=(sides[-1][j], sides[1][j]),
                stop=(bounds[-1][j].stop, bounds[1][j].stop),
                looked=sum(i == j for i, _ in shift.paid),
                trims=self.rules == "own",
                revised=revised[j],
            )
            for j, finding in enumerate(asked.findings)
        ]

    def _shift(self, asked: Asked, autoencoder: Autoencoder, grey: Tensor, frame: Frame, done: float) -> Shift:
        """Direction of every finding: the gradient of its logit, or of its probability as published."""
        import torch

        own, (h, w) = self.rules == "own", grey.shape[-2:]
        return shift_of(
            asked.classifier,
            autoencoder,
            grey,
            asked.columns,
            value=(lambda logits: logits) if own else torch.sigmoid,
            smooth=self.smooth,
            mix=self.mix,
            region=torch.from_numpy(weights(box_of(self.region), frame, (h, w))) if self.region else None,
            clip=own,
            backend=self.backend,
            batch=asked.context.batch,
            check=lambda: asked.context.step(done),
        )

    def _bounds(
        self, shift: Shift, columns: Sequence[int], sides: dict[Side, Array]
    ) -> tuple[Shift, dict[Side, list[Bound]], list[int]]:
        """Both sides of every finding, the way that may have bent meanwhile, and how often frames revised an end."""
        if self.rules != "own":
            found, revised = walked(shift, columns, self.rules, self.lambdas)
            return shift, {-1: found, 1: [Bound() for _ in columns]}, revised
        targets = [Target(j, c, sign, float(sides[sign][j])) for sign in SIDES for j, c in enumerate(columns)]
        rules = Rules(self.distortion)
        shift, found = relinearised(shift, targets, rules, self.steps)
        found, revised = confirmed(shift, targets, rules, found, self.lambdas)
        return shift, {-1: found[: len(columns)], 1: found[len(columns) :]}, revised

    def wanted(self, logits: Array, operations: Sequence[Operation], sign: Side) -> Array:
        """How far each logit is to move on one side, > 0; 0 = not at all. Targets are on the calibrated probability."""
        if self.rules != "own":
            return wanted_logits(self.rules, logits) if sign < 0 else np.zeros(len(logits))
        slope = np.array([max(o.slope, 1e-3) for o in operations])
        if sign > 0:
            return np.asarray(np.log(self.exaggeration) / slope)
        odds = slope * logits + np.array([o.intercept for o in operations])
        target = self.removal / (1 + np.exp(-odds))
        return np.asarray((odds - np.log(target / (1 - target))) / slope) if self.removal < 1 else np.zeros(len(odds))

    def lambdas(self, low: float, high: float) -> Array:
        """Evenly from ``low`` to 0 and from 0 to ``high``, half of the frames each; a side of no width has none."""
        half = (self.shown - 1) // 2 if low < 0 < high else self.shown - 1
        left = np.linspace(low, 0, half + 1)[:-1] if low < 0 else np.empty(0)
        right = np.linspace(0, high, self.shown - len(left))[1:] if high > 0 else np.empty(0)
        return np.concatenate([left, [0.0], right])
