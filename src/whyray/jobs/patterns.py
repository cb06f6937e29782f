"""Banks of patterns by name: build, list, browse, have them named. What each does is in ``patterns_*.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier
from ..types import Report
from .files import silent

if TYPE_CHECKING:
    from ..patterns.bank import PatternBank
    from .patterns_name import Named

__all__ = ["browse_patterns", "build_patterns", "list_patterns", "name_patterns", "pattern_lines"]

IMAGES = 1500
LIMITS = (1000, 2_000_000)


def build_patterns(
    ensemble: str | Path,
    activations: str | Path,
    classifier: Classifier,
    out: str | Path,
    *,
    images: int = IMAGES,
    report: Report = silent,
) -> PatternBank:
    """Build the bank of a classifier into ``out``, describe its patterns with ``images`` pictures, write its page.

    Writes the artefact, funnel.html, galleries/ and patterns.html; stop it and run it again, and nothing is made twice.
    Raises FingerprintError, DataError, LockedError, DiskFullError.
    """
    from ..training.lock import locked
    from .patterns_build import build_patterns as gates
    from .patterns_describe import describe
    from .patterns_page import browse

    folder = Path(out)
    gates(ensemble, activations, classifier, folder, report=report)
    with locked(folder):
        described = describe(folder, Path(activations), classifier, images=images, report=report)
        browse(folder, folder / "patterns.html", classifier, report=report)
    return described.bank


def list_patterns(
    classifier: Classifier,
    bank: str | Path = "",
    *,
    pattern: str | None = None,
    category: str | None = None,
    finding: str | None = None,
) -> list[dict[str, Any]]:
    """One dictionary a pattern of the bank (the classifier's own where none is named), the most relevant first.

    With ``pattern`` only that one, with its effects, evidence and gallery. Raises UnknownName, UnmetNeed.
    """
    from ..errors import UnknownName
    from ..findings import finding as canonical
    from ..patterns.bank import UNASSIGNED, load_bank
    from ..patterns.enrichment import CATEGORIES

    folder = bank_folder(classifier, bank)
    held = load_bank(folder, classifier)
    if category is not None and category not in (*CATEGORIES, UNASSIGNED):
        raise UnknownName("category", category, (*CATEGORIES, UNASSIGNED))
    if pattern is not None:
        return [_in_full(folder, held, held.index(pattern))]
    wanted = canonical(finding) if finding else None
    rows = [
        asdict(p) for p in held.patterns if category in (None, p.category) and (wanted is None or wanted in p.findings)
    ]
    return sorted(rows, key=lambda row: -row["relevance"] if row["relevance"] == row["relevance"] else 0.0)


def pattern_lines(rows: Sequence[Mapping[str, Any]], *, in_full: bool = False) -> Iterator[str]:
    """What ``list_patterns`` gives, for people."""
    yield f"{'pattern':<8}{'category':<12}{'relevance':>10}{'density':>9}{'stability':>10}  name"
    for row in rows:
        numbers = f"{row['relevance']:>10.3f}{row['density']:>9.3f}{row['stability']:>10.2f}"
        yield f"{row['id']:<8}{row['category']:<12}{numbers}  {row['name'] or '-'}"
        if not in_full:
            continue
        yield f"  {row['origin']}"
        yield from (
            f"  {value:+.3f} to the logit of {name.replace('_', ' ')}" for name, value in row["effects"].items()
        )
        yield from (f"  {line}" for line in row["evidence"])
        for group, firings in row["gallery"].items():
            yield f"  {group.replace('_', ' ')}:"
            yield from (f"    {f['activation']:8.3f}  {f['case']}  cell {f['cell']}  ({f['dataset']})" for f in firings)


def browse_patterns(
    classifier: Classifier, out: str | Path, bank: str | Path = "", *, embed: bool = False, report: Report = silent
) -> Path:
    """Write the page of a bank (the classifier's own where none is named) to the file ``out``; returns it.

    Phantoms are drawn again from their seeds; other pictures are copied into the page with ``embed`` only.
    """
    from .patterns_page import browse

    return browse(bank_folder(classifier, bank), Path(out), classifier, embed=embed, report=report)


def name_patterns(
    bank: str | Path,
    activations: str | Path,
    classifier: Classifier,
    url: str,
    *,
    service: str = "default",
    send_images: bool = False,
    limits: tuple[int, int] = LIMITS,
    images: int = IMAGES,
    report: Report = silent,
) -> Named:
    """Names by the model ``service`` behind an OpenAI-compatible address, each checked on held-out images.

    limits  requests and tokens that may be used; ``send_images``: consent that pictures leave this machine.
    Raises SettingError (address), AnnotatorError (refused), FingerprintError, LockedError.
    """
    from ..patterns.annotator import Annotator, Budget
    from .patterns_name import name_patterns as run

    annotator = Annotator(url, service, send_images)
    return run(Path(bank), Path(activations), classifier, annotator, Budget(*limits), images=images, report=report)


def bank_folder(classifier: Classifier, bank: str | Path = "") -> Path:
    """The folder named, else that of the bank which belongs to the classifier. Raises UnmetNeed."""
    from ..models._artefacts import artefact_folder
    from ..patterns.bank import KIND

    return Path(bank) if str(bank) else artefact_folder(KIND, classifier)


def _in_full(folder: Path, bank: PatternBank, number: int) -> dict[str, Any]:
    from ..patterns.galleries import load_galleries
    from .patterns_describe import GALLERIES
    from .patterns_page import evidence_line

    shown, about = load_galleries(folder / GALLERIES, bank.fingerprint)
    facts = about[number]
    gallery = {group: [f._asdict() for f in firings] for group, firings in vars(shown[number]).items()}
    return {
        **asdict(bank.patterns[number]),
        "origin": facts["origin"],
        "effects": dict(sorted(facts["effects"].items(), key=lambda e: -abs(e[1]))[:8]),
        "evidence": [evidence_line(one) for one in facts["evidence"]],
        "gallery": gallery,
    }
