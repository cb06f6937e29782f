"""Every number of the counterfactuals of one picture: targets, closeness, realism, company, the true counterfactual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..contracts import Classifier, in_range
from ..errors import SettingError, UnknownName
from ..explanations import Counterfactual, MapMode, resample
from ..metrics import counterfactual as metric
from ..metrics._masks import Mode, Sign
from ..types import Frame, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models._autoencoders import Autoencoder

    Grey = NDArray[np.float32]
    Bits = NDArray[np.bool_]

VERSION = 1  # raise it when the same path gives other numbers
TOLERANCE = 0.02  # log-odds by which a target may be missed
KEPT = (0.6, 1 / 0.6)  # a reconstruction whose probability leaves this range of the radiograph's is not trusted


@dataclass(frozen=True)
class WhatIf:
    """How counterfactuals are measured. Every field is recorded.

    maps   2-D maps of the path that are scored; the first is compared with every other method.
    sign   which half of other explainers' maps counts: "absolute", as published; ``signs`` of the plan go first.
    modes  how a map becomes a mask; the first is the headline.
    noise  standard deviations, in grey of 0..1, and ``blur`` in pixels of the model input: maps are made again.
    few    pictures on which they are; 0 = leave this out.
    drawn  only findings that an expert drew; else those labelled present as well.
    """

    maps: tuple[MapMode, ...] = ("max", "mean", "mm", "int", "max_frame0")
    sign: Sign = "absolute"
    modes: tuple[Mode, ...] = ("area_matched", "otsu_filled")
    noise: tuple[float, ...] = (0.01, 0.03, 0.1)
    blur: tuple[float, ...] = (1.0, 2.0, 4.0)
    few: int = 8
    drawn: bool = False

    def __post_init__(self) -> None:
        for kind, values, known in (
            ("2-D map", self.maps, get_args(MapMode)),
            ("sign", (self.sign,), get_args(Sign)),
            ("mask mode", self.modes, tuple(m for m in get_args(Mode) if m != "tuned")),
        ):
            if not values:
                raise SettingError(f"no {kind} came; give at least one of {', '.join(known)}")
            for value in values:
                if value not in known:
                    raise UnknownName(kind, str(value), known)
        for sigma in self.noise:
            in_range("noise", sigma, 0, 1)
        for sigma in self.blur:
            in_range("blur", sigma, 0, 1000)
        in_range("few", self.few, 0, 1000)


@dataclass(frozen=True)
class About:
    """What a measure says, for the page: ``better`` "higher", "lower" or "" where neither is."""

    text: str
    better: str = ""


STOPS = {
    "distortion": "the picture would have changed too much",
    "monotone": "the prediction turned back",
    "range": "the prediction hardly follows",
    "flat": "the prediction does not depend on the latent",
}
MEASURES: Mapping[str, About] = {
    "removed": About("removal reached its target", "higher"),
    "exaggerated": About("exaggeration reached its target", "higher"),
    "removal_reached": About("share of the asked removal, in log-odds", "higher"),
    **{f"stopped_{why}": About(f"the removal ended because {told}") for why, told in STOPS.items()},
    "trusted": About(f"the reconstruction kept {KEPT[0]:g} to {KEPT[1]:.2g} of the probability", "higher"),
    "reconstruction_error": About("mean grey difference of reconstruction and radiograph", "lower"),
    "proximity": About("mean grey change of the removal (L1)", "lower"),
    "perceptual_distance": About("its change in the classifier's features (LPIPS-like)", "lower"),
    "sparsity": About(f"share of pixels that change by less than {metric.SEEN:g}", "higher"),
    "elsewhere": About("share of the change outside the experts' region", "lower"),
    "realism": About("distance to the training data, removal over reconstruction; 1 = as familiar", "lower"),
    "cycle": About("reconstruction error of the removal over that of the reconstruction", "lower"),
    "monotonicity": About("steps of the path along which the prediction rises", "higher"),
    "trimmed": About("frames dropped because the prediction turned back", "lower"),
    "spill": About("mean change of the other findings over that of the explained one"),
    "carried": About("share of the fall that remains when the change is added to the radiograph itself", "higher"),
    "twin_radiograph": About("distance to the twin in the region, removal over radiograph; below 1 = nearer", "lower"),
    "twin_reconstruction": About("the same, removal over reconstruction", "lower"),
    "twin_reconstruction_whole": About("the same over the whole picture", "lower"),
    "twin_nearer": About("the removal is nearer to the twin in the region than the reconstruction is", "higher"),
    "twin_features": About("the same in the classifier's features, whole picture", "lower"),
    "twin_gain": About("share of the way to the reconstructed twin, in the region", "higher"),
}
TWIN = tuple(name for name in MEASURES if name.startswith("twin_"))


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture around its counterfactuals.

    truth  finding -> the experts' region ``[h, w]`` of the radiograph; twins: finding -> the picture without it.
    """

    classifier: Classifier
    autoencoder: Autoencoder | None
    truth: Mapping[str, Bits] = field(default_factory=dict)
    twins: Mapping[str, Radiograph] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Seen:
    """What the classifier makes of grey pictures: logits ``[b, F]``, features ``[b, d, h', w']`` and distances to the
    training data ``[b]``, None where it does not give them."""

    logits: NDArray[np.float64]
    features: NDArray[np.float32] | None
    distance: NDArray[np.float64] | None


