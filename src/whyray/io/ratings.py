"""Ratings of a reader study as CSV: ``reader,read,case,arm,truth,finding,question,rating``, one row a rating."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

COLUMNS = ("reader", "read", "case", "arm", "truth", "finding", "question", "rating")
RIGHT = frozenset({"1", "true", "yes", "right", "tp", "tn", "correct"})
WRONG = frozenset({"0", "false", "no", "wrong", "fp", "fn", "incorrect"})
MOST = 1_000_000


@dataclass(frozen=True)
class Rating:
    """One answer. ``right`` = the prediction shown was right; ``rating`` on any ordered scale, higher = more."""

    reader: str
    read: str
    case: str
    arm: str
    right: bool
    finding: str
    question: str
    rating: float


def read_ratings(path: str | Path) -> list[Rating]:
    """Every rating of a CSV file (UTF-8, header). Raises DataError naming the row that cannot be used, and why."""
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path.name} lacks the column {missing[0]!r}; wanted: {', '.join(COLUMNS)}")
            found = [_rating(row, f"{path.name}, line {reader.line_num}") for row in reader]
    except FileNotFoundError:
        raise DataError(f"{path.name} was not found; check the path") from None
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{path.name} could not be read as a CSV file in UTF-8; export it again") from None
    if not 0 < len(found) <= MOST:
        raise DataError(f"{path.name} holds {len(found)} ratings; from 1 to {MOST:,} are wanted")
    seen: set[tuple[str, ...]] = set()
    for r in found:
        key = (r.reader, r.read, r.case, r.arm, r.finding, r.question)
        if key in seen:
            raise DataError(f"{path.name} holds the rating {', '.join(key)} twice; keep one")
        seen.add(key)
    return found


def _rating(row: dict[str, str | None], where: str) -> Rating:
    text = {c: (row.get(c) or "").strip() for c in COLUMNS}
    empty = [c for c in ("reader", "case", "arm", "question", "rating", "truth") if not text[c]]
    if empty:
        raise DataError(f"{where}: {empty[0]} is empty; fill it in, or leave the row out")
    try:
        value = float(text["rating"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: the rating is no number; give numbers, such as 1 to 5")
    said = text["truth"].lower()
    if said not in RIGHT | WRONG:
        raise DataError(f"{where}: truth says whether the prediction was right; give 1 or 0 (or TP, FP ...)")
    names = {c: text[c] for c in ("reader", "read", "case", "arm", "question")}
    return Rating(**names, right=said in RIGHT, finding=text["finding"] or "all", rating=value)
