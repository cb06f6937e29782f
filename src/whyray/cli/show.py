"""What the command line prints: tables and JSON to stdout, progress and failures to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..text.numbers import apart

if TYPE_CHECKING:
    from pathlib import Path

    from ..api import Batch
    from ..datasets._check import DataReport
    from ..datasets.mimic_nle import Extraction
    from ..jobs.counterfactual import Counterfactuals
    from ..jobs.experiment import Experimented
    from ..jobs.faithfulness import Faithfulness
    from ..jobs.language import Language
    from ..jobs.localisation import Localisation
    from ..jobs.nle import Extracted
    from ..jobs.patterns_name import Named
    from ..jobs.study import Study
    from ..jobs.study_forms import Exported, Imported
    from ..jobs.weak_language import WeakLanguage
    from ..metrics.significance import Difference
    from ..report.evaluation import Table
    from ..types import Report, Score


def process_settings(threads: int | None) -> None:
    """Process-wide settings, which only the command line may choose: malloc thresholds and thread count.

    By default as many threads as cores are free: beside another busy process two threads that wait for each other at
    every layer are several times slower than one. The count is in the provenance.
    """
    import torch

    from ..engine.passes import use_large_malloc

    use_large_malloc()
    torch.set_num_threads(threads or min(torch.get_num_threads(), free_cores()))


def free_cores() -> int:
    """Cores of this process that the load of the last minute leaves, one at least."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, round(cores - load))


@contextlib.contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Report]:
    """A function ``(done, total, item)``: a bar on a terminal, a plain line every five seconds elsewhere.

    0 of 0 counts nothing: it is a sentence that is printed, as it comes.
    """
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
            if done == total == 0:
                bar.console.print(printable(item), markup=False, highlight=False)
                return
            bar.update(task, completed=done, total=total, item=item)

        yield report


def batch(result: Batch, as_json: bool, every_finding: bool = False) -> None:
    """The outcome of ``explain`` or ``predict``: a table an image, then what failed."""
    if as_json:
        document(result.records)
    else:
        for i, record in enumerate(result.records):
            print("\n".join(record_lines(record, every_finding)))
            if result.folders:
                print(f"  {result.folders[i] / 'report.html'}")
    for failure in result.failures:
        print(f"error: {failure}", file=sys.stderr)
    if result.failures and result.total > 1:
        print(f"{len(result.failures)} of {result.total} inputs failed", file=sys.stderr)


def record_lines(record: Mapping[str, Any], every_finding: bool) -> list[str]:
    """A picture's warnings and its findings: all of them, or those that were explained, each with what it rests on."""
    lines = [f"{record['image']['name']}  ({record['model']['name']})"]
    lines += [f"  ! {warning}" for warning in record["warnings"]]
    lines.append(f"  {'finding':<28}{'probability':>12}{'operating point':>17}{'logit':>9}")
    for row in record["findings"]:
        if not every_finding and not row["explanations"]:
            continue
        probability, threshold = f"{row['probability']:.3f}", "-"
        if row["threshold"] is not None:
            probability, threshold = apart(row["probability"], row["threshold"], 3)
        mark = " positive" if row["positive"] and row["threshold"] is not None else ""
        lines.append(f"  {row['name']:<28}{probability:>12}{threshold:>17}{row['logit']:>9.2f}{mark}")
        lines += [line for e in row["explanations"] for line in explanation_lines(e)]
    if not all(row["calibrated"] for row in record["findings"]):
        lines.append("  Probabilities are not calibrated: read them as scores.")
    return lines


def explanation_lines(explanation: Mapping[str, Any]) -> list[str]:
    """Where the evidence lies, or why there is none; of a statement its text and caveats, wrapped, and its evidence."""
    name, text = explanation["explainer"], explanation["content"].get("text")
    if explanation["skipped"] or not text:
        return [f"    {name}: {explanation['skipped'] or explanation['summary'] or explanation['kind']}"]
    lines = textwrap.wrap(f"{name}: {text}", 110, initial_indent=" " * 4, subsequent_indent=" " * 6)
    for note in explanation["notes"]:
        lines += textwrap.wrap(f"! {note}", 110, initial_indent=" " * 6, subsequent_indent=" " * 8)
    return [*lines, f"      rests on {', '.join(explanation['content']['evidence'])}"]


