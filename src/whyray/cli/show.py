"""What the command line prints: tables and JSON to stdout, progress and failures to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..api import Batch
    from ..datasets._check import DataReport
    from ..types import Prediction, Score

Report = Callable[[int, int, str], None]


def process_settings(threads: int | None) -> None:
    """Process-wide settings, which only the command line may choose: malloc thresholds and thread count."""
    from ..engine.passes import use_large_malloc

    use_large_malloc()
    if threads:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Report]:
    """A function ``(done, total, item)``: a bar on a terminal, a plain line every five seconds elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield _plain(what) if not quiet else _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[item]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, item="")

        def report(done: int, total: int, item: str) -> None:
            bar.update(task, completed=done, total=total, item=item)

        yield report


def batch(result: Batch, as_json: bool, every_finding: bool = False) -> None:
    """The outcome of ``explain`` or ``predict``: a table an image, then what failed."""
    if as_json:
        document(result.records)
    else:
        for line in result.lines(every_finding):
            print(line)
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for failure in result.failures:
        print(f"error: {failure}", file=sys.stderr)
    if result.failures and result.total > 1:
        print(f"{len(result.failures)} of {result.total} inputs failed", file=sys.stderr)


def listing(rows: Mapping[str, str], as_json: bool) -> None:
    """Names and what they are."""
    if as_json:
        document([{"name": name, "summary": text} for name, text in rows.items()])
        return
    width = max((len(name) for name in rows), default=0)
    for name, text in rows.items():
        print(f"{name:<{width}}  {text}")


def scores(rows: Sequence[Score], as_json: bool) -> None:
    """A table of metrics, each with its interval and n."""
    if as_json:
        document([{k: v for k, v in asdict(row).items() if v is not None} for row in rows])
        return
    print(f"{'finding':<28}{'metric':<26}{'value':>8}   {'95 % interval':<18}{'n':>6}")
    for row in rows:
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        print(
            f"{row.finding:<28}{row.metric:<26}{row.value:>8.3f}   {interval:<18}{row.n:>6}  {row.note or ''}".rstrip()
        )


def data_report(report: DataReport, as_json: bool) -> None:
    """Counts and problems of a data set."""
    if as_json:
        document(asdict(report))
        return
    for line in report.lines():
        print(line)


def document(value: Any) -> None:
    """One JSON document on stdout; numbers that are not finite become null."""
    print(json.dumps(_finite(value), indent=1, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def _silent(done: int, total: int, item: str) -> None:
    """No progress: the caller asked for JSON."""


def _plain(what: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int, item: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 5:
            last = time.monotonic()
            print(f"{what}: {done} of {total} {item}", file=sys.stderr)

    return report


def prediction_lines(predictions: Sequence[Prediction]) -> list[str]:
    """One line a finding: what the network said, and against which operating point."""
    from ..findings import facts

    lines = [f"  {'finding':<28}{'probability':>12}{'operating point':>17}{'logit':>9}"]
    for p in predictions:
        threshold = "-" if p.threshold is None else f"{p.threshold:.2f}"
        mark = " *" if p.positive and p.threshold is not None else ""
        lines.append(f"  {facts(p.finding).name:<28}{p.probability:>12.3f}{threshold:>17}{p.logit:>9.2f}{mark}")
    if not all(p.calibrated for p in predictions):
        lines.append("  Probabilities are not calibrated: read them as scores.")
    return lines


def colour_wanted() -> bool:
    """A terminal, and nobody said NO_COLOR."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def findings_of_doctor(facts: Sequence[Any], as_json: bool) -> None:
    """The table of ``whyray doctor``."""
    if as_json:
        document([asdict(f) for f in facts])
        return
    width = max(len(f.name) for f in facts)
    for fact in facts:
        remedy = f"  -> {fact.remedy}" if fact.remedy else ""
        print(f"{fact.state:<8}{fact.name:<{width}}  {fact.found}{remedy}")
