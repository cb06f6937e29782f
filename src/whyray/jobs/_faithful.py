"""Faithfulness of the maps of one picture: the passes behind the curves, and explaining again under small changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..contracts import Classifier, Context, Explainer, in_range
from ..errors import SettingError
from ..explanations import Attribution, Explanation, resample
from ..metrics import faithfulness as metric
from ..metrics._masks import Sign
from ..types import Frame, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CURVES = ("deletion", "insertion", "road_most", "road_least")


@dataclass(frozen=True)
class Trial:
    """How faithfulness is measured. Every field is recorded, and goes into the key of a cell.

    steps    points of the deletion and insertion curves: the picture goes in ``steps`` bands of equal size.
    fill     what removed pixels become in those curves and in sensitivity-n ("blur", "mean", "black", a number ...).
    road     steps of the curves with imputation; ``noise`` = its noise, as a share of the picture's deviation.
    sign     "positive": most for the finding goes first; "absolute": largest magnitude; "negative": most against it.
    grid     cells a side, the units of sensitivity-n; ``sizes`` = shares of them removed; ``draws`` = sets a size.
    radius   largest change of a grey value (of 0..1) in max-sensitivity; ``disturbed`` = noisy pictures.
    seeds    how often a map is made again with another seed.
    stages   copies of the classifier with more and more random layers.
    precision  of the passes behind curves: "auto" = bfloat16 where the machine multiplies it, "float32", "bfloat16".
    few      pictures on which maps are made again (max-sensitivity, seeds, random layers); 0 = leave these out.
    """

    steps: int = 16
    fill: str | float = "blur"
    road: int = 8
    noise: float = 0.05
    sign: Sign = "positive"
    grid: int = 14
    sizes: tuple[float, ...] = (0.05, 0.2, 0.5)
    draws: int = 24
    radius: float = 0.02
    disturbed: int = 4
    seeds: int = 3
    stages: int = 4
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    few: int = 8

    def __post_init__(self) -> None:
        in_range("steps", self.steps, 2, 1024)
        in_range("road", self.road, 2, 256)
        in_range("noise", self.noise, 0, 1)
        in_range("grid", self.grid, 2, 64)
        in_range("draws", self.draws, 3, 10_000)
        in_range("radius", self.radius, 0, 0.5)
        in_range("disturbed", self.disturbed, 1, 64)
        in_range("seeds", self.seeds, 2, 64)
        in_range("stages", self.stages, 1, 64)
        in_range("few", self.few, 0, 1000)
        for share in self.sizes:
            in_range("sizes", share, 0.001, 0.999)
        if self.sign not in get_args(Sign):
            raise SettingError(f"sign={self.sign!r} came; give {', '.join(get_args(Sign))}")


def at_input(explanation: Explanation, frame: Frame) -> NDArray[np.float32]:
    """A map resampled bilinearly to the pixels of the model input ``[h, w]``; NaN where it does not reach."""
    made: Attribution = explanation.attribution()  # type: ignore[attr-defined]
    shape = (frame.pixels.shape[1], frame.pixels.shape[2])
    affine = np.linalg.inv(frame.to_source) @ made.to_source
    if made.values.shape == shape and np.allclose(affine, np.eye(3), atol=1e-6):
        return made.values
    return resample(made.values, affine, shape)


def curves(
    classifier: Classifier, frame: Frame, maps: Mapping[str, NDArray[np.float32]], trial: Trial, context: Context
) -> dict[str, NDArray[np.float32]]:
    """Raw logits behind every curve of one picture, and its sensitivity-n.

    maps  finding -> ``[h, w]`` on the model input. Findings whose maps order the pixels alike share their passes.
    Returns, one row a finding: "deletion", "insertion" ``[f, steps + 1]``, "road_most", "road_least"
    ``[f, road + 1]``, "full", "baseline" ``[f]`` and "sensitivity_n" ``[f]``.
    """
    removed, shown = _pair(classifier, frame, maps, trial, context)
    road_fill = metric.RoadFill(trial.noise, context.seed)
    road = _pair(classifier, frame, maps, replace(trial, steps=trial.road), context, road_fill)
    columns = {f: classifier.findings.index(f) for f in maps}
    own = {f: (removed[f][:, c], shown[f][:, c], road[0][f][:, c], road[1][f][::-1, c]) for f, c in columns.items()}
    out = {name: np.stack([own[f][i] for f in maps]) for i, name in enumerate(CURVES)}
    out["full"], out["baseline"] = out["deletion"][:, 0], out["deletion"][:, -1]
    out["sensitivity_n"] = _sensitivity_n(classifier, frame, maps, trial, context)
    return out


def _pair(
    classifier: Classifier,
    frame: Frame,
    maps: Mapping[str, NDArray[np.float32]],
    trial: Trial,
    context: Context,
    fill: metric.RoadFill | None = None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """finding -> logits ``[steps + 1, all findings]`` of deletion, and of insertion, in the order of its map."""
    from ..engine.perturb import Perturbed
    from ..engine.superpixels import Segments

    steps = trial.steps
    rows = np.concatenate([metric.deletion_rows(steps)[1:-1], metric.insertion_rows(steps)[1:-1]])
    done: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    keys = {}
    for finding, values in maps.items():
        segments = Segments.of(metric.bands(values, steps, trial.sign), f"{steps} bands by rank")
        keys[finding] = segments.sha256
        if segments.sha256 in done:
            continue
        engine = Perturbed(classifier, frame, segments, fill or trial.fill, context, precision=trial.precision)
        inner = engine.logits(rows)
        full, empty = engine.full[None], engine.baseline[None]
        half = steps - 1
        done[segments.sha256] = (
            np.concatenate([full, inner[:half], empty]),
            np.concatenate([empty, inner[half:], full]),
        )
    return {f: done[k][0] for f, k in keys.items()}, {f: done[k][1] for f, k in keys.items()}


def _sensitivity_n(
    classifier: Classifier, frame: Frame, maps: Mapping[str, NDArray[np.float32]], trial: Trial, context: Context
) -> NDArray[np.float32]:
    """``[f]``; the trials are the same for every map of the picture, so they are paid for once."""
    from ..engine.perturb import Perturbed
    from ..engine.superpixels import grid

    shape = frame.pixels.shape[1:]
    cells = grid((shape[0], shape[1]), max(1, round(max(shape) / trial.grid)))
    sizes = sorted({min(cells.count - 1, max(1, round(share * cells.count))) for share in trial.sizes})
    removed, _ = metric.subsets(cells.count, sizes, trial.draws, context.seed)
    engine = Perturbed(classifier, frame, cells, trial.fill, context, precision=trial.precision)
    drops = (engine.full - engine.logits(~removed)).astype(np.float64)  # [m, all findings]
    out = []
    for finding, values in maps.items():
        part = np.nan_to_num(np.abs(values) if trial.sign == "absolute" else values).astype(np.float64)
        out.append(metric.sensitivity_n(cells.sums(part), removed, drops[:, classifier.findings.index(finding)]))
    return np.array(out, np.float32)


def again(
    explainer: Explainer,
    classifier: Classifier,
    radiograph: Radiograph,
    findings: Sequence[str],
    trial: Trial,
    context: Context,
) -> dict[str, NDArray[np.float32]]:
    """ "max_sensitivity" and "seed_stability" ``[f]`` of one picture, by explaining it again."""
    frame = classifier.prepare(radiograph)
    noisy = [disturbed(radiograph, frame, trial.radius, context.seed, i) for i in range(trial.disturbed)]
    first, *moved = _maps(explainer, classifier, [radiograph, *noisy], findings, context)
    seeded = [first]
    for seed in range(1, trial.seeds):
        other = replace(context, seed=context.seed + seed, paid={}, earlier={})
        seeded += _maps(explainer, classifier, [radiograph], findings, other)
        if len(seeded) == 2 and all(np.array_equal(first[f], seeded[1][f]) for f in findings):
            break  # it does not draw
    return {
        "max_sensitivity": np.array(
            [metric.max_sensitivity(first[f], [m[f] for m in moved]) for f in findings], np.float32
        ),
        "seed_stability": np.array([metric.pairwise_spearman([m[f] for m in seeded]) for f in findings], np.float32),
    }


def disturbed(radiograph: Radiograph, frame: Frame, radius: float, seed: int, number: int) -> Radiograph:
    """The radiograph with uniform noise of at most ``radius``, kept inside 0..1.

    The noise is drawn on the grid of the model input and enlarged, so that making the input does not average it away.
    """
    rng = np.random.default_rng([seed, number, int(radiograph.sha256[:15], 16)])
    noise = rng.uniform(-radius, radius, frame.pixels.shape[1:]).astype(np.float32)
    spread = np.nan_to_num(resample(noise, frame.to_source, radiograph.shape))
    return replace(radiograph, pixels=np.clip(radiograph.pixels + spread, 0, 1), sha256="")


def _maps(
    explainer: Explainer,
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    findings: Sequence[str],
    context: Context,
) -> list[dict[str, NDArray[np.float32]]]:
    made = explainer.explain(classifier, radiographs, findings, context)
    return [{f: m[f].attribution().values for f in findings} for m in made]  # type: ignore[attr-defined]
