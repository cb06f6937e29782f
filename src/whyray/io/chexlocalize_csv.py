"""Tables, masks and maps as CheXlocalize writes and reads them: CSV and JSON both ways, maps from npz or CSV only.

Findings go out under CheXlocalize's names ("Airspace Opacity") and come in under any known one ("Lung Opacity"). Its
pickled maps are not read: a pickle is a program.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import cells_to_pixels
from ..errors import DataError, InputError, UnknownName
from ..explanations import resample
from ..findings import crosswalk, facts, finding
from .files import read_file
from .limits import limits
from .rle import Runs, from_coco, to_coco
from .whole import disk_errors, write_whole

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    Numbers = NDArray[np.floating[Any]]
    Source = str | os.PathLike[str]

NAMES = {canonical: label for label, canonical in crosswalk("chexlocalize-10").items()}
IDS = "img_id"


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers with a name for each row and column.

    ids       one a picture (``patient64541_study1_view1_frontal``), or empty where the rows are replicates.
    findings  canonical, one a column.
    values    float64 ``[n, k]``; NaN = left out.
    """

    ids: tuple[str, ...]
    findings: tuple[str, ...]
    values: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class StoredMap:
    """A map from elsewhere. It covers the whole picture.

    values       float32 ``[h', w']``, raw.
    shape        (h, w) of the radiograph, or None where the file does not say.
    probability  of the model, or NaN.
    """

    picture: str
    finding: str
    values: NDArray[np.float32] = field(repr=False)
    shape: tuple[int, int] | None = None
    probability: float = float("nan")

    def at_source(self, shape: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """The map resampled bilinearly to the radiograph's ``shape``, or its own where the file said it."""
        shape = shape or self.shape
        if shape is None:
            raise DataError(f"the map of {self.picture} does not say how large its radiograph is; give (height, width)")
        return resample(self.values, cells_to_pixels(self.values.shape, shape), shape)


def write_results(
    folder: Source, metric: str, scores: Table, replicates: Numbers, summary: Mapping[str, Numbers]
) -> None:
    """The three files of one metric ("iou", "hitmiss") in an existing folder:

    ``{metric}_results_per_cxr.csv``    a column a finding, then ``img_id``; empty = left out.
    ``{metric}_bootstrap_results.csv``  ``replicates [r, k]``, a column a finding.
    ``{metric}_summary_results.csv``    ``name``, then the columns of ``summary``, each ``[k]``: "lower", "mean",
                                        "upper" as published, then whatever else there is ("n").
    """
    names = [name_of(f) for f in scores.findings]
    order = np.argsort(names, kind="stable")
    head = [names[i] for i in order]
    rows = [[*_texts(row[order]), key] for row, key in sorted_rows(scores)]
    columns = {key: np.asarray(values)[order] for key, values in summary.items()}
    lines = [[name, *_texts(np.array([c[i] for c in columns.values()]))] for i, name in enumerate(head)]
    _write(folder, f"{metric}_results_per_cxr.csv", [*head, IDS], rows)
    _write(folder, f"{metric}_bootstrap_results.csv", head, [_texts(row[order]) for row in np.asarray(replicates)])
    _write(folder, f"{metric}_summary_results.csv", ["name", *columns], lines)


def write_percentage_decrease(
    folder: Source, metric: str, findings: Sequence[str], columns: Mapping[str, Numbers]
) -> None:
    """``{metric}_pct_decrease.csv``: a row a finding; columns "hb", "pred", "pct_diff", "pct_diff_lower",
    "pct_diff_upper", each ``[k]``, the last three in per cent; largest decrease first."""
    decrease = np.asarray(columns["pct_diff"], np.float64)
    order = np.argsort(-decrease, kind="stable")  # NaN last
    rows = [[name_of(findings[i]), *_texts(np.array([np.asarray(c)[i] for c in columns.values()]))] for i in order]
    _write(folder, f"{metric}_pct_decrease.csv", ["", *columns], rows)


def sorted_rows(scores: Table) -> list[tuple[NDArray[np.float64], str]]:
    """(values, id) in the order of the ids: the order in which the published scheme numbers its pictures."""
    return sorted(zip(scores.values, scores.ids, strict=True), key=lambda pair: pair[1])


def read_table(path: Source) -> Table:
    """A ``*_results_per_cxr.csv`` or ``*_bootstrap_results.csv``, ours or theirs. Raises DataError for others."""
    rows = _rows(path)
    head = rows[0]
    columns = [i for i, name in enumerate(head) if name not in ("", IDS)]
    if not columns:
        raise DataError(f"{Path(path).name} has no column of a finding")
    findings = tuple(_known(head[i], path) for i in columns)
    ids = tuple(row[head.index(IDS)] for row in rows[1:]) if IDS in head else ()
    values = [[_number(row[i], path) for i in columns] for row in rows[1:]]
    return Table(ids, findings, np.array(values, np.float64).reshape(-1, len(columns)))


def read_thresholds(path: Source) -> dict[str, float]:
    """Finding -> threshold, from a ``tuning_results.csv`` (threshold, task) or a ``probability_tuning_results.csv``
    (prob_threshold, mIoU, task), of which the row with the highest mIoU counts."""
    head, *rows = _rows(path)
    value = next((c for c in ("threshold", "prob_threshold") if c in head), None)
    if value is None or "task" not in head:
        raise DataError(f"{Path(path).name} has no columns 'threshold' and 'task'; give a table of tuned thresholds")
    best: dict[str, tuple[float, float]] = {}
    for row in rows:
        name = _known(row[head.index("task")], path)
        score = _number(row[head.index("mIoU")], path) if "mIoU" in head else 0.0
        if name not in best or score > best[name][0]:
            best[name] = score, _number(row[head.index(value)], path)
    return {name: threshold for name, (_score, threshold) in best.items()}


def write_thresholds(folder: Source, thresholds: Mapping[str, float]) -> None:
    """``tuning_results.csv``: threshold, task."""
    rows = sorted(((name_of(f), t) for f, t in thresholds.items()), key=lambda pair: pair[0])
    _write(folder, "tuning_results.csv", ["threshold", "task"], [[f"{t:.6g}", name] for name, t in rows])


def read_masks(path: Source) -> dict[str, dict[str, Runs]]:
    """Picture -> finding -> mask, from ``gt_segmentations_*.json`` or a method's segmentations. Raises DataError."""
    try:
        data = json.loads(read_file(path))
        return {
            picture: {_known(name, path): from_coco(record) for name, record in masks.items()}
            for picture, masks in data.items()
        }
    except (ValueError, AttributeError, RecursionError):
        raise DataError(f"{Path(path).name} is no JSON of picture, finding and run-length mask") from None


def write_masks(path: Source, masks: Mapping[str, Mapping[str, Runs]]) -> None:
    """The inverse of ``read_masks``: the file that CheXlocalize's own ``eval.py`` takes as predictions."""
    data = {
        picture: {name_of(f): to_coco(runs) for f, runs in sorted(found.items())}
        for picture, found in sorted(masks.items())
    }
    with disk_errors(Path(path).parent):
        write_whole(path, json.dumps(data).encode())


def read_map(path: Source) -> StoredMap:
    """A map named ``{picture}_{finding}_map.npz`` or ``.csv``.

    npz: ``map`` ``[h', w']`` (or ``[1, 1, h', w']``), and where known ``prob``, ``task``, ``cxr_dims`` = (w, h), under
    the names CheXlocalize gives them; no array of Python objects. csv: the numbers of the map and nothing else. Raises
    InputError, for a pickle with the lines that turn it into npz.
    """
    path = Path(path)
    stem, _, last = path.stem.rpartition("_")
    picture, _, task = stem.rpartition("_")
    if path.suffix == ".pkl":
        raise InputError(path, "a pickle is a program, and is not run here", _CONVERT)
    if path.suffix not in (".npz", ".csv") or last != "map" or not picture:
        raise InputError(path, "the name is not that of a map", "name it {picture}_{finding}_map.npz or .csv")
    stored = _from_npz(path) if path.suffix == ".npz" else {"map": _from_csv(path)}
    values = np.asarray(stored["map"], np.float32)
    values = (
        values.reshape(values.shape[-2:]) if values.ndim > 2 and values.size == np.prod(values.shape[-2:]) else values
    )
    if values.ndim != 2 or not values.size:
        raise InputError(path, f"the map has the shape {values.shape}", "give [height, width]")
    width, height = (int(v) for v in np.ravel(stored.get("cxr_dims", (0, 0))))
    if "cxr_dims" in stored and (min(width, height) < 1 or width * height > limits().pixels):
        raise InputError(path, f"'cxr_dims' says {width} x {height}", "give (width, height) of the radiograph")
    probability = float(np.ravel(stored.get("prob", np.nan))[0])
    return StoredMap(picture, _known(task, path), values, (height, width) if height else None, probability)


def name_of(canonical: str) -> str:
    """CheXlocalize's name of a finding; outside its ten, our own name for people."""
    return NAMES.get(canonical) or facts(canonical).name


_CONVERT = (
    "where you trust the file, convert it there: info = pickle.load(open(f, 'rb')); numpy.savez(f[:-4] + '.npz', "
    "map=numpy.asarray(info['map']), prob=float(info['prob']), cxr_dims=info['cxr_dims'])"
)


_DAMAGED = (ValueError, TypeError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError)


def _from_npz(path: Path) -> dict[str, NDArray[Any]]:
    data = read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:  # what it claims; more than that is a bad file to zipfile
            if sum(item.file_size for item in archive.infolist()) > limits().plain_bytes:
                raise InputError(path, f"it unpacks to over {limits().plain_bytes >> 20} MiB", "give one map a file")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            wanted = {name: arrays[name] for name in ("map", "prob", "cxr_dims") if name in arrays}
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error):
        raise InputError(path, "this is no npz of plain arrays", "write it with numpy.savez") from None
    if "map" not in wanted or any(a.dtype.kind not in "fiu" for a in wanted.values()):
        raise InputError(path, "it holds no numeric array 'map'", "write it with numpy.savez(file, map=...)")
    if wanted.get("cxr_dims", np.zeros(2)).size != 2 or not wanted.get("prob", np.zeros(1)).size:
        raise InputError(path, "'cxr_dims' or 'prob' is not what it should be", "give (width, height) and one number")
    return wanted


