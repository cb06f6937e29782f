"""Latent Shift: the radiograph with a finding weaker or stronger, as drawn by an autoencoder (Cohen, MIDL 2021)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..cards import Operation
from ..contracts import Asked, Capability, Classifier, Context, Explainer, cells_to_pixels, in_range
from ..errors import SettingError
from ..explanations import Counterfactual, Explanation
from ..models._predict import sigmoid
from ..types import Frame, Provenance, Radiograph
from ._latent import TOLERANCE, Side, Stop, search, shift_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models._autoencoders import Autoencoder

REASONS = {
    "monotone": "the prediction turned back",
    "distortion": "the picture would have changed too much",
    "range": "the prediction hardly follows this direction",
    "flat": "the prediction does not depend on the latent here",
}
FIDELITY = 0.6  # a reconstruction that keeps less of a probability (or 1 / FIDELITY of it) gets a warning
SEEN = 0.01  # if that is a change of at least so much
SIDES: dict[Side, str] = {-1: "removal", 1: "exaggeration"}


@dataclass(frozen=True)
class LatentShift(Explainer):
    """Frames x'(lambda) = D(z + lambda g) between the finding taken away and exaggerated; one gradient, no iteration.

    removal       the probability falls to this share of the reconstruction's; 1 = do not remove.
    exaggeration  the odds rise to this many times the reconstruction's; 1 = do not exaggerate.
    frames        pictures along the path, that at lambda = 0 (the reconstruction) included.
    distortion    a side ends where the picture has changed by this share of its mean grey value.
    autoencoder   a folder or ``xrv-ae:101-elastic``; empty = the one that belongs to the classifier.

    The classifier sees reconstructions only. Checks: "reconstruction_error" (mean absolute grey difference to what the
    model saw), "kept" (probability of the reconstruction over that of the radiograph), "reached_removal" and
    "reached_exaggeration" (share of the asked change in logits), "trimmed" (frames dropped where it turned).
    """

    kind: ClassVar[str] = "counterfactual"
    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    cost: ClassVar[float] = 40.0
    paper: ClassVar[str] = "Cohen et al., Gifsplanation via Latent Shift, MIDL 2021"

    removal: float = 0.1
    exaggeration: float = 10.0
    frames: int = 11
    distortion: float = 0.1
    autoencoder: str = ""

    def __post_init__(self) -> None:
        in_range("removal", self.removal, 1e-6, 1)
        in_range("exaggeration", self.exaggeration, 1, 1e6)
        in_range("frames", self.frames, 2, 101)
        in_range("distortion", self.distortion, 1e-3, 10)
        if self.removal == 1 and self.exaggeration == 1:
            raise SettingError("removal=1 and exaggeration=1 came: nothing would change; lower one or raise the other")

    def passes(self, findings: int) -> float:
        """Search and frames of each finding, both sides; the autoencoder's part is counted like the classifier's."""
        return 2 * findings * (self.frames + 24)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One Counterfactual a finding; all findings of a picture share its encoding and their batches."""
        asked = Asked(self, classifier, radiographs, findings, context)
        autoencoder = self._autoencoder(classifier, context)
        results = []
        for i, (radiograph, frame) in enumerate(zip(asked.radiographs, asked.frames, strict=True)):
            started = time.monotonic()
            made = self._paths(asked, autoencoder, frame)
            provenance = asked.provenance(radiograph, frame, time.monotonic() - started)
            done: dict[str, Explanation] = {path.finding: path.explanation(provenance) for path in made}
            results.append(done)
            context.step((i + 1) / len(asked.frames))
        return results

    def _autoencoder(self, classifier: Classifier, context: Context) -> Autoencoder:
        from ..models._autoencoders import KIND, autoencoder_for

        if context.artefact is not None and not self.autoencoder:
            found: Autoencoder = context.artefact(KIND, classifier.fingerprint)
            return found
        return autoencoder_for(classifier, self.autoencoder)

    def _paths(self, asked: Asked, autoencoder: Autoencoder, frame: Frame) -> list[Path]:
        """Direction, search and sweep of every finding of one picture."""
        import torch

        from ..models._autoencoders import sized, to_grey

        classifier, columns = asked.classifier, asked.columns
        x = torch.from_numpy(frame.pixels)[None]
        grey = sized(to_grey(x, classifier.card.preparation), autoencoder.preparation.size).clamp(0, 1)
        shift = shift_of(classifier, autoencoder, grey, columns, batch=asked.context.batch)
        with torch.no_grad():
            original = classifier.logits(x)[0].double().cpu().numpy()
        operations = [classifier.card.operations.get(f, Operation()) for f in asked.findings]
        wanted = {sign: self.wanted(shift.logits[columns], operations, sign) for sign in SIDES}
        bounds = {
            sign: search(shift, columns, wanted[sign].tolist(), sign=sign, distortion=self.distortion) for sign in SIDES
        }
        steps = [self.lambdas(low.lam, high.lam) for low, high in zip(bounds[-1], bounds[1], strict=True)]
        owner = np.repeat(np.arange(len(columns)), [len(s) for s in steps])
        pictures, logits = shift.frames(owner.tolist(), np.concatenate(steps).tolist())
        return [
            Path(
                finding=finding,
                column=columns[j],
                findings=classifier.findings,
                operation=operations[j],
                frame=frame,
                base=grey[0, 0].cpu().numpy(),
                original=original,
                lambdas=steps[j],
                pictures=pictures[owner == j],
                logits=logits[owner == j],
                wanted=(wanted[-1][j], wanted[1][j]),
                stop=(bounds[-1][j].stop, bounds[1][j].stop),
            )
            for j, finding in enumerate(asked.findings)
        ]

    def wanted(self, logits: NDArray[np.float64], operations: Sequence[Operation], sign: Side) -> NDArray[np.float64]:
        """How far each logit is to move on one side, > 0; 0 = not at all. Targets are on the calibrated probability."""
        slope = np.array([max(o.slope, 1e-3) for o in operations])
        if sign > 0:
            return np.asarray(np.log(self.exaggeration) / slope)
        odds = slope * logits + np.array([o.intercept for o in operations])
        target = self.removal / (1 + np.exp(-odds))
        return np.asarray((odds - np.log(target / (1 - target))) / slope) if self.removal < 1 else np.zeros(len(odds))

    def lambdas(self, low: float, high: float) -> NDArray[np.float64]:
        """Evenly from ``low`` to 0 and from 0 to ``high``, half of the frames each; a side of no width has none."""
        half = (self.frames - 1) // 2 if low < 0 < high else self.frames - 1
        left = np.linspace(low, 0, half + 1)[:-1] if low < 0 else np.empty(0)
        right = np.linspace(0, high, self.frames - len(left))[1:] if high > 0 else np.empty(0)
        return np.concatenate([left, [0.0], right])


