"""Clinicians judge explanations: blinded, randomised forms out; filled forms in, as ratings of a reader study.

The question and its four answers are those of e-ViL (Kayser et al., ICCV 2021): given the picture and the answer, does
the explanation justify the answer? Each reader sees every case with every arm, one arm at each read.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..io.ratings import COLUMNS, Rating
from ..io.whole import disk_errors, write_whole
from ..metrics._intervals import REPLICATES
from ..metrics.agreement import Agreement, agreements
from ..metrics.reader import Pairs, crossed_means
from ..report.study_form import form_html
from ._study_items import Item, items_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUESTION = "justifies"
LEVELS = {"yes": 1.0, "weak yes": 2 / 3, "weak no": 1 / 3, "no": 0.0}
SHORTCOMINGS = ("incorrect description", "insufficient justification", "confusing sentence")
NONE = "none"
FORM = ("item", "picture", "answer", "explanation", QUESTION, "shortcomings", "comment")
KEY = ("item", "reader", "read", "case", "arm", "truth", "finding")


@dataclass(frozen=True)
class Exported:
    """What was written: forms (HTML and CSV of each reader and read), items a form, and what was left out."""

    folder: str
    readers: int
    reads: int
    items: int
    left_out: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.readers} readers x {self.reads} reads x {self.items} items, in {self.folder}"
        yield "key.csv says which arm an item is of: keep it from the readers"
        yield from self.left_out


@dataclass(frozen=True)
class Justified:
    """Mean score of an arm: 1 yes, 2/3 weak yes, 1/3 weak no, 0 no; 95 % interval over readers and cases.

    counts        answer -> how many; ``shortcomings``: name -> share of the rated items that have it.
    """

    arm: str
    slice: str
    n: int
    score: float
    low: float
    high: float
    counts: Mapping[str, int]
    shortcomings: Mapping[str, float]


@dataclass(frozen=True)
class Imported:
    """Filled forms: ratings in the schema of ``study analyse``, scores an arm, agreement, what was left empty."""

    ratings: int
    scores: tuple[Justified, ...]
    agreement: tuple[Agreement, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.ratings} ratings; does the explanation justify the answer? (1 yes, 2/3, 1/3, 0 no)"
        for s in self.scores:
            told = ", ".join(f"{answer} {n}" for answer, n in s.counts.items())
            yield f"  {s.arm:<20}{s.slice:<8}{s.score:.3f} [{s.low:.3f}, {s.high:.3f}]  n = {s.n}  ({told})"
            yield "    " + ", ".join(f"{name} {share:.2f}" for name, share in s.shortcomings.items())
        for a in self.agreement:
            yield (
                f"agreement, {a.question}, {a.between}: ICC {a.icc:.2f} [{a.icc_low:.2f}, {a.icc_high:.2f}], "
                f"weighted kappa {a.kappa:.2f} [{a.kappa_low:.2f}, {a.kappa_high:.2f}], n = {a.n} of {a.cases} cases"
            )
        yield from self.notes


def export_forms(
    arms: Mapping[str, str | Path],
    out: str | Path,
    *,
    readers: Sequence[str],
    references: str | Path | None = None,
    pictures: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Exported:
    """Write ``form-READER-READ.html`` and ``.csv`` for every reader and read, and ``key.csv``, into the folder ``out``.

    arms        name -> JSON lines of its explanations (see ``jobs/_study_items.py``).
    references  MIMIC-NLE's schema: says whether a predicted diagnosis is right, where the lines do not.
    pictures    folder that the lines' ``image`` is relative to; pictures are embedded in the forms.
    limit       so many cases, drawn at random from those that every arm has.
    Item names are random in every export, so that no form can be matched with another. Raises DataError.
    """
    by_arm, shared, left = _shared(arms, readers, references)
    rng = np.random.default_rng(seed)
    chosen = [shared[i] for i in sorted(rng.permutation(len(shared))[:limit])]
    folder = Path(out)
    key: list[dict[str, str]] = []
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for r, reader in enumerate(readers):
            for read, sequence in enumerate(_sequences(chosen, list(by_arm), r, rng), 1):
                rows = [(secrets.token_hex(4), by_arm[arm][which]) for which, arm in sequence]
                _write_form(folder / f"form-{reader}-{read}", rows, pictures, f"{reader}, read {read}")
                key += [_key(code, reader, read, arm, item)
                        for (code, item), (_, arm) in zip(rows, sequence, strict=True)]  # fmt: skip
        write_whole(folder / "key.csv", _table(KEY, key))
    return Exported(str(folder), len(readers), len(by_arm), len(chosen), tuple(left))


def import_forms(
    folder: str | Path, forms: Sequence[str | Path], out: str | Path, *, seed: int = 0, replicates: int = REPLICATES
) -> Imported:
    """Join filled forms with ``folder/key.csv``; write ratings for ``whyray study analyse`` to ``out``.

    The question "justifies" has the rating 1, 2/3, 1/3 or 0; each shortcoming is a question of its own, 1 or 0. Raises
    DataError naming the row that cannot be read; rows left empty are counted.
    """
    key = {row["item"]: row for row in _rows(Path(folder) / "key.csv", KEY)}
    ratings: list[Rating] = []
    empty = 0
    seen: set[str] = set()
    for form in forms:
        for number, row in enumerate(_rows(Path(form), ("item", QUESTION)), 2):
            where = f"{Path(form).name}, line {number}"
            item = row["item"].strip()
            if item not in key or item in seen:
                raise DataError(f"{where}: the item {item!r:.20} is not of this study, or stands twice; check the file")
            seen.add(item)
            made = _ratings(row, key[item], where)
            empty += not made
            ratings += made
    if not ratings:
        raise DataError("no form holds an answer; fill in the column justifies: yes, weak yes, weak no or no")
    _write_ratings(Path(out), ratings)
    missing = len(key) - len(seen)
    notes = [f"{empty} items were left empty"] if empty else []
    notes += [f"{missing} items of the study are in none of these forms"] if missing else []
    questions = (QUESTION, *SHORTCOMINGS)
    agreement = [a for q in questions for a in agreements(ratings, q, seed=seed)]
    return Imported(len(ratings), tuple(_scores(ratings, replicates, seed)), tuple(agreement), tuple(notes))


def _shared(
    arms: Mapping[str, str | Path], readers: Sequence[str], references: str | Path | None
) -> tuple[dict[str, dict[tuple[str, str], Item]], list[tuple[str, str]], list[str]]:
    """Items by arm, the (case, finding) that all arms have, and what that leaves out. Raises DataError."""
    if len(set(readers)) != len(readers) or not readers or any(not _plain(r) for r in (*readers, *arms)):
        raise DataError(
            "readers and arms need names of their own, of letters, digits, . _ or -; none came, or one twice"
        )
    by_arm = {arm: items_of(path, references) for arm, path in arms.items()}
    shared = sorted(set.intersection(*(set(held) for held in by_arm.values())))
    if not shared:
        raise DataError("no case and diagnosis is explained by every arm; check the sentence_ID or case of the files")
    left = [f"{arm}: {n} explanations have no counterpart in every other arm, and are left out"
            for arm, held in by_arm.items() if (n := len(set(held) - set(shared)))]  # fmt: skip
    return by_arm, shared, left


def _sequences(
    chosen: Sequence[tuple[str, str]], arms: Sequence[str], reader: int, rng: np.random.Generator
) -> Iterator[list[tuple[tuple[str, str], str]]]:
    """What one reader sees at each read: every case once, its arm turning from read to read and reader to reader."""
    first = rng.permutation(len(chosen)) + reader
    for read in range(len(arms)):
        order = rng.permutation(len(chosen))
        yield [(chosen[i], arms[(int(first[i]) + read) % len(arms)]) for i in order]


def _write_form(path: Path, rows: Sequence[tuple[str, Item]], pictures: str | Path | None, title: str) -> None:
    """The same items as a table and as a page."""
    lines = [
        {
            "item": code,
            "picture": item.image,
            "answer": item.answer,
            "explanation": item.text,
            QUESTION: "",
            "shortcomings": "",
            "comment": "",
        }
        for code, item in rows
    ]
    write_whole(path.with_suffix(".csv"), _table(FORM, lines))
    shown = [{**line, "png": item.png(pictures)} for line, (_, item) in zip(lines, rows, strict=True)]
    page = form_html(shown, title, tuple(LEVELS), (*SHORTCOMINGS, NONE), f"{path.name}.csv")
    write_whole(path.with_suffix(".html"), page.encode())


def _key(code: str, reader: str, read: int, arm: str, item: Item) -> dict[str, str]:
    row = {"item": code, "reader": reader, "read": str(read), "case": item.case, "arm": arm}
    return {**row, "truth": str(int(item.right)), "finding": item.finding}


def _ratings(row: Mapping[str, str], key: Mapping[str, str], where: str) -> list[Rating]:
    """The ratings of one row; none where the question was not answered."""
    said = " ".join(row[QUESTION].lower().split())
    if not said:
        return []
    if said not in LEVELS:
        raise DataError(f"{where}: {said!r:.30} came; {', '.join(LEVELS)} was wanted")
    marked = {" ".join(part.lower().split()) for part in (row.get("shortcomings") or "").split("|")} - {""}
    if marked - {*SHORTCOMINGS, NONE}:
        strange = sorted(marked - {*SHORTCOMINGS, NONE})[0]
        raise DataError(f"{where}: the shortcoming {strange!r:.40} came; {', '.join(SHORTCOMINGS)} or none was wanted")
    answers = {QUESTION: LEVELS[said]} | ({s: float(s in marked) for s in SHORTCOMINGS} if marked else {})
    names = {c: key[c] for c in ("reader", "read", "case", "arm", "finding")}
    return [Rating(**names, right=key["truth"] == "1", question=q, rating=value) for q, value in answers.items()]


def _scores(ratings: Sequence[Rating], replicates: int, seed: int) -> Iterator[Justified]:
    """A score an arm: over all, right and wrong predictions."""
    for arm in sorted({r.arm for r in ratings}):
        for name, kept in (("all", (True, False)), ("right", (True,)), ("wrong", (False,))):
            mine = [r for r in ratings if r.arm == arm and r.right in kept]
            asked = [r for r in mine if r.question == QUESTION]
            if not asked:
                continue
            values = np.array([r.rating for r in asked])
            low, high = np.nanpercentile(crossed_means(values, _rated(asked, values), replicates, seed), (2.5, 97.5))
            counts = {answer: int(np.isclose(values, level).sum()) for answer, level in LEVELS.items()}
            marks = {s: [r.rating for r in mine if r.question == s] for s in SHORTCOMINGS}
            shares = {s: float(np.mean(held)) for s, held in marks.items() if held}
            yield Justified(arm, name, len(asked), float(values.mean()), float(low), float(high), counts, shares)


def _rated(asked: Sequence[Rating], values: NDArray[np.float64]) -> Pairs:
    """Ratings of one arm as the rows that a crossed bootstrap draws."""
    readers, cases = np.array([r.reader for r in asked]), np.array([r.case for r in asked])
    findings, right = np.array([r.finding for r in asked]), np.array([r.right for r in asked])
    return Pairs(values, values, readers, cases, findings, right)


def _write_ratings(path: Path, ratings: Sequence[Rating]) -> None:
    rows = [
        {**{c: getattr(r, c) for c in COLUMNS if c not in ("truth", "rating")}, "truth": int(r.right),
         "rating": f"{r.rating:.6g}"}
        for r in ratings
    ]  # fmt: skip
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, _table(COLUMNS, rows))


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file. Raises DataError for a file or a column that is missing."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{path.name} could not be read as a CSV file in UTF-8; export it again") from None
    missing = [c for c in columns if rows and c not in rows[0]]
    if missing or not rows:
        raise DataError(f"{path.name} lacks {missing[0] if missing else 'rows'}; wanted: {', '.join(columns)}")
    return [{k: v or "" for k, v in row.items() if isinstance(k, str)} for row in rows]


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _plain(name: str) -> bool:
    return bool(name) and all(c.isalnum() or c in "._-" for c in name)
