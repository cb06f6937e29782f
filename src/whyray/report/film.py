"""A counterfactual inside report.html: its frames one over the other, under a slider that also plays by itself.

templates/film.html.j2 lays it out, film.js plays it; without a script, and on paper, three frames stand side by side.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..explainers._latent_path import FIDELITY, SEEN
from ..explanations import Counterfactual
from ..io.records import NOTICE
from .animation import MADE_UP, MILLISECONDS, looped, words
from .colours import diverging

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 320  # longest side of an embedded frame
AS_IT_WAS = 0.1  # a reconstruction that changes a probability by less than this share keeps it


def film(made: Counterfactual, threshold: float | None) -> dict[str, Any]:
    """What the template needs: frames and the change from first to last as data URIs, words, probabilities, order,
    the logits of all findings at both ends (those that move most first), and how far to trust the reconstruction."""
    shares = {f: v for f, v in made.alignment().items() if np.isfinite(v)}
    ends = {f: (float(first), float(last)) for f, first, last in zip(made.findings, made.logits[0], made.logits[-1])}
    rows = {f: {"finding": f, "first": ends[f][0], "last": ends[f][1], "share": v} for f, v in shares.items()}
    others = sorted((f for f in rows if f != made.finding), key=lambda f: -abs(shares[f]))
    change = made.frames[-1] - made.frames[0]
    last = len(made.frames) - 1
    return {
        "frames": [
            {"picture": _grey(f), "words": words(made, i), "probability": float(made.probabilities[i])}
            for i, f in enumerate(made.frames)
        ],
        "difference": _difference(change),
        "change": float(np.abs(change).max()),
        "zero": made.zero,
        "still": sorted({0, made.zero, last}),
        "ends": [words(made, i).partition(": ")[2] for i in (0, last)],
        "order": looped(last + 1),
        "milliseconds": MILLISECONDS,
        "mark": None if threshold is None else round(100 * threshold, 2),
        "own": rows.get(made.finding),
        "moves": [rows[f] for f in others],
        "fidelity": fidelity(made),
    }


def fidelity(made: Counterfactual) -> dict[str, Any] | None:
    """How much of the prediction the reconstruction kept: ``words``, ``poor``, and the probability ``before``; None
    where the explainer did not measure it."""
    kept = made.checks.get("kept", float("nan"))
    if not kept > 0:
        return None
    before = float(made.probabilities[made.zero]) / kept
    poor = abs(kept - 1) * before > SEEN and not FIDELITY <= kept <= 1 / FIDELITY
    moved = f"{100 * abs(kept - 1):.0f} %"
    told = f"has lost {moved} of" if kept < 1 else f"has added {moved} to"
    told = told if abs(kept - 1) > AS_IT_WAS else "keeps"
    trust = "Do not trust: the" if poor else "The"
    return {"words": f"{trust} reconstruction {told} this prediction:", "poor": poor, "before": min(1.0, before)}


def _grey(frame: NDArray[np.float32]) -> str:
    return _uri(_sized(Image.fromarray(np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8))), "jpeg", quality=88)


def _difference(change: NDArray[np.float32]) -> str:
    """Signed change of grey: blue darker, orange lighter, uncoloured none; the scale ends at the largest change."""
    limit = max(float(np.abs(change).max()), 1e-6)
    index = np.rint(change / limit * 127.5 + 127.5).astype(np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(diverging().tobytes())
    return _uri(_sized(picture.convert("RGB")), "jpeg", quality=88)


def _sized(picture: Image.Image) -> Image.Image:
    scale = SIDE / max(picture.size)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """A data URI; the file says that a model drew it, also when it is taken out of the page."""
    out = io.BytesIO()
    picture.save(out, kind.upper(), comment=f"{MADE_UP} {NOTICE}", **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
