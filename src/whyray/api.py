"""The one path: the command line, the web page and a notebook all come through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from .contracts import Classifier, Dataset
from .errors import SettingError
from .jobs._arguments import at_layer, check_classifier, names_of, radiographs_of
from .jobs._experiment_arms import Experiment
from .jobs._weak_plan import WeakPlan
from .jobs.by_dataset import (
    evaluate_classifier,
    evaluate_counterfactual,
    evaluate_faithfulness,
    evaluate_language,
    evaluate_localisation,
    evaluate_patterns,
    evaluate_weak_language,
)
from .jobs.explain import Explained, Plan, explain_radiographs
from .jobs.files import Batch, explain_files, predict_files, silent
from .jobs.patterns import browse_patterns, build_patterns, list_patterns, name_patterns, pattern_lines
from .jobs.plan import EvaluationPlan
from .models.wrapped import wrap
from .training.by_plan import (
    run_recipe,
    train_autoencoder,
    train_classifier,
    train_nle,
    train_text_autoencoder,
    train_wenlex,
)
from .training.by_store import store_activations, train_transcoders
from .types import Prediction, Radiograph, Report, Score, Voi

if TYPE_CHECKING:
    from .datasets._check import DataReport
    from .datasets.mimic_nle import Extraction
    from .jobs.experiment import Experimented
    from .jobs.nle import Extracted
    from .jobs.study import Study
    from .jobs.study_forms import Exported, Imported

__all__ = [
    "Batch",
    "EvaluationPlan",
    "Experiment",
    "Explained",
    "Plan",
    "WeakPlan",
    "analyse_study",
    "browse_patterns",
    "build_patterns",
    "check_dataset",
    "evaluate_classifier",
    "evaluate_counterfactual",
    "evaluate_faithfulness",
    "evaluate_language",
    "evaluate_localisation",
    "evaluate_patterns",
    "evaluate_weak_language",
    "evaluation_plan",
    "experiment_wenlex",
    "explain",
    "explain_files",
    "export_study",
    "extract_explanations",
    "extract_mimic_nle",
    "fetch_model",
    "import_study",
    "list_patterns",
    "load_dataset",
    "load_image",
    "load_model",
    "map_options",
    "model_layers",
    "model_names",
    "name_patterns",
    "pattern_lines",
    "predict",
    "predict_files",
    "run_recipe",
    "score_extraction",
    "sign_options",
    "store_activations",
    "train_autoencoder",
    "train_classifier",
    "train_nle",
    "train_text_autoencoder",
    "train_transcoders",
    "train_wenlex",
    "voi_option",
    "where_options",
    "wrap",
]


def load_image(path: str | Path, *, voi: Voi = "file") -> Radiograph:
    """Read one radiograph: DICOM (CR, DX, RG, SC), PNG, JPEG, TIFF or NIfTI. Look at ``.pixels`` and ``.warnings``.

    voi  "file" = the window the file asks for, "none" = none, or (centre, width).
    Raises InputError: one sentence that names the file, the cause and the remedy.
    """
    from .io.load import load_image as load

    return load(path, voi=voi)


def load_model(
    spec: str | Path = "mini",
    *,
    layer: str | None = None,
    device: str = "cpu",
    weights: str | Path | None = None,
    card: str | Path | None = None,
) -> Classifier:
    """A classifier from "mini", "xrv:NAME", "timm:NAME", "exported:FILE", "module:factory" or a trained folder.

    layer    where "features" are read; chosen by architecture where None (see ``classifier.taps``).
    weights  checkpoint for "timm:" and "module:factory"; ``card`` is the JSON card that goes with it.
    Raises UnknownName, WeightsError, MissingExtra.
    """
    from .models._resolve import load_model as load

    return load(str(spec), layer=layer, device=device, weights=weights, card=card)


def load_dataset(spec: str) -> Dataset:
    """A data set from "phantom", "nih14:PATH", "folder:PATH"; ``#test`` at the end keeps one split.

    Raises UnknownName and DataError.
    """
    from .datasets._resolve import load_dataset as load

    return load(spec)


@overload
def explain(
    classifier: Classifier,
    radiographs: Radiograph,
    *,
    findings: Sequence[str] = ...,
    explainers: Sequence[str] = ...,
    seed: int = ...,
    budget: float | None = ...,
    audience: str = ...,
    layer: str | None = ...,
) -> Explained: ...
@overload
def explain(
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    *,
    findings: Sequence[str] = ...,
    explainers: Sequence[str] = ...,
    seed: int = ...,
    budget: float | None = ...,
    audience: str = ...,
    layer: str | None = ...,
) -> list[Explained]: ...
def explain(
    classifier: Classifier,
    radiographs: Radiograph | Sequence[Radiograph],
    *,
    findings: Sequence[str] = (),
    explainers: Sequence[str] = (),
    seed: int = 0,
    budget: float | None = None,
    audience: str = "",
    layer: str | None = None,
) -> Explained | list[Explained]:
    """Explain one radiograph (one result) or several (a list); several share the forward passes.

    layer  where "features" are read, in place of the classifier's own choice; ``model_layers`` lists them.
    findings, explainers, budget, audience: see ``Plan``. ``result["effusion", "gradcam"].at_source()`` is a map in
    source pixels; ``result.save(folder)`` writes report.html, overlays, raw maps and explanation.json.
    """
    check_classifier(classifier)
    pictures = radiographs_of(radiographs)
    asked, methods = names_of(findings, "findings", "edema"), names_of(explainers, "explainers", "gradcam")
    plan = Plan(asked, methods, seed, budget, audience)
    explained = explain_radiographs(at_layer(classifier, layer), pictures, plan)
    return explained[0] if isinstance(radiographs, Radiograph) else explained


@overload
def predict(classifier: Classifier, radiographs: Radiograph) -> list[Prediction]: ...
@overload
def predict(classifier: Classifier, radiographs: Sequence[Radiograph]) -> list[list[Prediction]]: ...
def predict(
    classifier: Classifier, radiographs: Radiograph | Sequence[Radiograph]
) -> list[Prediction] | list[list[Prediction]]:
    """Logit, probability and operating point of every finding, for one radiograph or for several."""
    from .engine.passes import predict as run

    check_classifier(classifier)
    predicted = run(classifier, radiographs_of(radiographs))
    return predicted[0] if isinstance(radiographs, Radiograph) else predicted


def experiment_wenlex(experiment: Experiment, out: str | Path, *, report: Report = silent) -> Experimented:
    """The questions of WeNLEX as a grid of runs, trained, measured and compared in ``out``; see docs/experiments.md."""
    from .jobs.experiment import experiment_into as run

    return run(out, experiment, report=report)


def evaluation_plan(path: str | Path | None, changes: Mapping[str, object]) -> EvaluationPlan:
    """The plan of a TOML file (or none) with ``changes`` put in; a table of ``changes`` is merged. SettingError."""
    from .jobs.plan import plan_with

    return plan_with(path, changes)


def map_options(options: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``FINDING=REGION,REGION`` each, as the plan's ``map``. Raises SettingError."""
    from .jobs.plan import mapping_from

    return mapping_from(options)


