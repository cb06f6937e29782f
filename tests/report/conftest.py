"""A radiograph, maps and a page made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from browser import Browser

from whyray.cards import Card
from whyray.contracts import cells_to_pixels
from whyray.explanations import Attribution, Counterfactual
from whyray.io.records import RunRecord, record
from whyray.report.render import Page
from whyray.types import Prediction, Provenance, Radiograph

PROVENANCE = Provenance("gradcam", 1, {}, 0, "f" * 64, "a" * 64, "b" * 64, "torch/float32/cpu", 0.1, "0.1.0")


def blob(h: int = 14, w: int = 14, at: tuple[float, float] = (9, 3)) -> np.ndarray:
    """One smooth hill at (row, column)."""
    y, x = np.mgrid[:h, :w]
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 6).astype(np.float32)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; the test skips where there is none."""
    window = Browser(tmp_path_factory.mktemp("profile"))
    yield window
    window.close()


@pytest.fixture
def picture() -> Radiograph:
    rng = np.random.default_rng(0)
    return Radiograph(rng.uniform(0.2, 0.8, (180, 240)).astype(np.float32), name="chest", view="PA")


@pytest.fixture
def make_map(picture: Radiograph) -> Callable[..., Attribution]:
    """A map over the whole picture, or over its centred square."""

    def make(values: np.ndarray | None = None, *, crop: bool = False, **changes: object) -> Attribution:
        values = blob() if values is None else np.asarray(values, np.float32)
        h, w = picture.shape
        to_source = cells_to_pixels(values.shape, (h, h) if crop else (h, w))
        if crop:
            to_source = np.array([[1, 0, (w - h) / 2], [0, 1, 0], [0, 0, 1]]) @ to_source
        fields = {
            "finding": "pneumonia",
            "provenance": PROVENANCE,
            "values": values,
            "to_source": to_source,
            "source_shape": picture.shape,
            "signed": False,
            **changes,
        }
        return Attribution(**fields)  # type: ignore[arg-type]

    return make


@pytest.fixture
def classifier() -> SimpleNamespace:
    card = Card(name="stub", licence="Apache-2.0", limits=("Never validated.",))
    return SimpleNamespace(
        name="stub", fingerprint="ab" * 32, backend="torch/float32/cpu", taps={"features": "norm5"}, card=card
    )


@pytest.fixture
def make_page(
    picture: Radiograph, make_map: Callable[..., Attribution], classifier: SimpleNamespace
) -> Callable[..., Page]:
    def make(
        results: dict | None = None,
        warnings: tuple[str, ...] = (),
        command: str | None = None,
        radiograph: Radiograph = picture,
    ) -> Page:
        predictions = [Prediction("pneumonia", 1.4, 0.62, 0.31, 0.1, True), Prediction("cardiomegaly", -1.9, 0.13)]
        results = {"pneumonia": {"gradcam": make_map()}} if results is None else results
        run = RunRecord(started="2026-01-01T00:00:00Z", command=command)
        return Page(record(radiograph, classifier, predictions, results, run, warnings=warnings), radiograph, results)

    return make


@pytest.fixture
def make_counterfactual() -> Callable[..., Counterfactual]:
    """A path over frames that brighten: one finding rises, the other falls half as much."""

    def make(finding: str = "pneumonia", kept: float = 0.9, frames: int = 5) -> Counterfactual:
        ramp = np.linspace(0.2, 0.8, 48, dtype=np.float32)[None].repeat(36, 0)
        lambdas = np.linspace(-2, 2, frames) if frames > 1 else np.zeros(1)
        logits = np.stack([lambdas, -lambdas / 2], axis=1)
        return Counterfactual(
            finding=finding,
            provenance=PROVENANCE,
            frames=np.stack([np.clip(ramp + 0.1 * v, 0, 1) for v in lambdas]),
            lambdas=lambdas,
            logits=logits if finding == "pneumonia" else logits[:, ::-1].copy(),
            probabilities=1 / (1 + np.exp(-lambdas)),
            findings=("pneumonia", "cardiomegaly"),
            base=ramp,
            to_source=cells_to_pixels((36, 48), (180, 240)),
            source_shape=(180, 240),
            checks={"kept": kept},
        )

    return make
