"""A seeded corpus of odd and broken files, made by code: each case says what a careful reader makes of it.

``same``    read, and equal to BASE within ``within``;
``accept``  read, with ``says`` in a warning where it is given;
``refuse``  one sentence, with ``says`` in it.
The cases come from three files: pictures (PNG, JPEG, TIFF), dicom, and special files (pipes, devices, archives).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 144, 160


@dataclass(frozen=True)
class Case:
    """``data`` is the file's bytes, or makes the file at a path."""

    name: str
    data: bytes | Callable[[Path], None]
    outcome: str
    says: str = ""
    within: float = 1e-6

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        if callable(self.data):
            self.data(path)
        else:
            path.write_bytes(self.data)
        return path


def base() -> np.ndarray:
    """uint8 ``[144, 160]``, 0..255, with no symmetry: a drawn chest with grain and a marker in one corner."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS] / np.array([ROWS, COLUMNS]).reshape(2, 1, 1)
    lungs = sum(np.exp(-(((x - c) / 0.14) ** 2) - ((y - 0.45) / w) ** 2) for c, w in ((0.3, 0.3), (0.7, 0.26)))
    grain = np.random.default_rng(7).normal(0, 0.02, (ROWS, COLUMNS))
    picture = 0.75 - 0.6 * lungs + 0.15 * y + grain
    picture[6:18, 8:14] = 1.2
    picture = (picture - picture.min()) / (1.2 - picture.min())
    return np.round(picture * 255).astype(np.uint8)


BASE = base()


@functools.cache
def corpus() -> tuple[Case, ...]:
    """Every case, in a fixed order."""
    import corpus_dicom
    import corpus_pictures
    import corpus_special

    return (*corpus_pictures.cases(), *corpus_dicom.cases(), *corpus_special.cases())
