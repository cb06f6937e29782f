"""Draw docs/images/counterfactual.webp: a phantom, its Latent Shift film, and the same phantom without the finding.

python docs/make_animation.py              # the chosen case
python docs/make_animation.py --search 20  # how it was chosen: every case with its distance to the truth, nearest first

Phantoms are the only pictures of which the true counterfactual exists. Seeded: the same weights give the same picture.
"""

from __future__ import annotations

import argparse
import sys
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
from whyray.report.lettering import letters

TARGET = Path(__file__).parent / "images" / "counterfactual.webp"
FINDING, SEVERITY, CASE = "cardiomegaly", 0.9, 4  # counted from the first case of the test split
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


def drawn(case: int, explainer: str = "latent_shift") -> Drawn:
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


def told(found: Drawn) -> str:
    """One line a case."""
    p, zero, checks = found.path.probabilities, found.path.zero, found.path.checks
    return (
        f"case {found.case:3d}: {found.before:.2f} -> reconstruction {p[zero]:.2f} (kept {checks['kept']:.2f}) -> "
        f"removed {p[0]:.2f}, {found.path.stop[0]}; twin {found.without:.2f}; nearer to the twin {found.nearer:+.2f}"
    )


def main() -> None:
    """Write the picture, or tell of the search."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--search", type=int, metavar="CASES", help="compare so many cases instead of drawing one")
    options.add_argument("--explainer", default="latent_shift", help="such as latent_shift:autoencoder=FOLDER")
    options.add_argument("-o", "--out", type=Path, default=TARGET)
    given = options.parse_args()
    if given.search:
        found = [drawn(case, given.explainer) for case in range(given.search)]
        for one in sorted(found, key=lambda d: -d.nearer):
            sys.stdout.write(f"{told(one)}\n")
        return
    one = drawn(CASE, given.explainer)
    given.out.write_bytes(animation(one))
    sys.stdout.write(f"{told(one)}\n{given.out.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main()
