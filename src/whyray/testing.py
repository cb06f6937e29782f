"""Contract checks for explainers, classifiers, data sets and metrics, for this project and for third parties.

Each check raises AssertionError with what was promised and what was found. They are meant for a test suite:

    def test_mine():
        whyray.testing.check_explainer(MyExplainer(), whyray.load_model("analytic"))
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from .contracts import Classifier, Context, Dataset, Explainer, Metric
from .errors import UnmetNeed
from .explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
from .findings import finding
from .registry import explainer as registered
from .types import Case, Radiograph, array_hash

Snapshot = dict[str, object]


def sample_radiographs(n: int = 2, side: int = 96) -> list[Radiograph]:
    """Small made-up pictures (a bright middle, dark lungs, noise): enough for contracts, not for findings."""
    y, x = np.mgrid[:side, :side] / side
    lungs = np.exp(-((x - 0.3) ** 2 + (y - 0.5) ** 2) / 0.03) + np.exp(-((x - 0.7) ** 2 + (y - 0.5) ** 2) / 0.03)
    pictures = []
    for i in range(n):
        noise = np.random.default_rng(i).normal(0, 0.03, (side, side))
        pixels = np.clip(0.8 - 0.6 * lungs + noise, 0, 1).astype(np.float32)
        pictures.append(Radiograph(pixels, view="PA", name=f"sample-{i}"))
    return pictures


def check_explainer(
    explainer: Explainer,
    classifier: Classifier,
    radiographs: Sequence[Radiograph] | None = None,
    *,
    context: Context | None = None,
) -> None:
    """The promises of ``Explainer``: shape, determinism, independence of company, and nothing left behind.

    ``context`` for explainers that need an artefact: one whose ``artefact`` has it. What an explainer ``requires`` is
    made first. A finding may be left out with a reason in ``Context.abstained``, everywhere or nowhere.
    """
    pictures = list(radiographs or sample_radiographs())
    findings = list(classifier.findings[:2])
    context = _with_required(explainer, classifier, pictures, findings, context or Context())
    explain = partial(explain_checked, context=context)
    read = [registered(name) for name in explainer.requires]
    missing = frozenset().union(explainer.needs, *(r.needs for r in read)) - classifier.capabilities
    if missing:
        with _raises(UnmetNeed, f"{explainer.name} needs {sorted(missing)}, which {classifier.name} lacks"):
            explain(explainer, classifier, pictures, findings)
        return
    before = snapshot(classifier, pictures)
    with warnings.catch_warnings():  # the first call may import libraries, which add filters of their own
        explain(explainer, classifier, pictures[:1], findings[:1])
    results = explain(explainer, classifier, pictures, findings)
    _assert_same(before, snapshot(classifier, pictures), f"after {explainer.name}")
    _check_results(explainer, classifier, pictures, findings, results, context)
    again = explain(explainer, classifier, pictures, findings)
    _assert_close(results, again, 0.0, f"{explainer.name} with the same seed")
    reverse = explain(explainer, classifier, pictures[::-1], findings[::-1])[::-1]
    _assert_close(results, reverse, 1e-4, f"{explainer.name} in another order")
    alone = [explain(explainer, classifier, [p], findings[:1])[0] for p in pictures]
    first = [{f: made for f, made in r.items() if f == findings[0]} for r in results]
    _assert_close(first, alone, 1e-4, f"{explainer.name} one by one")
    _check_when_the_model_raises(explainer, classifier, pictures, findings, context)


def explain_checked(
    explainer: Explainer,
    classifier: Classifier,
    radiographs: Sequence[Radiograph],
    findings: Sequence[str],
    context: Context | None = None,
) -> list[dict[str, Explanation]]:
    """``explain`` after the capability check that every caller makes; raises UnmetNeed with the reason."""
    missing = explainer.needs - classifier.capabilities
    if missing:
        raise UnmetNeed(f"{explainer.name} needs {', '.join(sorted(missing))}, and {classifier.name} has none")
    return explainer.explain(classifier, radiographs, findings, context or Context())


def _with_required(
    explainer: Explainer,
    classifier: Classifier,
    pictures: Sequence[Radiograph],
    findings: Sequence[str],
    context: Context,
) -> Context:
    """``context`` with the results of the explainers that this one reads, where the classifier can give them."""
    earlier = dict(context.earlier)
    for name in explainer.requires:
        with contextlib.suppress(UnmetNeed):
            made = explain_checked(registered(name), classifier, pictures, findings, context)
            for picture, result in zip(pictures, made, strict=True):
                earlier |= {(picture.sha256, f, name): explanation for f, explanation in result.items()}
    return dataclasses.replace(context, earlier=earlier)


def check_classifier(classifier: Classifier, radiographs: Sequence[Radiograph] | None = None) -> None:
    """The promises of ``Classifier``: canonical findings, frames, logits, taps, the cut at a tap, the fingerprint."""
    import torch

    pictures = list(radiographs or sample_radiographs())
    assert classifier.findings, "a classifier names its findings"
    for name in classifier.findings:
        assert finding(name) == name, f"{name!r} is not canonical: use {finding(name)!r}"
    assert len(set(classifier.findings)) == len(classifier.findings), "a finding stands twice"
    before = snapshot(classifier, pictures)
    frames = [classifier.prepare(p) for p in pictures]
    for picture, frame in zip(pictures, frames, strict=True):
        assert frame.pixels.dtype == np.float32 and frame.pixels.ndim == 3, "a frame is float32 [c, h, w]"
        assert frame.source_shape == picture.shape and frame.to_source.shape == (3, 3)
        assert abs(np.linalg.det(frame.to_source)) > 0, "to_source cannot be inverted"
    x = torch.from_numpy(np.stack([f.pixels for f in frames]))
    logits = classifier.logits(x).detach()
    assert logits.shape == (len(pictures), len(classifier.findings)), f"logits {tuple(logits.shape)}"
    assert torch.isfinite(logits).all(), "a logit is not finite"
    alone = classifier.logits(x[:1]).detach()
    assert torch.allclose(alone, logits[:1], atol=1e-4, rtol=1e-4), "a picture gets other logits in company"
    if "gradients" in classifier.capabilities:
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(classifier.logits(leaf).sum(), leaf)
        assert torch.isfinite(gradient).all(), "a gradient is not finite"
    if "features" in classifier.capabilities:
        _check_features(classifier, x, logits)
    _assert_same(before, snapshot(classifier, pictures), f"after using {classifier.name}")
    assert len(classifier.fingerprint) == 64, "a fingerprint is a sha256"


def check_dataset(dataset: Dataset, cases: int = 3) -> None:
    """The promises of ``Dataset``: canonical findings, labels 1 / 0 / NaN, unique ids, regions inside the picture."""
    every = dataset.cases()
    assert len({c.id for c in every}) == len(every), "an id stands twice"
    for name in dataset.findings:
        assert finding(name) == name, f"{name!r} is not canonical"
    for case in every:
        for name, label in case.labels.items():
            assert name in dataset.findings, f"{name!r} is labelled but not listed"
            assert math.isnan(label) or label in (0.0, 1.0), f"{case.id}: the label {label} is not 1, 0 or NaN"
    for case in every[:cases]:
        _check_case(case)


def check_metric(metric: Metric, perfect: tuple[Any, ...], worst: tuple[Any, ...]) -> None:
    """The promises of ``Metric``: a pure function whose values lie in its range and point the way it says."""
    hashes = [array_hash(np.asarray(a)) for a in (*perfect, *worst)]
    high, low = metric.function(*perfect), metric.function(*worst)
    assert hashes == [array_hash(np.asarray(a)) for a in (*perfect, *worst)], "the caller's arrays were changed"
    for value in (high, low):
        assert math.isnan(value) or metric.range[0] <= value <= metric.range[1], f"{value} outside {metric.range}"
    if metric.better != "none":
        assert (high > low) == (metric.better == "higher"), f"{metric.name}: perfect {high}, worst {low}"


def snapshot(classifier: Classifier, radiographs: Sequence[Radiograph]) -> Snapshot:
    """Everything an explainer must leave as it found it."""
    import torch

    state: Snapshot = {
        "pixels": [array_hash(r.pixels) for r in radiographs],
        "python random state": hash(random.getstate()),
        "numpy random state": hashlib.sha256(np.random.get_state(legacy=True)[1].tobytes()).hexdigest(),  # type: ignore[index]
        "torch random state": array_hash(torch.get_rng_state().numpy()),
        "gradient mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "warning filters": list(warnings.filters),
        "log level and handlers": (logging.getLogger().level, list(logging.getLogger().handlers)),
    }
    if "module" in classifier.capabilities:
        module = classifier.module
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        state |= {
            "weights": {n: array_hash(t.detach().cpu().numpy()) for n, t in tensors.items()},
            "gradients": [n for n, p in module.named_parameters() if p.grad is not None],
            "requires_grad": [p.requires_grad for p in module.parameters()],
            "training flags": [m.training for m in module.modules()],
            "hooks": [
                (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in module.modules()
            ],
        }
    return state


def _check_results(
    explainer: Explainer,
    classifier: Classifier,
    pictures: Sequence[Radiograph],
    findings: Sequence[str],
    results: Sequence[dict[str, Explanation]],
    context: Context,
) -> None:
    assert len(results) == len(pictures), f"{len(pictures)} radiographs, {len(results)} results"
    for picture, result in zip(pictures, results, strict=True):
        left = [f for f in findings if context.abstained.get((picture.sha256, f))]
        assert list(result) == [f for f in findings if f not in left], f"asked {list(findings)}, got {list(result)}"
        for name, explanation in result.items():
            made = explanation.provenance
            assert explanation.finding == name and explanation.kind == explainer.kind
            assert (made.explainer, made.version) == (explainer.name, explainer.version)
            assert made.fingerprint == classifier.fingerprint and made.image_sha256 == picture.sha256
            assert made.seconds >= 0
            if isinstance(explanation, Attribution):
                _check_map(explanation, picture)
            if isinstance(explanation, Counterfactual):
                _check_path(explanation, classifier)
                _check_map(explanation.attribution(), picture)
            if isinstance(explanation, PatternSum):
                _check_sum(explanation)
                _check_map(explanation.attribution(), picture)
            if isinstance(explanation, Statement):
                _check_statement(explanation, [f"{f}/{e}" for sha, f, e in context.earlier if sha == picture.sha256])


def _check_map(explanation: Attribution, picture: Radiograph) -> None:
    assert explanation.values.ndim == 2 and np.isfinite(explanation.values).all(), "a raw map is finite [h', w']"
    assert explanation.signed or explanation.values.min() >= 0, "an unsigned map has negative values"
    assert explanation.source_shape == picture.shape
    shown = explanation.at_source()
    assert shown.shape == picture.shape and np.isfinite(shown).any(), "the map misses the picture"


def _check_path(explanation: Counterfactual, classifier: Classifier) -> None:
    frames, k = explanation.frames, len(explanation.lambdas)
    assert frames.ndim == 3 and len(frames) == k and explanation.base.shape == frames.shape[1:]
    assert frames.min() >= 0 and frames.max() <= 1, "a frame leaves 0..1"
    assert np.all(np.diff(explanation.lambdas) > 0) and (explanation.lambdas == 0).any(), "lambdas rise through 0"
    assert explanation.findings == classifier.findings and explanation.logits.shape == (k, len(classifier.findings))
    assert explanation.probabilities.shape == (k,) and np.all(
        (explanation.probabilities >= 0) & (explanation.probabilities <= 1)
    )


def _check_sum(explanation: PatternSum) -> None:
    p = len(explanation.patterns)
    assert explanation.maps.ndim == 3 and len(explanation.maps) == p
    assert explanation.rest.shape == explanation.maps.shape[1:]
    assert len(explanation.names) == len(explanation.categories) == len(explanation.contributions) == p
    assert explanation.checks["sum_gap"] <= 1e-4, f"the parts miss the logit by {explanation.checks['sum_gap']:.2g}"
    gap = np.abs(explanation.maps.sum(axis=(1, 2)) - explanation.contributions).max(initial=0.0)
    assert gap <= 1e-4, f"a map misses its contribution by {gap:.2g}"
    whole = float(explanation.maps.sum(dtype=np.float64) + explanation.rest.sum(dtype=np.float64))
    assert abs(whole - (explanation.logit - explanation.bias)) <= 1e-3, "the maps and the rest miss the prediction"


def _check_statement(explanation: Statement, made: Sequence[str]) -> None:
    assert explanation.text.strip(), "a statement says nothing"
    unknown = [key for key in explanation.evidence if key not in made]
    assert not unknown, f"a statement rests on {', '.join(unknown)}, which nobody made"


def _check_features(classifier: Classifier, x: Any, logits: Any) -> None:
    import torch

    with torch.no_grad():
        same, taps = classifier.run(x, ("features",))
        assert taps["features"].ndim == 4, f"features are [b, d, h', w'], got {tuple(taps['features'].shape)}"
        assert torch.allclose(same, logits, atol=1e-4, rtol=1e-4), "run and logits differ"
        with contextlib.suppress(UnmetNeed):
            cut = classifier.head("features", taps["features"])
            assert torch.allclose(cut, logits, atol=1e-4, rtol=1e-4), "head(features) is not the logits"


def _check_case(case: Case) -> None:
    picture = case.radiograph()
    h, w = picture.shape
    for region in case.regions():
        x, y, width, height = region.box
        assert x >= 0 and y >= 0 and x + width <= w + 1 and y + height <= h + 1, f"{case.id}: {region} leaves {w} x {h}"
        assert region.mask is None or region.mask.shape == picture.shape
    again = case.radiograph()
    assert array_hash(again.pixels) == array_hash(picture.pixels), f"{case.id}: read twice, two pictures"


def _check_when_the_model_raises(
    explainer: Explainer,
    classifier: Classifier,
    pictures: Sequence[Radiograph],
    findings: Sequence[str],
    context: Context | None,
) -> None:
    if "module" not in classifier.capabilities:
        return

    def fail(*_: object) -> None:
        raise _PlantedError

    layers = [m for m in classifier.module.modules() if not list(m.children())]
    hook = layers[-1].register_forward_pre_hook(fail)
    try:
        before = snapshot(classifier, pictures)
        with contextlib.suppress(_PlantedError):
            explainer.explain(classifier, pictures, findings, context or Context())
        _assert_same(before, snapshot(classifier, pictures), f"after {explainer.name}, when the model raised")
    finally:
        hook.remove()


class _PlantedError(Exception):
    """Raised inside the model by ``check_explainer``."""


def _assert_same(before: Snapshot, after: Snapshot, when: str) -> None:
    changed = [name for name, value in before.items() if after[name] != value]
    assert not changed, f"{when}, changed: {', '.join(changed)}"


def _assert_close(
    first: Sequence[dict[str, Explanation]], second: Sequence[dict[str, Explanation]], tolerance: float, what: str
) -> None:
    for a, b in zip(first, second, strict=True):
        assert set(a) == set(b), f"{what}: {sorted(set(a) ^ set(b))} are explained only once"
        for name, explanation in a.items():
            if isinstance(explanation, Statement):
                other = b[name]
                assert isinstance(other, Statement) and other.text == explanation.text, (
                    f"{what}: other words for {name}"
                )
            if isinstance(explanation, Attribution | Counterfactual | PatternSum):
                other = b[name]
                assert isinstance(other, type(explanation))
                first_map, second_map = (e.attribution().values for e in (explanation, other))
                scale = float(np.abs(first_map).max()) or 1.0
                gap = float(np.abs(first_map - second_map).max()) / scale
                assert gap <= tolerance, f"{what}: the map of {name} differs by {gap:.2g} of its maximum"


@contextlib.contextmanager
def _raises(error: type[Exception], why: str) -> Iterator[None]:
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was promised: {why}")
