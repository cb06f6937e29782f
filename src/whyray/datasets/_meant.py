"""What a folder's author may have meant: columns, splits and labels that are nearly those of the format."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ..errors import listed
from ..findings import nearest
from ._tables import SPLITS, known_finding

LABELS = "findings"  # the column that labels are read from
LIKE_LABELS = ("findings", "finding", "findinglabels", "labels", "label", "diagnosis", "diagnoses", "pathologies")
LIKE_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing"),
}
SEPARATORS = ";,/+&"


def columns_told(columns: Sequence[str]) -> tuple[str, bool]:
    """What to say where labels have no column, and whether another column was surely meant; nothing where they have."""
    if not columns or LABELS in columns:
        return "", False
    like = {_bare(name) for name in LIKE_LABELS}
    near = [c for c in columns if difflib.get_close_matches(_bare(c), like, n=1, cutoff=0.8)]
    named = [c for c in columns if known_finding(c)]
    rest = [c for c in columns if c not in near and c not in named]
    seen = f"the columns are {listed([*near, *named, *rest])}"
    looked = f"labels are read from the column {LABELS!r} (with 'labelled' or 'dataset' beside it), and there is none"
    if near:
        return f"{looked}; rename {near[0]!r} to {LABELS!r}: {seen}", True
    if named:
        return f"{looked}; write a picture's findings into it, '|' between them: {seen}", True
    return f"{looked}: {seen}", False


def split_meant(name: str) -> str | None:
    """The split that a name is another spelling of, where it is none itself."""
    if name in SPLITS:
        return None
    return next((split for split, names in LIKE_SPLITS.items() if name.lower() in names), None)


def label_told(label: str) -> tuple[str, bool]:
    """What a label that nobody knows may mean, and whether that is sure: findings with another separator are."""
    for mark in SEPARATORS:
        parts = [part.strip() for part in label.split(mark)]
        if len(parts) > 1 and all(known_finding(part.rstrip("?")) for part in parts):
            return f"write '|' between findings, not {mark!r}", True
    near = nearest(label.rstrip("?"))
    return (f"did you mean {near}?", False) if near else ("", False)


def header_hint(header: Sequence[str], missing: str) -> str:
    """What may be wrong with a table without a column that is needed: its separator, or the column's spelling."""
    if len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
            if mark in header[0]:
                return f"its columns are separated by {name}; export it with commas"
    near = [c for c in header if _bare(c) == _bare(missing)]
    near = near or difflib.get_close_matches(missing, header, n=1, cutoff=0.75)
    return f"rename {near[0]!r} to {missing!r}" if near else ""


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()
