"""Banks of patterns by name: build, list, browse, have them named. What each does is in ``patterns_*.py``."""

from __future__ import annotations

import shutil
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
UNFINISHED, PAGE = "unfinished", "patterns.html"  # where a bank is made before it takes its place; its page


def build_patterns(
    ensemble: str | Path,
    activations: str | Path,
    classifier: Classifier,
    out: str | Path,
    *,
    changes: Sequence[str] = (),
    images: int = IMAGES,
    report: Report = silent,
) -> PatternBank:
    """Build the bank of a classifier into ``out``, describe its patterns with ``images`` pictures, write its page.

    changes  ``key=value`` each, of the gates (``GatePlan``): ``split=train``, ``moves=0.003``; the bank keeps them.
    Writes the artefact, funnel.html, galleries/ and patterns.html; stop it and run it again, and nothing is made twice.
    All of it is made in ``out/unfinished``: a bank that is there already stays whole until the new one is ready. Names
    that ``name_patterns`` adopted are given again where the patterns are the same; else ``report`` is told.
    Raises SettingError, FingerprintError, DataError, LockedError, DiskFullError.
    """
    from ..io.whole import disk_errors
    from ..patterns.funnel import GatePlan
    from ..training.lock import locked
    from ..training.settings import from_mapping, with_changes
    from .patterns_build import build_patterns as gates
    from .patterns_describe import describe
    from .patterns_page import browse

    plan = from_mapping(GatePlan, with_changes({}, changes), "the plan of the gates")
    folder, made, stored = Path(out), Path(out) / UNFINISHED, Path(activations)
    with disk_errors(folder), locked(folder):
        gates(ensemble, stored, classifier, made, plan=plan, kept=folder, report=report)
        bank = describe(made, stored, classifier, images=images, kept=folder, report=report).bank
        bank = _named_again(folder, made, bank, report)
        browse(made, made / PAGE, classifier, report=report)
        _put_in_place(made, folder)
    return bank


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


def _named_again(folder: Path, made: Path, bank: PatternBank, report: Report) -> PatternBank:
    """The bank in ``made`` with the names that were adopted for the one in ``folder``, where its patterns are those."""
    from .patterns_name import adopt, adopted

    model, of, names = adopted(folder)
    if not names:
        return bank
    if of == bank.sha256:
        return adopt(made, bank, names, model)
    gone = f"the patterns have changed, so {len(names)} adopted names are no longer theirs"
    report(0, 0, f"{gone}: run `whyray patterns name` again")
    return bank


def _put_in_place(made: Path, folder: Path) -> None:
    """Move a bank over the one in ``folder``: its tensors first, what declares them last. Killed between the two, it
    leaves a bank that is refused, and the next build mends it."""
    from ..io.artefacts import NAME
    from .patterns_build import FUNNEL
    from .patterns_describe import GALLERIES

    tensors = Path(NAME).with_suffix(".safetensors")
    (folder / GALLERIES).mkdir(exist_ok=True)
    for part in (tensors, GALLERIES / tensors, Path(GALLERIES, NAME), FUNNEL, PAGE, NAME):
        (made / part).replace(folder / part)
    shutil.rmtree(made)


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
