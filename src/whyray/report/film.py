"""A counterfactual inside report.html: its frames one over the other, under a slider that also plays by itself."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..explanations import Counterfactual
from .animation import MILLISECONDS, looped, words
from .colours import diverging

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 320  # longest side of an embedded frame
OTHERS = 5  # findings that move most along the path


def film(made: Counterfactual, threshold: float | None, key: str) -> dict[str, Any]:
    """What the template needs: frames and the difference of the ends as data URIs, words, probabilities, order."""
    column = made.findings.index(made.finding)
    moved = {f: v for f, v in made.alignment().items() if f != made.finding and np.isfinite(v)}
    most = sorted(moved, key=lambda f: -abs(moved[f]))[:OTHERS]
    shown = [_sized(Image.fromarray(np.rint(np.clip(f, 0, 1) * 255).astype(np.uint8))) for f in made.frames]
    return {
        "id": key,
        "frames": [
            {
                "picture": _uri(picture, "jpeg", quality=88),
                "words": words(made, i),
                "probability": float(made.probabilities[i]),
                "logit": float(made.logits[i, column]),
                "lambda": float(made.lambdas[i]),
            }
            for i, picture in enumerate(shown)
        ],
        "difference": _uri(_difference(made.frames[-1] - made.frames[0]), "png"),
        "zero": made.zero,
        "still": sorted({0, made.zero, len(shown) - 1}),
        "order": looped(len(shown)),
        "milliseconds": MILLISECONDS,
        "mark": None if threshold is None else round(100 * threshold, 2),
        "moves": [{"finding": f, "share": moved[f]} for f in most],
        "lost": made.checks.get("kept", 1.0),
    }


def _difference(change: NDArray[np.float32]) -> Image.Image:
    """Signed change of grey: blue darker, orange lighter, uncoloured none; the scale ends at the largest change."""
    limit = max(float(np.abs(change).max()), 1e-6)
    index = np.rint(change / limit * 127.5 + 127.5).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(diverging().tobytes())
    return _sized(picture.convert("RGB"))


def _sized(picture: Image.Image) -> Image.Image:
    scale = SIDE / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    out = io.BytesIO()
    picture.save(out, kind.upper(), **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