def where_options(options: Sequence[str]) -> dict[str, str]:
    """``FACT=VALUE`` each, as the plan's ``where``. Raises SettingError."""
    from .jobs.plan import where_from

    return where_from(options)


def sign_options(options: Sequence[str]) -> dict[str, object]:
    """``SIGN`` or ``EXPLAINER=SIGN`` each, as fields of the plan's ``localisation``."""
    from .jobs.plan import signs_from

    return signs_from(options)


def check_dataset(dataset: str | Dataset, *, limit: int | None = None, report: Report = silent) -> DataReport:
    """Counts, missing files, unreadable pictures, patient leakage between splits."""
    from .datasets._check import check

    return check(load_dataset(dataset) if isinstance(dataset, str) else dataset, limit=limit, report=report)


def model_names() -> dict[str, str]:
    """Every model that can be named, with a line about it."""
    from .models._resolve import kinds, published

    return {**kinds(), **published()}


def model_layers(spec: str, *, weights: str | Path | None = None, card: str | Path | None = None) -> dict[str, str]:
    """Layer -> shape of its output, for ``--layer``; what the taps read now is marked. Raises UnmetNeed."""
    import torch

    from .models._layers import layers, probe_input

    classifier = load_model(spec, weights=weights, card=card)
    size = classifier.card.preparation
    probe = probe_input((size.channels, *size.size), torch.zeros(()))
    read = {layer: tap for tap, layer in classifier.taps.items()}
    shapes = {layer.name: " x ".join(map(str, layer.shape)) for layer in layers(classifier.module, probe)}
    return {n: f"{s}  * {read[n]}" if n in read else s for n, s in shapes.items()} | {
        n: f"* {tap}" for n, tap in read.items() if n not in shapes
    }


