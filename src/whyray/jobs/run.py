"""The local executor: cells that are not in the store are made, group by group; interrupt and run again is the resume.

A group is what shares work (the cells of a few radiographs): it is handed to ``work`` in one call, and every cell is
kept as soon as it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import DataError, Stopped
from ..types import Report
from .files import silent
from .store import Result, Store, cell_key

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Cell:
    """One result to have.

    facts  everything its content depends on, and nothing else (see ``cell_key``).
    about  what to call it in progress and failures.
    given  whatever ``work`` needs to make it.
    """

    facts: Mapping[str, Any]
    about: str = ""
    given: Any = field(default=None, repr=False)

    @cached_property
    def key(self) -> str:
        """Its name in the store."""
        return cell_key(self.facts)


Made = Mapping[str, "NDArray[Any]"] | str
"""the arrays of a cell, or the sentence that says why there are none"""
Work = Callable[[Sequence[Cell]], Iterable[tuple[Cell, Made]]]


@dataclass(frozen=True)
class Ran:
    """What a run did: cells ``made`` now, cells ``kept`` from before, and key -> why for those that ``failed``."""

    made: int = 0
    kept: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)


def run(
    groups: Iterable[Sequence[Cell]],
    work: Work,
    store: Store,
    *,
    total: int = 0,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Ran:
    """Have every cell of every group in the store. ``total``: how many groups there are, for progress.

    ``work`` gets the missing cells of one group, and yields each with its arrays or with a sentence; what failed is
    tried again by the next run. Raises Stopped between two cells when ``cancelled``; what was made is kept.
    """
    made = kept = 0
    failed: dict[str, str] = {}
    for done, group in enumerate(groups):
        missing = [cell for cell in group if store.get(cell.key) is None]
        kept += len(group) - len(missing)
        for cell, result in work(missing) if missing else ():
            if isinstance(result, str):
                failed[cell.key] = result
            else:
                store.put(cell.key, result, cell.facts)
                made += 1
            if cancelled():
                raise Stopped("stopped; what was finished is kept, run again to go on")
        report(done + 1, max(total, done + 1), group[-1].about if group else "")
    return Ran(made, kept, failed)


def whole(cells: Iterable[Cell], store: Store) -> list[Result]:
    """What the store holds of every cell, in their order: rows stay with the pictures they are of.

    Raises DataError where one cannot be read.
    """
    found = []
    for cell in cells:
        if (result := store.get(cell.key)) is None:
            about = f" of {cell.about}" if cell.about else ""
            raise DataError(f"a cell{about} was damaged while it ran; run again, and it is made anew")
        found.append(result)
    return found


def results(cells: Iterable[Cell], store: Store) -> Iterator[tuple[Cell, Result | None]]:
    """Each cell with what the store holds of it, one at a time."""
    return ((cell, store.get(cell.key)) for cell in cells)
