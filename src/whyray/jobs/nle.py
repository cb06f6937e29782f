"""Extract explanations from a corpus of reports, in constant memory: interrupt it and run it again, and it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from ..errors import DataError, Stopped
from ..findings import facts
from ..io.whole import disk_errors, write_whole
from ..text.labeller import mentions, states
from ..text.nle import LABELS, Explanation, explain
from ..training.lock import locked
from ..types import Report
from ._nle_sources import FAILED, Document, Source, source_of
from .files import silent

VERSION = 1  # raise it when the same rules and reports give other lines
EVERY = 2000  # documents between two checkpoints
ROWS = {"positive": (0, 0, 1), "uncertain": (0, 1, 0), "negative": (1, 0, 0), "absent": (1, 0, 0)}
STREAMS = ("lines", "problems", "refused")


@dataclass(frozen=True)
class Extracted:
    """What a corpus gave.

    reports, sentences, size  how many were read; bytes of their text.
    explanations              lines written; ``by_diagnosis`` and ``by_evidence`` count labels ("none" = outside them).
    refused                   why a sentence with a live finding is no explanation -> how many.
    problems                  kind -> how many: "no report" and "wrong encoding" cost a report, the others are remarks.
    """

    reports: int = 0
    sentences: int = 0
    size: int = 0
    explanations: int = 0
    by_diagnosis: Mapping[str, int] = field(default_factory=dict)
    by_evidence: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    problems: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Reports that could not be read."""
        return sum(self.problems.get(kind, 0) for kind in FAILED)

    @property
    def exit_code(self) -> int:
        """0 all read, 1 some not, 2 none."""
        return 0 if not self.failed else 1 if self.reports > self.failed else 2

    def lines(self) -> Iterator[str]:
        """For people."""
        read = self.reports - self.failed
        yield f"{self.explanations} explanations in {self.sentences} sentences of {read} reports ({self.size} bytes)"
        yield from (f"  {name}: {n}" for name, n in self.by_diagnosis.items())
        yield "evidence: " + ", ".join(f"{name} {n}" for name, n in self.by_evidence.items())
        yield from (f"refused, {why}: {n}" for why, n in self.refused.items())
        yield from (f"problem, {kind}: {n}" for kind, n in self.problems.items())


