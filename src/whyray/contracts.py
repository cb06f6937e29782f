"""The whole extension contract on one page: Classifier, Explainer, Context, Dataset, Metric.

A new explainer is one file in ``explainers/`` (or an entry point of the group ``whyray.explainers``) with one subclass
of ``Explainer``; a model or data set is one file with a function ``load(argument) -> Classifier | Dataset``.
``whyray.testing`` checks each contract.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from .cards import Card
from .errors import SettingError, Stopped, UnmetNeed
from .explanations import Attribution, Explanation, Unit
from .types import Case, Frame, Provenance, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

Capability = Literal["gradients", "features", "module"]
T = TypeVar("T")


class Classifier(ABC):
    """A chest X-ray classifier. Logits, never probabilities; one column a finding, in the order of ``findings``.

    name          how it is named on the command line ("mini", "xrv:densenet121-res224-all").
    capabilities  "gradients": logits are differentiable in x; "features": has a spatial tap; "module": has ``module``.
    taps          tap -> layer it reads: "features" = last spatial map ``[b, d, h', w']`` (token grids are reshaped),
                  "embedding" = what the last linear layer reads ``[b, d]``.
    fingerprint   sha256 of architecture, weights, preparation and finding order (never of the card's thresholds).
    backend       "torch/float32/cpu" ...: goes into provenance, not into the fingerprint.
    warnings      sentences that every result carries: what was odd when the network was loaded.
    """

    name: str
    findings: tuple[str, ...]
    card: Card
    capabilities: frozenset[Capability]
    taps: Mapping[str, str]
    fingerprint: str
    backend: str
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def prepare(self, radiograph: Radiograph) -> Frame:
        """The model input for one radiograph."""

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]`` -> ``[b, f]``; differentiable where "gradients" is a capability."""

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and the asked taps of one forward pass. With gradients enabled, the logits stay connected to each tap,
        and to ``x`` where ``x`` requires a gradient; nothing else is recorded."""
        raise UnmetNeed(f"{self.name} gives logits only; use an explainer that needs no more, as occlusion or lime")

    def head(self, tap: str, value: Tensor) -> Tensor:
        """The logits from one tap's value: ``head("features", taps["features"]) == logits``, without running what lies
        below the tap. Raises UnmetNeed where the network cannot be cut there."""
        raise UnmetNeed(f"{self.name} cannot be cut at {tap!r}; use an explainer that needs no features, as occlusion")

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        raise UnmetNeed(f"{self.name} has no torch module; use an explainer that needs none, as occlusion or lime")

    def unfamiliarity(self, x: Tensor) -> NDArray[np.float64] | None:
        """Distance ``[b]`` of each input from the training data in feature space; None = not measured."""
        return None


@dataclass(frozen=True)
class Context:
    """What an explainer is handed besides the classifier and the radiographs.

    seed      the only source of randomness: draw from ``rng(radiograph)``.
    batch     how many model inputs to push at once.
    budget_s  seconds this explainer may take, or None.
    earlier   (image sha256, finding, explainer) -> Explanation made before in this run.
    paid      key of a perturbed input -> its logits ``[f]``; shared by the explainers of one run (engine/perturb.py).
    abstained (image sha256, finding) -> why this explainer leaves that finding out of its answer; it fills this.
    artefact  (kind, classifier fingerprint) -> autoencoder, pattern bank ...; raises UnmetNeed where there is none.
              None = what lies on disk (``resolved``).
    progress  called with a share in 0..1.
    cancelled asked between batches.
    """

    seed: int = 0
    batch: int = 16
    budget_s: float | None = None
    earlier: Mapping[tuple[str, str, str], Explanation] = field(default_factory=dict)
    paid: MutableMapping[bytes, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    abstained: MutableMapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    artefact: Callable[[str, str], Any] | None = None
    progress: Callable[[float], None] = field(default=lambda _share: None)
    cancelled: Callable[[], bool] = field(default=lambda: False)

    def rng(self, radiograph: Radiograph) -> np.random.Generator:
        """Random numbers that depend on the seed and the picture, never on the order of pictures."""
        return np.random.default_rng([self.seed, int(radiograph.sha256[:15], 16)])

    def resolved(self, kind: str, classifier: Classifier, load: Callable[[Classifier, str], T], named: str = "") -> T:
        """What belongs to the classifier: this context's own artefact of that ``kind`` where it has them, else what
        ``load(classifier, named)`` finds; a folder that the user ``named`` comes before both. Raises UnmetNeed."""
        if self.artefact is None or named:
            return load(classifier, named)
        found: T = self.artefact(kind, classifier.fingerprint)
        return found

    def step(self, share: float) -> None:
        """Report progress; raises Stopped when the user cancelled."""
        if self.cancelled():
            raise Stopped("stopped by the user; finished explanations are kept")
        self.progress(share)


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raises SettingError unless ``low <= value <= high`` (NaN never is)."""
    if not low <= value <= high:
        raise SettingError(f"setting {name}={value:g} came; give a value from {low:g} to {high:g}")


@dataclass(frozen=True)
class Explainer(ABC):
    """An explanation method: a frozen dataclass whose fields are its settings, and nothing else configures it.

    needs     capabilities of the classifier without which it is skipped, with the reason.
    requires  explainers whose results it reads from ``Context.earlier``.
    version   raise it when the same settings give other maps.
    cost      rough number of forward passes an image; ``passes`` where it depends on settings or findings.
    """

    kind: ClassVar[str] = "attribution"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    requires: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1
    cost: ClassVar[float] = 1.0
    paper: ClassVar[str] = ""
    control: ClassVar[bool] = False

    @abstractmethod
    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """One dictionary a radiograph, one entry a finding; all findings share the passes.

        A finding may be left out where ``context.abstained`` says why.
        """

    def passes(self, findings: int) -> float:
        """Rough cost of one image in forward passes, for the time budget and the estimate before a long run."""
        return self.cost

    def reads(self, classifier: Classifier) -> Mapping[str, str]:
        """What it reads besides pictures, settings and the classifier: name -> hash of the content. What is kept of it
        is made again when one of these changes. Raises UnmetNeed or WeightsError where one is missing."""
        return {}

    @property
    def name(self) -> str:
        """The name of its file, as on the command line."""
        return type(self).__module__.rpartition(".")[2].rstrip("_")


class Asked:
    """One call of ``Explainer.explain``, unpacked: frames, output columns, the clock, and the way to wrap maps.

    frames   one a radiograph, prepared.
    columns  index of each asked finding among the classifier's.
    """

    def __init__(
        self,
        explainer: Explainer,
        classifier: Classifier,
        radiographs: Sequence[Radiograph],
        findings: Sequence[str],
        context: Context,
    ) -> None:
        self.explainer, self.classifier, self.context = explainer, classifier, context
        self.radiographs, self.findings = tuple(radiographs), tuple(findings)
        self.started = time.monotonic()
        self.frames = tuple(classifier.prepare(r) for r in self.radiographs)
        self.columns = [classifier.findings.index(f) for f in self.findings]

    def attributions(
        self,
        maps: NDArray[np.floating[Any]],
        *,
        signed: bool = True,
        unit: Unit = "a.u.",
        checks: Mapping[str, NDArray[np.floating[Any]]] | None = None,
    ) -> list[dict[str, Explanation]]:
        """Raw maps ``[n, f, h', w']``, each covering the whole model input, as Attributions.

        ``checks`` holds one array ``[n, f]`` a name. The seconds since ``Asked`` was made are shared evenly.
        """
        seconds = (time.monotonic() - self.started) / max(1, len(self.radiographs))
        out: list[dict[str, Explanation]] = []
        for i, (radiograph, frame) in enumerate(zip(self.radiographs, self.frames, strict=True)):
            provenance = self.provenance(radiograph, frame, seconds)
            to_source = frame.to_source @ cells_to_pixels(maps.shape[2:], frame.pixels.shape[1:])
            out.append(
                {
                    finding: Attribution(
                        finding=finding,
                        provenance=provenance,
                        values=maps[i, j],
                        to_source=to_source,
                        source_shape=frame.source_shape,
                        signed=signed,
                        unit=unit,
                        notes=empty_note(maps[i, j], finding),
                        checks={name: float(values[i, j]) for name, values in (checks or {}).items()},
                    )
                    for j, finding in enumerate(self.findings)
                }
            )
        return out

    def provenance(self, radiograph: Radiograph, frame: Frame, seconds: float) -> Provenance:
        """Everything needed to make this explanation again."""
        from . import __version__

        return Provenance(
            explainer=self.explainer.name,
            version=self.explainer.version,
            settings=dataclasses.asdict(self.explainer),
            seed=self.context.seed,
            fingerprint=self.classifier.fingerprint,
            image_sha256=radiograph.sha256,
            frame_sha256=frame.sha256,
            backend=self.classifier.backend,
            seconds=seconds,
            whyray=__version__,
        )


class Dataset(ABC):
    """Cases with labels (1, 0, NaN = not labelled), regions and reports; pictures are read one at a time.

    name      as on the command line ("phantom", "folder:PATH").
    findings  canonical findings that it labels.
    licence   of the pictures, in one line.
    """

    name: str
    findings: tuple[str, ...]
    licence: str

    @abstractmethod
    def cases(self, split: str | None = None) -> Sequence[Case]:
        """All cases, or those of one split ("train", "val", "test"); raises DataError for an unknown split."""

    def twin(self, case: Case, finding: str) -> Case | None:
        """The same picture without the finding, where such a thing is known (phantoms); else None."""
        return None


@dataclass(frozen=True)
class Metric:
    """A pure function on arrays with the facts a table needs.

    better  which direction is better; ``range`` of its values.
    needs   what a trial must have ("mask", "labels" ...).
    """

    name: str
    function: Callable[..., float]
    better: Literal["higher", "lower", "none"]
    range: tuple[float, float]
    needs: frozenset[str] = frozenset()
    paper: str = ""


def cells_to_pixels(cells: Sequence[int], pixels: Sequence[int]) -> NDArray[np.float64]:
    """Affine from cells of a map ``(h', w')`` that covers an input of ``(h, w)`` pixels to those pixels' centres."""
    sy, sx = pixels[0] / cells[0], pixels[1] / cells[1]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]], dtype=np.float64)


def empty_note(values: NDArray[np.floating[Any]], finding: str) -> tuple[str, ...]:
    """An all-zero map is a result, and says so."""
    if np.any(values):
        return ()
    return (f"The map is empty: at this layer nothing speaks for {finding.replace('_', ' ')}.",)
