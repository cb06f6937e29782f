"""What a form asks about: one explanation of one diagnosis of one case."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..datasets._mimic_nle_files import read_lines
from ..errors import DataError
from ..findings import crosswalk, facts, finding
from ..io.load import load_image

LABELS = tuple(crosswalk("mimic-nle-10").values())
SIDE = 640  # pixels of an embedded picture


@dataclass(frozen=True)
class Item:
    """An explanation (``text``) of a diagnosis (``finding``) of a case; ``right``: the diagnosis was predicted rightly.

    image  path of the picture, relative to the folder of pictures; "" for none.
    """

    case: str
    finding: str
    text: str
    right: bool
    image: str = ""

    @property
    def answer(self) -> str:
        """The diagnosis for people."""
        return facts(self.finding).name

    def png(self, pictures: str | Path | None) -> str:
        """The picture in base64, "" without one. Raises InputError where it cannot be read."""
        return _png(Path(pictures) / self.image) if pictures is not None and self.image else ""


def items_of(path: str | Path, references: str | Path | None = None) -> dict[tuple[str, str], Item]:
    """(case, finding) -> item, from JSON lines.

    A line holds ``sentence_ID`` or ``case``; ``nle``; ``diagnosis``, or ``diagnosis_label`` of MIMIC-NLE (an item
    each); where there are: ``right`` (1 or 0), ``image``. What is right may come from ``references`` (``img_labels``
    uncertain or positive). Raises DataError where it comes from nowhere.
    """
    truth = _truth(references)
    out: dict[tuple[str, str], Item] = {}
    for line in read_lines(path, ("nle",)):
        case = str(line.get("sentence_ID") or line.get("case") or "")
        for label in _diagnoses(line):
            right = _right(line, truth.get(case), label)
            if not case or not label or right is None:
                raise DataError(
                    f"{Path(path).name}: a line has no case or sentence_ID, no diagnosis, or says nowhere whether the "
                    "prediction was right; add them (right: 1 or 0), or give --references"
                )
            if (case, label) in out:
                raise DataError(f"{Path(path).name} explains {label} of {case} twice; keep one sentence a diagnosis")
            out[case, label] = Item(case, label, str(line["nle"]), right, str(line.get("image", "")))
    return out


def _diagnoses(line: Mapping[str, Any]) -> list[str]:
    if "diagnosis" in line:
        return [finding(str(line["diagnosis"]))]
    return [label for label, on in zip(LABELS, line.get("diagnosis_label", ())) if on] or [""]


def _truth(references: str | Path | None) -> dict[str, list[list[int]]]:
    if references is None:
        return {}
    return {
        str(line["sentence_ID"]): line["img_labels"] for line in read_lines(references, ("sentence_ID", "img_labels"))
    }


def _right(line: Mapping[str, Any], truth: list[list[int]] | None, label: str) -> bool | None:
    if "right" in line:
        return bool(line["right"])
    labels = line.get("img_labels", truth)
    if labels is None or label not in LABELS:
        return None
    return not labels[LABELS.index(label)][0]


@cache
def _png(path: Path) -> str:
    from ..report.figures import thumbnail_png

    return base64.b64encode(thumbnail_png(load_image(path), SIDE)).decode()