def extract_explanations(
    source: str | Path,
    out: str | Path,
    *,
    refused: bool = False,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Extracted:
    """Write one JSON line an explanation, in MIMIC-NLE's schema with the trace of the rules, to the file ``out``.

    source   a MIMIC-CXR report tree, or a reports.csv (or the folder that holds one).
    refused  also write ``OUT.refused.jsonl``: sentences with a live finding that explain nothing, and why.
    Beside ``out``: ``OUT.problems.jsonl`` (every problem with its report) and ``OUT.summary.json``. Until it is done,
    all lies in ``OUT.work``; the same call goes on from there. Raises DataError, LockedError, DiskFullError, Stopped.
    """
    corpus, target = source_of(source), Path(out)
    work = target.with_name(target.name + ".work")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(work):
            writer = _Writer(work, _identity(corpus, refused))
            made = writer.run(corpus, refused, report, cancelled)
            return _finish(work, target, made, refused)


class _Writer:
    """Appends to the streams of a work folder; what lies behind the last checkpoint is cut off when it opens."""

    def __init__(self, work: Path, identity: str) -> None:
        self.work, self.identity = work, identity
        self.counts: dict[str, Counter[str]] = {k: Counter() for k in ("total", "diagnosis", "evidence", "refused")}
        self.counts["problems"] = Counter()
        self.place = ""
        lengths = self._resumed()
        for name in STREAMS:
            path = work / f"{name}.jsonl"
            path.touch()
            os.truncate(path, lengths.get(name, 0))

    def run(self, corpus: Source, refused: bool, report: Report, cancelled: Callable[[], bool]) -> Extracted:
        """Everything from the checkpoint on."""
        with contextlib.ExitStack() as stack:
            streams = {n: stack.enter_context(open(self.work / f"{n}.jsonl", "ab")) for n in STREAMS}
            began = time.monotonic()
            for number, document in enumerate(corpus.documents(self.place), 1):
                self._take(document, streams, refused)
                if number % EVERY == 0 or time.monotonic() - began > 5:
                    self._checkpoint(streams)
                    began = time.monotonic()
                    report(self.counts["total"]["reports"], 0, document.place)
                if cancelled():
                    self._checkpoint(streams)
                    raise Stopped("stopped; what was read is kept, run again to go on")
            self._checkpoint(streams)
        return _extracted(self.counts)

    def _take(self, document: Document, streams: Mapping[str, IO[bytes]], refused: bool) -> None:
        counts = self.counts
        counts["total"].update(reports=1, sentences=len(document.sentences), size=document.size)
        for problem in document.problems:
            counts["problems"][problem.partition(":")[0]] += 1
            _write(streams["problems"], {"report": document.report, "place": document.place, "problem": problem})
        read = [(key, text, _explained(text)) for key, text in document.sentences]
        image = _image_labels(document) if any(e.explains for *_, e in read) else ()
        for key, text, found in read:
            if found.explains:
                counts["total"]["explanations"] += 1
                counts["diagnosis"].update(found.diagnoses)
                counts["evidence"].update(found.evidence or ("none",))
                _write(streams["lines"], _line(key, found, image, document))
            elif (why := reason(found)) is not None:
                counts["refused"][why] += 1
                if refused:
                    _write(streams["refused"], {"sentence_ID": key, "nle": text, "trace": list(found.trace)})
        self.place = document.place

    def _checkpoint(self, streams: Mapping[str, IO[bytes]]) -> None:
        for stream in streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        lengths = {name: stream.tell() for name, stream in streams.items()}
        facts_ = {"identity": self.identity, "place": self.place, "lengths": lengths, "counts": self.counts}
        write_whole(self.work / "progress.json", json.dumps(facts_).encode())

    def _resumed(self) -> dict[str, int]:
        """Lengths of the streams at the last checkpoint of the same corpus and rules; else nothing."""
        try:
            kept = json.loads((self.work / "progress.json").read_bytes())
            lengths = {name: int(kept["lengths"][name]) for name in STREAMS}
            whole = all((self.work / f"{n}.jsonl").stat().st_size >= size for n, size in lengths.items())
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if kept.get("identity") != self.identity or not whole:
            return {}
        self.place = str(kept["place"])
        self.counts = {name: Counter(values) for name, values in kept["counts"].items()}
        return lengths


_explained = lru_cache(maxsize=32768)(explain)  # reports repeat themselves


def reason(found: Explanation) -> str | None:
    """Why a sentence is no explanation, without its words; None where it has no live finding at all."""
    last = found.trace[-1]
    if last.startswith("no finding"):
        return None
    head, _, rest = last.partition(": ")
    if head == "excluded":
        return f"{head}: {rest.partition(':')[0]}"
    return rest or last


def _line(key: str, found: Explanation, image: tuple[tuple[int, ...], ...], document: Document) -> dict[str, Any]:
    """The keys of the published files in their order, then the trace."""
    return {
        "sentence_ID": key,
        "diagnosis_label": found.diagnosis_label,
        "evidence_label": found.evidence_label,
        "img_labels": image,
        "nle": found.sentence,
        "report_ID": document.report,
        "patient_ID": document.patient,
        "trace": found.trace,
    }


def _image_labels(document: Document) -> tuple[tuple[int, ...], ...]:
    """[10][3] negative, uncertain, positive of the whole report."""
    said = states((m for _, text in document.sentences for m in mentions(text)), LABELS)
    return tuple(ROWS[said[label]] for label in LABELS)


def _write(stream: IO[bytes], line: Mapping[str, Any]) -> None:
    stream.write((json.dumps(line) + "\n").encode())


def _extracted(counts: Mapping[str, Counter[str]]) -> Extracted:
    diagnoses = {facts(label).name: counts["diagnosis"][label] for label in LABELS if counts["diagnosis"][label]}
    evidence = {facts(k).name if k != "none" else k: n for k, n in counts["evidence"].most_common()}
    refused, problems = (dict(counts[name].most_common()) for name in ("refused", "problems"))
    total = counts["total"]
    return Extracted(
        reports=total["reports"],
        sentences=total["sentences"],
        size=total["size"],
        explanations=total["explanations"],
        by_diagnosis=diagnoses,
        by_evidence=evidence,
        refused=refused,
        problems=problems,
    )


def _finish(work: Path, target: Path, made: Extracted, refused: bool) -> Extracted:
    """Everything in its place, the lines last; the work folder goes."""
    if not made.reports:
        raise DataError("the source holds no report; give a MIMIC-CXR report tree or a reports.csv with rows")
    summary = json.dumps(asdict(made), indent=1) + "\n"
    write_whole(target.with_name(target.name + ".summary.json"), summary.encode())
    os.replace(work / "problems.jsonl", target.with_name(target.name + ".problems.jsonl"))
    if refused:
        os.replace(work / "refused.jsonl", target.with_name(target.name + ".refused.jsonl"))
    os.replace(work / "lines.jsonl", target)
    shutil.rmtree(work)
    return made


def _identity(corpus: Source, refused: bool) -> str:
    """What the lines depend on: the source, this code's version, and every rule."""
    digest = hashlib.sha256(f"{corpus.name}\0{VERSION}\0{refused}".encode())
    for path in sorted((p for p in files("whyray.text").iterdir() if p.name.endswith(".tsv")), key=lambda p: p.name):
        digest.update(path.read_bytes())
    return digest.hexdigest()
