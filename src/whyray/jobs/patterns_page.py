"""The page of a bank from its folder: pictures are read from their data sets now, and copied only where allowed.

A phantom is made again from its seed, so its picture may always be shown. Any other picture stays in its data set, and
the page names it, unless the user asks for copies.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..contracts import Classifier, cells_to_pixels
from ..errors import WhyrayError
from ..io.records import NOTICE
from ..io.whole import disk_errors, write_whole
from ..patterns.bank import Pattern, PatternBank, load_bank
from ..patterns.galleries import GROUPS, Firing, Gallery, load_galleries
from ..report.bank_page import SIDE, Card, Shown, Tile, bank_html
from ..report.figures import grey, source_to_grid
from ..report.firing import moved, outline, path
from ..types import Case, Report
from .files import silent
from .patterns_describe import GALLERIES, cases_by_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Drawn = tuple[Shown, NDArray[np.float64]]

HEADINGS = dict(zip(GROUPS, ("Fires most", "Over the range of its activations", "Look-alikes where it is silent")))
MOST = 2000  # pictures in a page; those of the most relevant patterns come first


def browse(
    folder: Path, out: Path, classifier: Classifier, *, embed: bool = False, most: int = MOST, report: Report = silent
) -> Path:
    """Write the page of the bank in ``folder`` to the file ``out``; returns it. ``embed``: copy pictures of any data
    set into it. Raises WeightsError, FingerprintError, DiskFullError."""
    bank = load_bank(folder, classifier)
    shown, about = load_galleries(folder / GALLERIES, bank.fingerprint)
    order = np.argsort([-_known(p.relevance) for p in bank.patterns], kind="stable")
    wanted = dict.fromkeys((f.dataset, f.case) for p in order for name in GROUPS for f in getattr(shown[p], name))
    drawn = _pictures(list(wanted), bank, classifier, embed, most, report)
    cards = [_card(p, shown[i], about[i] if i < len(about) else {}, drawn, bank) for i, p in enumerate(bank.patterns)]
    gates = bank.facts.get("funnel", ())
    funnel = [(str(g["gate"]), int(g["after"])) for g in gates if isinstance(g, Mapping) and "after" in g]
    title = f"What {classifier.name} sees: {len(bank.patterns)} patterns"
    facts = {"classifier": classifier.name, "members": str(bank.members), "latents": f"{len(bank.encoder):,}"}
    facts |= {"images in galleries": f"{len(wanted):,}", "grid": "{} x {} cells".format(*bank.site.grid)}
    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        page = bank_html(title, facts, funnel, cards, {_key(k): s for k, (s, _) in drawn.items()})
        write_whole(out, page.encode())
    return out


def affine_of(classifier: Classifier, case: Case, grid: tuple[int, int]) -> tuple[Any, NDArray[np.float64]]:
    """(the case's radiograph, the affine from cells to its pixels)."""
    radiograph = case.radiograph()
    frame = classifier.prepare(radiograph)
    return radiograph, frame.to_source @ cells_to_pixels(grid, frame.pixels.shape[1:])


def _pictures(
    wanted: Sequence[tuple[str, str]], bank: PatternBank, classifier: Classifier, embed: bool, most: int, report: Report
) -> dict[tuple[str, str], Drawn]:
    """Each image with its affine from cells; pictures of the first ``most`` that may be shown."""
    cases: dict[str, Mapping[str, Case]] = {}
    blank = cells_to_pixels(bank.site.grid, (SIDE, SIDE))
    out: dict[tuple[str, str], Drawn] = {}
    drawn = 0
    for done, (spec, name) in enumerate(wanted):
        out[spec, name] = Shown(name, SIDE, SIDE), blank
        if drawn < most and (embed or spec.partition(":")[0].partition("#")[0] == "phantom"):
            try:
                cases.setdefault(spec, {})
                cases[spec] = cases[spec] or cases_by_id(spec)
                out[spec, name] = _picture(cases[spec][name], bank, classifier)
                drawn += 1
            except (WhyrayError, KeyError):
                pass  # it is named, as those that are not copied
        report(done + 1, len(wanted), name)
    return out


def _picture(case: Case, bank: PatternBank, classifier: Classifier) -> Drawn:
    radiograph, affine = affine_of(classifier, case, bank.site.grid)
    picture = grey(radiograph)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80, comment=NOTICE)
    shape = (picture.height, picture.width)
    return Shown(case.id, *picture.size, out.getvalue()), source_to_grid(radiograph.shape, shape) @ affine


def _card(
    pattern: Pattern,
    gallery: Gallery,
    about: Mapping[str, Any],
    drawn: Mapping[tuple[str, str], Drawn],
    bank: PatternBank,
) -> Card:
    def tile(firing: Firing) -> Tile:
        key = (firing.dataset, firing.case)
        lines = moved(outline(firing.region, bank.site.grid), drawn[key][1])
        return Tile(_key(key), path(lines), firing.activation)

    effects = {str(f): float(v) for f, v in about.get("effects", {}).items()}
    moves = [f for f in pattern.findings if f in effects] or sorted(effects, key=lambda f: -abs(effects[f]))
    return Card(
        pattern.id,
        pattern.name,
        pattern.category,
        str(about.get("origin", "")),
        pattern.density,
        pattern.stability,
        pattern.monosemanticity,
        pattern.relevance,
        {f: effects[f] for f in moves},
        [evidence_line(one) for one in about.get("evidence", ())],
        {HEADINGS[name]: [tile(f) for f in getattr(gallery, name)] for name in GROUPS},
    )


def evidence_line(one: Mapping[str, Any]) -> str:
    """One enriched attribute in a sentence."""
    kind, _, value = str(one["attribute"]).partition(":")
    odds = [_short(math.exp(one[name])) for name in ("log_odds", "low", "high")]
    return (
        f"{kind} {value.replace('_', ' ')}: {one['with_it']} of {one['firing']} images where it fires, "
        f"{one['others_with_it']} of {one['others']} others; odds times {odds[0]} [{odds[1]}, {odds[2]}]"
    )


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _key(image: tuple[str, str]) -> str:
    return "\t".join(image)


def _known(value: float) -> float:
    return value if value == value else -math.inf