@dataclass(frozen=True, eq=False)
class Path:
    """The pictures of one finding from lambda < 0 over 0 to lambda > 0, and what the classifier makes of them.

    base  the model's view of the radiograph; pictures ``[k, h, w]``, logits ``[k, F]``; original ``[F]``: logits of the
    radiograph itself. wanted, stop: per side, the change asked for in logits and why the search ended.
    """

    finding: str
    column: int
    findings: tuple[str, ...]
    operation: Operation
    frame: Frame
    base: NDArray[np.float32]
    original: NDArray[np.float64]
    lambdas: NDArray[np.float64]
    pictures: NDArray[np.float32]
    logits: NDArray[np.float64]
    wanted: tuple[float, float]
    stop: tuple[Stop, Stop]

    def explanation(self, provenance: Provenance) -> Counterfactual:
        """The path where its prediction rises with lambda, with its checks and what a reader ought to know."""
        kept = rising(self.logits[:, self.column], int(np.argmin(np.abs(self.lambdas))))
        values, lambdas = self.logits[kept, self.column], self.lambdas[kept]
        zero = int(np.argmin(np.abs(lambdas)))
        stop = tuple("monotone" if t else s for s, t in zip(self.stop, (not kept[0], not kept[-1]), strict=True))
        checks = {
            "reconstruction_error": float(np.abs(self.pictures[kept][zero] - self.base).mean()),
            "kept": self.probability(values[zero]) / max(self.probability(self.original[self.column]), 1e-9),
            "reached_removal": share(values[zero] - values[0], self.wanted[0]),
            "reached_exaggeration": share(values[-1] - values[zero], self.wanted[1]),
            "trimmed": float(len(kept) - kept.sum()),
        }
        scale = cells_to_pixels(self.base.shape, self.frame.pixels.shape[1:])
        return Counterfactual(
            finding=self.finding,
            provenance=provenance,
            checks=checks,
            notes=self.notes(checks, stop),
            frames=self.pictures[kept],
            lambdas=lambdas,
            logits=self.logits[kept],
            findings=self.findings,
            probabilities=np.array([self.probability(v) for v in values]),
            base=self.base,
            to_source=self.frame.to_source @ scale,
            source_shape=self.frame.source_shape,
            stop=(stop[0], stop[1]),
        )

    def probability(self, logit: float) -> float:
        """As the card gives it."""
        return sigmoid(self.operation.slope * logit + self.operation.intercept)

    def notes(self, checks: dict[str, float], stop: tuple[str, ...]) -> tuple[str, ...]:
        """The fidelity badge, and sides that did not reach what was asked for."""
        words = self.finding.replace("_", " ")
        out = ["The pictures are drawn by a model: they show what would change its prediction, not the patient."]
        before = self.probability(self.original[self.column])
        if abs(checks["kept"] - 1) * before > SEEN and not FIDELITY <= checks["kept"] <= 1 / FIDELITY:
            change = f"{'lost' if checks['kept'] < 1 else 'gained'} {100 * abs(checks['kept'] - 1):.0f} % of"
            out.append(f"The reconstruction already {change} this prediction ({words}): do not trust it.")
        for name, why, asked in zip(SIDES.values(), stop, self.wanted, strict=True):
            if asked > 0 and why != "target":
                out.append(f"The {name} of {words} stopped short: {REASONS[why]}.")
        return tuple(out)


def share(moved: float, wanted: float) -> float:
    """Of the change asked for; NaN where none was."""
    return float(moved / wanted) if wanted > 0 else float("nan")


def rising(values: NDArray[np.float64], zero: int, tolerance: float = TOLERANCE) -> NDArray[np.bool_]:
    """The frames around ``zero`` along which the prediction rises: each side ends before the first that turns back."""
    kept = np.zeros(len(values), bool)
    kept[zero] = True
    for step in (-1, 1):
        i = zero + step
        while 0 <= i < len(values) and step * (values[i] - values[i - step]) >= -tolerance:
            kept[i] = True
            i += step
    return kept
