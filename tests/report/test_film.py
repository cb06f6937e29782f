"""A counterfactual in the report: its frames, the order of the loop, what moves along, and the signed difference."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from whyray.contracts import cells_to_pixels
from whyray.explanations import Counterfactual
from whyray.report.film import fidelity, film
from whyray.types import Provenance

MADE = Provenance("latent_shift", 1, {}, 0, "0" * 64, "0" * 64, "0" * 64, "torch/float32/cpu", 0.0, "0")


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), int)


def test_a_film_shows_every_frame_and_says_what_moves_along() -> None:
    frames = np.full((3, 20, 30), 0.5, np.float32)
    frames[0, :, :15], frames[2, :, 15:] = 0.2, 0.9  # weaker: dark on the left; stronger: bright on the right
    made = Counterfactual(
        finding="mass",
        provenance=MADE,
        frames=frames,
        lambdas=np.array([-4.0, 0.0, 4.0]),
        logits=np.array([[-2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, -2.0, 0.4]]),
        probabilities=np.array([0.1, 0.4, 0.8]),
        findings=("mass", "edema", "hernia"),
        base=frames[1],
        to_source=cells_to_pixels((20, 30), (200, 300)),
        source_shape=(200, 300),
        checks={"kept": 0.9},
    )
    told = film(made, threshold=0.3)
    assert [f["words"] for f in told["frames"]] == ["mass: weaker", "mass: reconstruction", "mass: stronger"]
    assert [f["probability"] for f in told["frames"]] == [0.1, 0.4, 0.8] and told["order"] == [0, 1, 2, 1]
    assert told["still"] == [0, 1, 2] and told["zero"] == 1 and told["mark"] == 30
    assert [(m["finding"], m["share"]) for m in told["moves"]] == [("edema", -0.75), ("hernia", 0.1)]
    assert told["moves"][0]["first"] == 1 and told["moves"][0]["last"] == -2 and told["own"]["share"] == 1
    assert told["ends"] == ["weaker", "stronger"] and told["change"] == pytest.approx(0.4)
    assert told["fidelity"]["words"] == "The reconstruction keeps this prediction:" and not told["fidelity"]["poor"]
    assert told["fidelity"]["before"] == pytest.approx(0.4 / 0.9)
    grey = picture(told["frames"][2]["picture"])
    assert abs(grey[100, 300] - 230).max() < 5 and abs(grey[100, 10] - 128).max() < 5
    lighter = picture(told["difference"])
    assert lighter[100, 300, 0] > lighter[100, 300, 2]  # orange: everything grew lighter from first to last
    for uri in (told["difference"], *(f["picture"] for f in told["frames"])):
        comment = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).info["comment"].decode()
        assert comment.startswith("Model-made picture, not a radiograph.")


@pytest.mark.parametrize(
    ("kept", "p", "words", "poor"),
    [
        (0.6, 0.3, "The reconstruction has lost 40 % of", False),
        (0.55, 0.3, "Do not trust: the reconstruction has lost 45 % of", True),
        (2.0, 0.3, "Do not trust: the reconstruction has added 100 % to", True),
        (2.0, 0.002, "The reconstruction has added 100 % to", False),
        (1.05, 0.3, "The reconstruction keeps", False),
    ],
)
def test_the_badge_says_what_the_reconstruction_kept(kept: float, p: float, words: str, poor: bool) -> None:
    """Poor below 0.6 and above 1 / 0.6, unless the change is one of less than a percentage point."""
    made = SimpleNamespace(checks={"kept": kept}, probabilities=np.array([0.01, p, 0.9]), zero=1)
    told = fidelity(made)  # type: ignore[arg-type]
    assert told == {"words": f"{words} this prediction:", "poor": poor, "before": pytest.approx(p / kept)}


def test_what_was_not_measured_has_no_badge() -> None:
    for checks in ({}, {"kept": float("nan")}):
        assert fidelity(SimpleNamespace(checks=checks)) is None  # type: ignore[arg-type]