def seen(classifier: Classifier, pictures: Sequence[Grey]) -> Seen:
    """Run grey pictures through the classifier, as Latent Shift does."""
    import torch

    from ..models._autoencoders import from_grey, sized

    wanted = classifier.card.preparation
    x = from_grey(sized(torch.from_numpy(np.stack(pictures))[:, None], wanted.size), wanted)
    with torch.no_grad():
        if "features" not in classifier.capabilities:
            return Seen(classifier.logits(x).double().cpu().numpy(), None, classifier.unfamiliarity(x))
        logits, taps = classifier.run(x, ("features",))
    return Seen(logits.double().cpu().numpy(), taps["features"].float().cpu().numpy(), classifier.unfamiliarity(x))


def measured(made: Mapping[str, Counterfactual], scene: Scene) -> dict[str, NDArray[Any]]:
    """``MEASURES`` ``[f]``, NaN where one cannot be taken, and "alignment" ``[f, F]``."""
    rows = [_one(path, scene) for path in made.values()]
    out: dict[str, NDArray[Any]] = {name: np.array([row.get(name, np.nan) for row in rows]) for name in MEASURES}
    out["alignment"] = np.array([list(path.alignment().values()) for path in made.values()])
    return out


def _one(path: Counterfactual, scene: Scene) -> dict[str, float]:
    column, zero = path.findings.index(path.finding), path.zero
    kept = path.checks.get("kept", float("nan"))
    out = {
        **_targets(path),
        "trusted": float(KEPT[0] <= kept <= KEPT[1]) if np.isfinite(kept) else float("nan"),
        "reconstruction_error": float(np.abs(path.frames[zero] - path.base).mean()),
        "monotonicity": metric.monotonicity(path.logits[:, column]),
        "trimmed": path.checks.get("trimmed", float("nan")),
        "spill": metric.spill(path.logits, column),
    }
    return out if zero == 0 else {**out, **_removal(path, scene)}  # nothing was removed: nothing to measure


def _targets(path: Counterfactual) -> dict[str, float]:
    """Whether each side reached what the settings ask for, judged anew from the probabilities along the path; a
    published search has its own target, and is taken at its word."""
    settings: Mapping[str, Any] = path.provenance.settings
    if settings.get("rules", "own") != "own":
        return {"removed": float(path.stop[0] == "target")} | _stopped(path)
    share, times = float(settings.get("removal", 0.1)), float(settings.get("exaggeration", 10.0))
    low, start, high = (metric.log_odds(p) for p in path.probabilities[[0, path.zero, -1]])
    fall = start - metric.log_odds(share * path.probabilities[path.zero])
    nothing = float("nan")
    return {
        **(_stopped(path) if share < 1 else {}),
        "removed": metric.validity(start - low, fall - TOLERANCE) if share < 1 else nothing,
        "removal_reached": (start - low) / fall if share < 1 else nothing,
        "exaggerated": metric.validity(high - start, np.log(times) - TOLERANCE) if times > 1 else nothing,
    }