def listing(rows: Mapping[str, str], as_json: bool) -> None:
    """Names and what they are."""
    if as_json:
        document([{"name": name, "summary": text} for name, text in rows.items()])
        return
    width = max((len(name) for name in rows), default=0)
    for name, text in rows.items():
        print(f"{name:<{width}}  {text}")


def scores(rows: Sequence[Score], as_json: bool) -> None:
    """A table of metrics, each with its interval, n, what was measured and on which slice."""
    if as_json:
        document(_rows(rows))
        return
    print(f"{'finding':<28}{'metric':<26}{'value':>8}   {'95 % interval':<18}{'n':>6}")
    for row in rows:
        interval = f"[{row.low:.3f}, {row.high:.3f}]"
        about = ", ".join(filter(None, (row.explainer, row.slice, row.note)))
        print(f"{row.finding:<28}{row.metric:<26}{row.value:>8.3f}   {interval:<18}{row.n:>6}  {about}".rstrip())


def localisation(result: Localisation, out: Path, as_json: bool) -> None:
    """A table a finding: methods with both IoU, hits and mass, each with interval and n; then what holds."""
    from ..jobs._localisation_page import about, methods_table

    if as_json:
        document([*_rows(result.tables.scores), *_differences(result.tables.differences)])
    else:
        print("\n".join(f"{name}: {text}" for name, text in about(result).items()))
        whole = ["mean"] if len(result.tables.findings) > 1 else []
        for finding in (*result.tables.findings, *whole):
            _table(methods_table(result, finding))
        _held(result.tables.differences)
    _ended(result.skipped, result.failures, out)


def counterfactual(result: Counterfactuals, out: Path, as_json: bool) -> None:
    """Targets a finding, every measure, where the maps lie, company, noise and blur; then what holds."""
    from ..jobs import _counterfactual_page as pages
    from ..jobs._changes import MEASURES

    if as_json:
        document([*_rows(result.tables.rows()), *_differences(result.tables.differences)])
    else:
        print("\n".join(f"{name}: {text}" for name, text in pages.about(result).items()))
        tables = [*pages.targets_tables(result), pages.measures_table(result, tuple(MEASURES))]
        if result.facts["pairs_with_region"]:
            tables.append(pages.places_table(result))
        for table in (*tables, pages.company_table(result), *pages.robust_tables(result)):
            _table(table)
        _held(result.tables.differences)
    _ended(result.skipped, result.failures, out)


def faithfulness(result: Faithfulness, out: Path, as_json: bool) -> None:
    """A line a metric, a column a method, each with interval and n; then what holds."""
    from ..jobs._faithfulness_page import table

    if as_json:
        document([*_rows(result.scores), *_differences(result.differences)])
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.facts.items()))
        _table(table(result))
        _held(result.differences)
    _ended(result.skipped, result.failures, out)


def _held(differences: Mapping[str, Sequence[Difference]]) -> None:
    """Of each metric, the comparisons that survive Holm's correction."""
    from ..jobs._localisation_page import comparison_table

    for metric, found in differences.items():
        held = comparison_table(metric, [d for d in found if d.adjusted < 0.05])
        print(f"\n{held.caption}: {len(held.rows)} of {len(found)} differences survive Holm's correction at 0.05")
        print("\n".join(f"  {row[0]}: {row[1]}, p {row[3]}" for row in held.rows))


