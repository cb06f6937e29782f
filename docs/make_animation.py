"""Draw docs/images/counterfactual.webp: a phantom, its Latent Shift film, and the same phantom without the finding.

python docs/make_animation.py           # compares the first 20 phantoms with a planted large heart, and draws the best
python docs/make_animation.py --case 4  # draws this one

Phantoms are the only pictures of which the true counterfactual exists. Best: of those whose reconstruction keeps the
prediction and whose sides both arrive, the one that comes nearest to its true twin. So the picture shows what the
method can do, not what it does on average: the list that is printed says that. The same weights give the same picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import whyray
from whyray.datasets.phantom import FIRST, phantom_case
from whyray.metrics.counterfactual import twin_ratio
from whyray.report.animation import drawn_frames, webp
from whyray.report.figures import grey
from whyray.report.film import AS_IT_WAS
from whyray.report.lettering import letters

TARGET = Path(__file__).parent / "images" / "counterfactual.webp"
FINDING, SEVERITY, CASES = "cardiomegaly", 0.9, 20  # cases count from the first one of the test split
EXPLAINER = "latent_shift:frames=9,steps=8,distortion=0.5,smooth=8"
SIDE, GAP = 264, 6
PANEL, INK = (16, 18, 22), (228, 231, 235)


@dataclass(frozen=True)
class Drawn:
    """One case: the phantom, its twin without the finding, and the counterfactual with its operating point."""

    case: int
    phantom: whyray.Radiograph
    twin: whyray.Radiograph
    path: whyray.Counterfactual
    before: float
    without: float
    threshold: float | None

    @property
    def nearer(self) -> float:
        """How much of the distance to the twin the removal takes away, inside the finding; below 0: it leads away."""
        mask = np.abs(self.phantom.pixels - self.twin.pixels) > 0
        return 1 - twin_ratio(self.path.frames[0], self.path.frames[self.path.zero], self.twin.pixels, mask)


def drawn(case: int, explainer: str = EXPLAINER) -> Drawn:
    """Explain one planted phantom and predict its twin."""
    number, plant = FIRST["test"] + case, {FINDING: SEVERITY}
    with_, without = (phantom_case(number, plant=plant, without=left_out).radiograph() for left_out in ((), (FINDING,)))
    mini = whyray.load_model("mini")
    made: Any = whyray.explain(mini, with_, findings=[FINDING], explainers=[explainer])[FINDING, explainer]
    said = [{p.finding: p for p in whyray.predict(mini, r)}[FINDING] for r in (with_, without)]
    return Drawn(case, with_, without, made, said[0].probability, said[1].probability, said[0].threshold)


def animation(found: Drawn) -> bytes:
    """Phantom, film and twin side by side, as a looping WebP."""
    films = drawn_frames(found.path, found.threshold, SIDE)
    height = films[0].height
    left = still(found.phantom, ("phantom", f"{FINDING} {100 * found.before:.0f} %"), height)
    right = still(found.twin, ("the same phantom without it", f"{FINDING} {100 * found.without:.0f} %"), height)
    frames = []
    for film in films:
        whole = Image.new("RGB", (left.width + film.width + right.width + 2 * GAP, height), PANEL)
        for x, part in ((0, left), (left.width + GAP, film), (left.width + film.width + 2 * GAP, right)):
            whole.paste(part, (x, 0))
        frames.append(whole)
    return webp(frames)


def still(radiograph: whyray.Radiograph, words: tuple[str, str], height: int) -> Image.Image:
    """A picture with two lines below it."""
    size, letter = (SIDE, SIDE), max(11, SIDE // 30)
    out = Image.new("RGB", (SIDE, height), PANEL)
    out.paste(grey(radiograph).resize(size, Image.Resampling.BICUBIC), (0, 0))
    draw = ImageDraw.Draw(out)
    for line, text in enumerate(words):
        draw.text((letter // 2 + 2, SIDE + letter // 2 + line * 1.4 * letter), text, font=letters(letter), fill=INK)
    return out


def best(found: Sequence[Drawn]) -> Drawn:
    """The case to show, by the rule above; without any that keeps its prediction and arrives, the nearest of all."""
    keeps = [d for d in found if abs(d.path.checks["kept"] - 1) <= AS_IT_WAS and d.path.stop == ("target", "target")]
    return max(keeps or found, key=lambda d: d.nearer)


def told(found: Drawn) -> str:
    """One line a case."""
    p, zero, checks = found.path.probabilities, found.path.zero, found.path.checks
    return (
        f"case {found.case:3d}: {found.before:.2f} -> reconstruction {p[zero]:.2f} (kept {checks['kept']:.2f}) -> "
        f"removed {p[0]:.2f}, {found.path.stop[0]}; twin {found.without:.2f}; nearer to the twin {found.nearer:+.2f}"
    )


def summary(found: Sequence[Drawn]) -> str:
    """What the method does on all of them."""
    nearer = np.array([d.nearer for d in found])
    removed = sum(d.path.stop[0] == "target" for d in found)
    return (
        f"{FINDING}, n = {len(found)}: removal reached its target in {removed}; nearer to the twin in "
        f"{(nearer > 0).sum()}, median {np.median(nearer):+.2f}, {nearer.min():+.2f} to {nearer.max():+.2f}"
    )


def main() -> None:
    """Compare, choose, write the picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--case", type=int, help="draw this case")
    options.add_argument("--explainer", default=EXPLAINER, help="such as latent_shift:autoencoder=FOLDER")
    options.add_argument("-o", "--out", type=Path, default=TARGET)
    given = options.parse_args()
    cases = range(CASES) if given.case is None else [given.case]
    found = [drawn(case, given.explainer) for case in cases]
    chosen = best(found)
    given.out.write_bytes(animation(chosen))
    lines = [told(d) for d in sorted(found, key=lambda d: -d.nearer)]
    size = f"{given.out.stat().st_size / 1000:.0f} kB"
    sys.stdout.write("\n".join([*lines, summary(found), f"drawn: case {chosen.case}, {size}"]) + "\n")


if __name__ == "__main__":
    main()
