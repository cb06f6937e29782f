"""CheXlocalize in its official layout: ``chexlocalize:PATH`` (Saporta et al., Nature Machine Intelligence 2022).

PATH holds gt_segmentations_val.json and gt_segmentations_test.json (COCO run lengths per picture and pathology), or
gt_annotations_val.json ... (contours), in PATH or PATH/CheXlocalize; and CheXpert's pictures and label tables in PATH,
PATH/CheXpert, PATH/CheXpert-v1.0 or PATH/CheXpert-v1.0-small. ``chexlocalize:PATH,truth=hb_segmentations_test.json``
takes the regions of another file of either format, as the human benchmark. The pickled maps of the release are never
opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..findings import crosswalk
from ..io.rle import decode, from_coco
from ..types import Case, Region
from ._tables import TableSet, box_around, known_finding, one_each, opener, picture, regions_of
from .chexpert import LICENCE, cases_of, findings, settings_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATHOLOGIES = crosswalk("chexlocalize-10")
PLACES = (".", "CheXlocalize", "cheXlocalize")
PICTURES = (".", "CheXpert", "CheXpert-v1.0", "CheXpert-v1.0-small")
SPLITS = {"val": ("val", "valid"), "test": ("test",)}
ANNOTATORS = {"gt": "CheXlocalize radiologists", "hb": "CheXlocalize human benchmark"}


def load(argument: str) -> TableSet:
    """``PATH``, then ``,truth=FILE`` where wanted. Raises DataError where the layout is another."""
    path, given = settings_of("chexlocalize", argument, {"truth": None})
    root, name = Path(path).expanduser(), given.get("truth")
    drawn = {split: _drawn(root, split, name) for split in SPLITS}
    if not any(drawn.values()):
        wanted = name or "gt_segmentations_val.json or gt_segmentations_test.json"
        raise DataError(f"no regions were found in {root.name or root}; {wanted} was wanted")
    who = ANNOTATORS.get((name or "gt")[:2], name or "")
    cases = [case for split, regions in drawn.items() for case in _cases(root, split, regions, who)]
    if not cases:
        raise DataError(f"no pictures of CheXpert were found in {root.name or root}; valid/ and test/ were wanted")
    return TableSet(f"chexlocalize:{argument}", findings(), LICENCE, root, one_each(cases, "CheXlocalize"))


def _drawn(root: Path, split: str, name: str | None) -> dict[str, Any]:
    """Picture -> pathology -> run lengths or contours."""
    names = [name] if name else [f"gt_segmentations_{split}.json", f"gt_annotations_{split}.json"]
    paths = [root / place / n for n in names for place in PLACES if n and split in Path(n).stem.split("_")]
    found = next((p for p in paths if p.is_file()), None)
    if found is None:
        return {}
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(f"{found.name} could not be read as JSON; download it again") from None
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise DataError(f"{found.name} does not hold pathologies by picture, as CheXlocalize writes it")
    return content


def _cases(root: Path, split: str, drawn: Mapping[str, Mapping[str, Any]], who: str) -> list[Case]:
    """Cases of the label table, with their regions; without a table those of the regions' file alone."""
    if not drawn:
        return []
    place = next((p for p in (root / n for n in PICTURES) if any((p / f).is_dir() for f in SPLITS[split])), None)
    if place is None:
        return []
    cases = list(cases_of(place, split)) or [_unlabelled(place, split, name, drawn[name]) for name in drawn]
    strangers = set(drawn) - {case.id for case in cases}
    if strangers:
        raise DataError(
            f"the label table of {split!r} lacks {min(strangers)!r:.60}, which has regions; use its own table"
        )
    return [_with_regions(root, place, case, drawn.get(case.id, {}), who) for case in cases]


def _unlabelled(place: Path, split: str, name: str, drawn: Mapping[str, Any]) -> Case:
    """A picture without a row in a table: present is what somebody drew, the rest of the ten pathologies absent."""
    patient, *rest = name.split("_", 2)
    folder = next(f for f in SPLITS[split] if (place / f).is_dir())
    file = "/".join((folder, patient, *rest)) + ".jpg"
    present = {PATHOLOGIES_OF[key] for key, value in drawn.items() if key in PATHOLOGIES_OF and not _empty(value)}
    labels = {f: float(f in present) if f in PATHOLOGIES.values() else math.nan for f in findings()}
    read = opener(picture(place, file), name, "LATERAL" if name.endswith("lateral") else None)
    facts = {"file": file, "dataset": "CheXlocalize", "licence": LICENCE}
    return Case(name, read, labels, f"chexpert_{patient.removeprefix('patient')}", split, facts=facts)


def _with_regions(root: Path, place: Path, case: Case, drawn: Mapping[str, Any], who: str) -> Case:
    make: list[Callable[[tuple[int, int]], Region]] = []
    for key, value in drawn.items():
        finding = PATHOLOGIES_OF.get(key) or known_finding(key)
        if key != "img_size" and finding is None:
            raise DataError(f"{case.id}: the pathology {key!r:.40} is not known; it is one of {', '.join(PATHOLOGIES)}")
        if finding is not None and not _empty(value):
            make.append(partial(_region, case.id, finding, value, drawn.get("img_size"), who))
    file = (place / str(case.facts["file"])).relative_to(root).as_posix()
    regions = regions_of(make, case.open)
    return replace(case, open_regions=regions, facts={**case.facts, "file": file, "dataset": "CheXlocalize"})


def _region(name: str, finding: str, drawn: Any, size: Any, who: str, shape: tuple[int, int]) -> Region:
    """One pathology as a mask of the picture's shape; a smaller copy of the picture takes the nearest pixels."""
    mask = decode(from_coco(drawn)) if isinstance(drawn, dict) else filled_contours(drawn, size, name)
    if mask.shape != shape:
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, mask.shape, strict=True))
        mask = mask[np.ix_(rows, columns)]
    return Region(finding, box_around(mask), mask, annotator=who)


def filled_contours(contours: Any, size: Any, name: str) -> NDArray[np.bool_]:
    """The mask ``[h, w]`` of closed contours ``[[x, y], ...]``, outlines included. Raises DataError for others."""
    from PIL import Image, ImageDraw

    from ..io.limits import limits

    try:
        h, w = (int(side) for side in size)
        lines = [[(float(x), float(y)) for x, y in contour] for contour in contours]
        fits = 0 < h * w <= limits().pixels and all(math.isfinite(v) for line in lines for point in line for v in point)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise DataError(f"the contours of {name!r:.60} are not lists of [x, y] beside an img_size [height, width]")
    image = Image.new("L", (w, h))
    for line in lines:
        if len(line) > 2:
            ImageDraw.Draw(image).polygon(line, fill=1, outline=1)
    return np.asarray(image) > 0


def _empty(drawn: Any) -> bool:
    """Whether nothing was drawn: run lengths without a pixel, or no contour."""
    return from_coco(drawn).area == 0 if isinstance(drawn, dict) else not drawn


PATHOLOGIES_OF = {**PATHOLOGIES, "Lung Opacity": PATHOLOGIES["Airspace Opacity"]}