def fetch_model(name: str, *, confirm: Callable[[str], bool], report: Report = silent) -> Path:
    """Download published weights, check or pin their hash, convert them to safetensors. Nothing else downloads."""
    from .models._fetch import fetch

    return fetch(name, confirm=confirm, progress=lambda done, total: report(done, total or 0, name))


def analyse_study(path: str | Path, *, arms: str | None = None, seed: int = 0) -> Study:
    """Statistics of a reader study's ratings (CSV); ``arms``: ``FIRST,SECOND``. See docs/reader-study.md."""
    from .jobs.study import analyse_study as run

    two = tuple(part.strip() for part in arms.split(",")) if arms else None
    if two is not None and len(two) != 2:
        raise SettingError(f"the arms {arms!r} came; give two, such as maps,animation")
    return run(path, arms=two, seed=seed)


def extract_explanations(
    source: str | Path, out: str | Path, *, refused: bool = False, report: Report = silent
) -> Extracted:
    """Explanations of a report tree or a reports.csv as JSON lines in MIMIC-NLE's schema; run again to go on."""
    from .jobs.nle import extract_explanations as run

    return run(source, out, refused=refused, report=report)


def score_extraction(extracted: str | Path, queries: Sequence[str | Path], *, seed: int = 0) -> list[Score]:
    """Extracted explanations against the published ids of MIMIC-NLE: recall, precision, agreement of labels."""
    from .jobs._nle_score import score_extraction as run

    return run(extracted, queries, seed=seed)


def extract_mimic_nle(reports: str | Path, queries: str | Path, out: str | Path) -> Extraction:
    """MIMIC-NLE exactly as published, from MIMIC-CXR's report tree and the published query files."""
    from .datasets.mimic_nle import extract

    return extract(reports, queries, out)


def export_study(
    arms: Sequence[str],
    out: str | Path,
    *,
    readers: Sequence[str],
    references: str | Path | None = None,
    pictures: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Exported:
    """Forms in which clinicians judge the explanations of arms (``NAME=FILE.jsonl`` each); see docs/reader-study.md."""
    from .jobs.study_forms import export_forms as run

    named = [arm.partition("=") for arm in arms]
    if any(not name or not file for name, _, file in named) or len({name for name, _, _ in named}) < len(named):
        raise SettingError(f"the arms {', '.join(arms)!r:.80} came; write NAME=FILE.jsonl each, every name once")
    files = {name: file for name, _, file in named}
    return run(files, out, readers=readers, references=references, pictures=pictures, limit=limit, seed=seed)


def import_study(folder: str | Path, forms: Sequence[str | Path], out: str | Path, *, seed: int = 0) -> Imported:
    """Filled forms as ratings for ``analyse_study``, with the score of each arm and agreement."""
    from .jobs.study_forms import import_forms as run

    return run(folder, forms, out, seed=seed)


def voi_option(text: str) -> Voi:
    """``file``, ``none`` or ``CENTRE/WIDTH``. Raises SettingError."""
    if text in ("file", "none"):
        return text  # type: ignore[return-value]
    centre, _, width = text.partition("/")
    try:
        return float(centre), float(width)
    except ValueError:
        raise SettingError(f"the window {text!r} came; give file, none, or CENTRE/WIDTH such as 2048/4096") from None
