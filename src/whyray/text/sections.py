"""Sections of a report: the MIMIC-CXR layout to the letter, headings of free layouts, and Open-i columns.

The MIMIC-CXR rules are those of the data set's own section parser (MIT-LCP, MIT licence), on which the sentence ids of
MIMIC-NLE rest: tests hold the behaviour fixed, oddities included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ..errors import DataError
from ._lexicon import rows

Layout = Literal["mimic-cxr", "free", "open-i", "unknown"]
_MIMIC_HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
_MAIN = ("impression", "findings", "history", "comparison", "addendum")
_PARAGRAPH = "\n \n"
OPEN_I = {
    "indication": "indication",
    "comparison": "comparison",
    "findings_text": "findings",
    "impression_text": "impression",
}


@dataclass(frozen=True)
class Section:
    """One section: its name in the common vocabulary, its text, and where it lies (characters ``start`` to ``end``)."""

    name: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Sections:
    """The sections of a report in their order, the layout they were read by, and what must be said of it, or ""."""

    layout: Layout
    sections: tuple[Section, ...]
    note: str = ""

    def named(self, *names: str) -> tuple[Section, ...]:
        """The sections of these names, in the order of the report."""
        return tuple(s for s in self.sections if s.name in names)


def split(text: str) -> Sections:
    """Sections of a report: by MIMIC-CXR's headings, else by free ones, else the whole as one, which the note says."""
    if not text.strip():
        return Sections("unknown", (), "the report is empty")
    if _MIMIC_HEADING.search(text):
        found = mimic_cxr(text)
        note = (
            ""
            if {"findings", "impression"} & {s.name for s in found}
            else "no section is called findings or impression"
        )
        return Sections("mimic-cxr", found, note)
    found = _free(text)
    if found:
        note = (
            ""
            if {"findings", "impression"} & {s.name for s in found}
            else "no section is called findings or impression"
        )
        return Sections("free", found, note)
    whole = Section("full report", text, 0, len(text))
    return Sections("unknown", (whole,), "no heading was recognised: the whole text is one section")


def open_i(row: Mapping[str, str]) -> Sections:
    """Sections of one row of an Open-i table, whose columns are sections already; offsets are within each column.

    Raises DataError where no column of the format is there.
    """
    if not set(OPEN_I) & set(row):
        raise DataError(f"columns {', '.join(list(row)[:8])} came; an Open-i row has {', '.join(OPEN_I)}: rename them")
    found = tuple(Section(name, row[c], 0, len(row[c])) for c, name in OPEN_I.items() if (row.get(c) or "").strip())
    note = "" if {"findings", "impression"} & {s.name for s in found} else "neither findings nor impression"
    return Sections("open-i", found, note)


def mimic_cxr(text: str) -> tuple[Section, ...]:
    """Sections as the MIMIC-CXR parser gives them: a heading is capitals and a colon after a line break and one blank.

    After a heading, the rest of its own line is not searched for the next. Empty findings and impressions are dropped;
    where neither is left, what follows the last section's first paragraph is "last_paragraph".
    """
    found = _headed(text)
    found = [s for s in found if s.name not in ("impression", "findings") or s.text.strip()]
    if not any(s.name in ("impression", "findings") for s in found) and _PARAGRAPH in found[-1].text:
        last = found[-1]
        head, rest = last.text.split(_PARAGRAPH, 1)
        cut = last.start + len(head)
        found[-1] = Section(last.name, head, last.start, cut)
        found.append(Section("last_paragraph", rest, cut + len(_PARAGRAPH), last.end))
    return tuple(found)


def _headed(text: str) -> list[Section]:
    heading = _MIMIC_HEADING.search(text)
    if heading is None:
        return [Section("full report", text, 0, len(text))]
    found = [Section("preamble", text[: heading.start(1)], 0, heading.start(1))]
    while heading:
        start = heading.end()
        following = _MIMIC_HEADING.search(text, max(text.find("\n", start), start))
        end = following.start() if following else len(text)
        found.append(Section(mimic_name(heading[1]), text[start:end], start, end))
        heading = following
    return found


def mimic_name(heading: str) -> str:
    """The common name of a MIMIC-CXR heading: from the known ones, by a word it holds, or itself in lower case."""
    low = heading.lower().strip()
    known = _known()
    if low in known:
        return known[low]
    for name in _MAIN:
        if name in low:
            return name
    return "findings" if any(view in low for view in _views()) else low


@cache
def _known() -> dict[str, str]:
    return {row["heading"]: row["section"] for row in rows("headings") if row["kind"] == "whole"}


@cache
def _views() -> tuple[str, ...]:
    return tuple(row["heading"] for row in rows("headings") if row["kind"] == "view")


@cache
def _free_heading() -> re.Pattern[str]:
    """A known heading and a colon, at the start of a line or after the end of a sentence."""
    names = sorted(
        {*_known(), *(row["heading"] for row in rows("headings") if row["kind"] == "free")}, key=len, reverse=True
    )
    alternatives = "|".join(re.escape(n).replace(r"\ ", r"[ \t]+") for n in names)
    return re.compile(rf"(?:^[ \t*#]*|(?<=[.!?])[ \t]+)({alternatives})[ \t]*(?:\*\*)?:", re.IGNORECASE | re.MULTILINE)


def _free(text: str) -> tuple[Section, ...]:
    """Sections by known headings in any capitals; what stands before the first is the preamble."""
    names = _known() | {row["heading"]: row["section"] for row in rows("headings") if row["kind"] == "free"}
    headings = list(_free_heading().finditer(text))
    found = []
    if headings and text[: headings[0].start()].strip():
        found.append(Section("preamble", text[: headings[0].start()], 0, headings[0].start()))
    for heading, following in zip(headings, [*headings[1:], None]):
        start, end = heading.end(), following.start() if following else len(text)
        found.append(Section(names[" ".join(heading[1].lower().split())], text[start:end], start, end))
    return tuple(found)