def _table(table: Table) -> None:
    """Plain columns, as wide as their widest cell."""
    rows = [list(table.head), *map(list, table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{table.caption}" if table.caption else "")
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _ended(skipped: Mapping[str, str], failures: Sequence[str], out: Path) -> None:
    """On stderr: what was skipped, what failed, where the report lies."""
    for label, reason in skipped.items():
        print(f"skipped: {label}: {reason}", file=sys.stderr)
    failed(failures)
    print(out / "report.html", file=sys.stderr)


def failed(failures: Sequence[str]) -> None:
    """On stderr, a line each: what could not be read or made, while the rest was."""
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)


def _rows(rows: Sequence[Score]) -> list[dict[str, Any]]:
    return [{k: v for k, v in asdict(row).items() if v is not None} for row in rows]


def _differences(found: Mapping[str, Sequence[Difference]]) -> list[dict[str, Any]]:
    """Comparisons as rows: explainer less baseline, on the mean over findings."""
    return [
        {
            "finding": "mean",
            "metric": f"{metric}_difference",
            "value": d.difference,
            "low": d.low,
            "high": d.high,
            "n": d.n,
            "explainer": d.first,
            "baseline": d.second,
            "p": d.p,
            "p_holm": d.adjusted,
        }
        for metric, every in found.items()
        for d in every
    ]


def data_report(report: DataReport | Study | Extraction | Exported | Imported | Named, as_json: bool) -> None:
    """What has lines for people and fields for machines: the check of a data set, the analysis of a reader study."""
    if as_json:
        document(asdict(report))
        return
    for line in report.lines():
        print(line)


def extraction(made: Extracted, rows: Sequence[Score], out: Path, as_json: bool) -> None:
    """What a corpus gave, its score where one was asked for; failures to stderr."""
    if as_json:
        document({**asdict(made), "score": _rows(rows)})
    else:
        print("\n".join(made.lines()))
        if rows:
            scores(rows, as_json)
    if made.problems:
        print(f"{made.failed} reports failed; every problem: {out}.problems.jsonl", file=sys.stderr)


def language(result: Language, as_json: bool) -> None:
    """A table a slice, a column a writer; then differences that hold, signatures, and what was skipped."""
    from ..jobs._language_table import tables

    if as_json:
        document(result.rows())
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.facts.items()))
        for table in tables(result):
            _table(table)
        print("\nsignatures")
        print("\n".join(f"  {name}: {signature}" for name, signature in result.signatures.items()))
    for name, why in result.skipped.items():
        print(f"skipped: {name}: {why}", file=sys.stderr)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)


def experiment(result: Experimented, out: Path, as_json: bool) -> None:
    """The tables of each question; what failed to stderr."""
    from ..jobs._experiment_page import section

    if as_json:
        document(result.rows())
    else:
        for answer in result.answers:
            made = section(answer)
            print(f"\n{made.title}")
            for table in made.tables:
                _table(table)
    _ended({}, result.failures, out)


def weak_language(result: WeakLanguage, out: Path, as_json: bool) -> None:
    """What must hold and whether it does, then a table a slice: a line a metric, a column a writer or control."""
    from ..jobs._weak_page import checks_table, tables_of

    if as_json:
        document(result.rows())
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.facts.items()))
        for table in (checks_table(result), *(table for _, table in tables_of(result))):
            _table(table)
    _ended(result.skipped, result.failures, out)


def document(value: Any) -> None:
    """One JSON document on stdout; numbers that are not finite become null."""
    print(json.dumps(_finite(value), indent=1, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    if hasattr(value, "item"):  # a number of numpy
        value = value.item()
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def _silent(done: int, total: int, item: str) -> None:
    """No progress, as the caller asked for JSON; only what is no count, on stderr."""
    if done == total == 0:
        print(printable(item), file=sys.stderr)


def _plain(what: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int, item: str) -> None:
        nonlocal last
        if done == total == 0:
            print(f"{what}: {printable(item)}", file=sys.stderr)
        elif time.monotonic() - last >= 5:
            last = time.monotonic()
            print(f"{what}: {done} of {total} {printable(item)}", file=sys.stderr)

    return report


def findings_of_doctor(facts: Sequence[Any], as_json: bool) -> None:
    """The table of ``whyray doctor``."""
    if as_json:
        document([asdict(f) for f in facts])
        return
    width = max(len(f.name) for f in facts)
    for fact in facts:
        remedy = f"  -> {fact.remedy}" if fact.remedy else ""
        print(f"{fact.state:<8}{fact.name:<{width}}  {fact.found}{remedy}")
