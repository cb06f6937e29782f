"""Files in, folders out: a batch in which one bad file never costs the others."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..contracts import Classifier
from ..errors import InputError, WhyrayError, listed
from ..io.bundles import MANIFEST, read_manifest
from ..io.inputs import expand, passed_over
from ..io.load import load_image
from ..io.records import to_json
from ..io.whole import disk_errors, in_turn, write_whole
from ..report.animation import check_kind
from ..report.index import index_html
from ..types import Radiograph, Report, Voi
from .explain import Explained, Plan, explain_radiographs, predict_radiograph, unable


def silent(done: int, total: int, item: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Batch:
    """The outcome of a batch.

    records   one a picture that worked: what ``explanation.json`` holds.
    folders   where each was written (``explain`` only), in the same order.
    failures  one sentence a picture that did not.
    """

    records: tuple[Mapping[str, Any], ...] = ()
    folders: tuple[Path, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Pictures that were asked for."""
        return len(self.records) + len(self.failures)

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 2 all failed."""
        if not self.failures:
            return 0
        return 1 if self.records else 2


def explain_files(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    classifier: Classifier,
    plan: Plan | None = None,
    voi: Voi = "file",
    anonymous: bool = False,
    animation: str = "webp",
    options: Mapping[str, str | None] = MappingProxyType({}),
    report: Report = silent,
) -> Batch:
    """Explain every radiograph that ``sources`` name (files, folders, globs, lists) into one folder each below ``out``.

    Several get an ``index.html`` beside their folders, those of other batches into ``out`` included, which may run at
    the same time; its failures are those of the batch that ended last. A file that is refused
    becomes one sentence in ``failures``; settings and names are checked before the first file. ``options`` ("layer",
    "weights" ...) says how the classifier was loaded, for the recorded command alone; ``animation``: see
    ``Explained.save``. Raises SettingError, UnknownName, UnmetNeed (none of the explainers can work with the
    classifier), InputError (no source found), DiskFullError.
    """
    plan = plan or Plan()
    asked, _ = plan.check(classifier)
    unable(asked, classifier, asked)
    check_kind(animation)
    out = Path(out)
    fresh = not out.exists()
    with disk_errors(out):  # before the work, not after it
        out.mkdir(parents=True, exist_ok=True)
    records, folders, failures = [], [], []
    options = {**options, "voi": None if voi == "file" else voi_text(voi)}

    def work(radiograph: Radiograph, path: Path) -> Explained:
        (made,) = explain_radiographs(classifier, [radiograph], plan)
        return replace(made, run=replace(made.run, command=command(path, classifier, plan, options)))

    try:
        for outcome in _each(sources, voi, report, work):
            if isinstance(outcome, str):
                failures.append(outcome)
                continue
            folder = outcome.save(out, anonymous=anonymous, animation=animation)
            folders.append(folder)
            records.append(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    finally:  # also when it is stopped: what was finished is listed
        told = [f"one input was refused{f[f.find(': ') :]}" for f in failures] if anonymous else failures
        write_index(out, told)
    if fresh and not folders:
        with contextlib.suppress(OSError):  # another batch has written there meanwhile
            out.rmdir()
    return Batch(tuple(records), tuple(folders), tuple(failures))


def predict_files(
    sources: Sequence[str | Path], *, classifier: Classifier, voi: Voi = "file", report: Report = silent
) -> Batch:
    """Predictions of every radiograph that ``sources`` name: records as of ``explain_files``, without explanations."""
    records, failures = [], []
    for outcome in _each(sources, voi, report, lambda r, _: predict_radiograph(classifier, r)):
        if isinstance(outcome, str):
            failures.append(outcome)
        else:
            records.append(to_json(outcome.record()))
    return Batch(tuple(records), (), tuple(failures))


def command(path: Path, classifier: Classifier, plan: Plan, options: Mapping[str, str | None]) -> str:
    """The command line of this run for this file, by names alone: of a path only its last part is kept."""
    name = path.name.encode("utf-8", "replace").decode()
    words = ["whyray", "explain", f"./{name}" if name.startswith("-") else name, "-m", classifier.name]
    words += [w for f in plan.findings for w in ("-f", f)] + [w for x in plan.explainers for w in ("-x", x)]
    words += ["--audience", plan.audience] if plan.audience else []
    words += ["--seed", str(plan.seed)] + ([] if plan.budget is None else ["--budget", f"{plan.budget:g}"])
    words += [w for key, value in options.items() if value for w in (f"--{key}", value)]
    return shlex.join([*words, "-o", "out"])


def write_index(out: Path, failures: Sequence[str]) -> None:
    """``index.html`` of all explained radiographs in ``out``, if there are several; other folders are passed over."""
    if not out.is_dir():  # nothing was explained, and another batch took the empty folder away
        return
    with disk_errors(out), in_turn(out):
        found = {}
        for manifest in sorted(out.glob(f"[!.]*/{MANIFEST}")):
            with contextlib.suppress(InputError):
                found[manifest.parent] = to_json(read_manifest(manifest.parent))
        if len(found) > 1:
            write_whole(out / "index.html", index_html(list(found.values()), list(found), failures).encode())


def voi_text(voi: Voi) -> str:
    """As on the command line."""
    return voi if isinstance(voi, str) else f"{voi[0]:g}/{voi[1]:g}"


def _each(
    sources: Sequence[str | Path], voi: Voi, report: Report, work: Callable[[Radiograph, Path], Explained]
) -> Iterator[Explained | str]:
    """What ``work`` makes of each picture, or the sentence that says why it failed."""
    names = [str(s) for s in sources]
    paths = expand(names)
    if left := passed_over(names):
        kinds = listed([f"{count} {kind}" for kind, count in left.items()])
        report(0, 0, f"left out, as no picture of a kind that is known: {sum(left.values())} files ({kinds})")
    for i, path in enumerate(paths):
        report(i, len(paths), path.name)
        try:
            yield work(load_image(path, voi=voi), path)
        except WhyrayError as error:
            if error.exit_code != 2:  # a full disk: no use to go on
                raise
            yield str(error)
    report(len(paths), len(paths), "")