def _stopped(path: Counterfactual) -> dict[str, float]:
    return {f"stopped_{why}": float(path.stop[0] == why) for why in STOPS}


def _removal(path: Counterfactual, scene: Scene) -> dict[str, float]:
    """What the picture with the finding removed is like, against the reconstruction."""
    changed, start, column = path.frames[0], path.frames[path.zero], path.findings.index(path.finding)
    twin = scene.twins.get(path.finding)
    real = twin_grey(twin, scene.classifier, start.shape) if twin is not None else None
    shown = [path.base, start, changed, np.clip(path.base + changed - start, 0, 1)]
    views = seen(scene.classifier, [*shown, *([real] if real is not None else [])])
    fell = path.logits[path.zero, column] - path.logits[0, column]
    out = {
        "proximity": metric.proximity(changed, start),
        "sparsity": metric.sparsity(changed, start),
        "carried": float(views.logits[0, column] - views.logits[3, column]) / fell if fell > 0 else float("nan"),
    }
    if views.features is not None:
        out["perceptual_distance"] = metric.perceptual_distance(views.features[2], views.features[1])
    if views.distance is not None:
        out["realism"] = metric.realism(float(views.distance[2]), float(views.distance[1]))
    if scene.autoencoder is not None:
        again = reconstructed(scene.autoencoder, [start, changed])
        errors = [metric.proximity(a, b) for a, b in zip(again, (start, changed), strict=True)]
        out["cycle"] = metric.realism(errors[1], errors[0])
    mask = _on_frames(scene.truth.get(path.finding), path)
    if mask is not None:
        out["elsewhere"] = metric.elsewhere(changed, start, mask)
    return out if real is None else {**out, **_to_twin(path, real, mask, views, scene)}


def _to_twin(path: Counterfactual, twin: Grey, mask: Bits | None, views: Seen, scene: Scene) -> dict[str, float]:
    """Distances to the true counterfactual; its features are the last of ``views``."""
    changed, start = path.frames[0], path.frames[path.zero]
    nearer = metric.twin_ratio(changed, start, twin, mask)
    out = {
        "twin_radiograph": metric.twin_ratio(changed, path.base, twin, mask),
        "twin_reconstruction": nearer,
        "twin_nearer": float(nearer < 1) if np.isfinite(nearer) else nearer,
        "twin_reconstruction_whole": metric.twin_ratio(changed, start, twin),
    }
    if views.features is not None:
        before = metric.perceptual_distance(views.features[1], views.features[4])
        after = metric.perceptual_distance(views.features[2], views.features[4])
        out["twin_features"] = after / before if before > 0 else float("nan")
    if scene.autoencoder is not None and mask is not None:
        (drawn,) = reconstructed(scene.autoencoder, [twin])
        out["twin_gain"] = metric.twin_gain(changed, start, drawn, mask)
    return out


def twin_grey(twin: Radiograph, classifier: Classifier, shape: Sequence[int]) -> Grey:
    """The twin as the classifier sees it, on the grid of the frames."""
    import torch

    from ..models._autoencoders import sized, to_grey

    frame: Frame = classifier.prepare(twin)
    grey = to_grey(torch.from_numpy(frame.pixels)[None], classifier.card.preparation)
    return np.asarray(sized(grey, (shape[0], shape[1])).clamp(0, 1)[0, 0].numpy(), np.float32)


def reconstructed(autoencoder: Autoencoder, pictures: Sequence[Grey]) -> list[Grey]:
    """Grey pictures after encoder and decoder."""
    import torch

    with torch.no_grad():
        grey = torch.from_numpy(np.stack(pictures))[:, None]
        return list(autoencoder.decode(autoencoder.encode(grey)).clamp(0, 1)[:, 0].float().cpu().numpy())


def _on_frames(mask: Bits | None, path: Counterfactual) -> Bits | None:
    """A region of the radiograph on the grid of the frames; None where there is none, or nothing of it is left."""
    if mask is None:
        return None
    to_frames = np.linalg.inv(path.to_source)
    here = np.nan_to_num(resample(mask.astype(np.float32), to_frames, path.base.shape)) > 0.5  # type: ignore[arg-type]
    return here if here.any() else None