def _from_csv(path: Path) -> NDArray[np.float32]:
    try:
        text = read_file(path).decode()
        if not text.strip():
            raise ValueError
        return np.loadtxt(io.StringIO(text), np.float32, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        raise InputError(
            path, "this is no table of numbers", "give one row of the map a line, parted by commas"
        ) from None


def _rows(path: Source) -> list[list[str]]:
    """All rows, each as long as the first."""
    try:
        rows = [row for row in csv.reader(io.StringIO(read_file(path).decode("utf-8-sig"))) if row]
    except (ValueError, csv.Error):
        rows = []
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise DataError(f"{Path(path).name} is no CSV with rows of equal length")
    return rows


def _known(label: str, path: Source) -> str:
    try:
        return finding(label)
    except UnknownName as error:
        raise DataError(f"{Path(path).name}: {error}") from None


def _number(text: str, path: Source) -> float:
    try:
        return float(text) if text.strip() else float("nan")
    except ValueError:
        raise DataError(f"{Path(path).name} holds text where a number belongs") from None


def _texts(row: Numbers) -> list[str]:
    return ["" if np.isnan(v) else repr(float(v)) for v in row]


def _write(folder: Source, name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    with disk_errors(folder):
        write_whole(Path(folder) / name, text.getvalue().encode())
