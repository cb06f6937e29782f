"""One explained picture <-> one folder: raw maps, pictures and ``explanation.json``, which is written last.

A folder is written beside its place and renamed, so it is either whole or not there; nothing in it is pickled.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
from ..types import Provenance
from .records import (
    ExplanationRecord,
    FindingRecord,
    Record,
    Results,
    file_name,
    folder_stem,
    from_json,
    safe_name,
    split,
    to_json,
)
from .whole import disk_errors

MANIFEST = "explanation.json"
LONGEST = 200  # characters; what `file_name` gives is shorter
KINDS: dict[str, type[Explanation]] = {c.kind: c for c in (Attribution, Counterfactual, PatternSum, Statement)}


@dataclass(frozen=True)
class Bundle:
    """What a folder holds: the record, and finding -> explainer -> explanation, or why it was skipped."""

    record: Record
    results: Results = field(repr=False)


def folder_name(record: Record) -> str:
    """``<stem>-<hash8>``; the hash alone for an anonymous record."""
    short = record.image.sha256[:8]
    return short if record.image.name == short else f"{folder_stem(record.image.name)}-{short}"


def write_bundle(directory: Path, record: Record, results: Results, pictures: Mapping[str, bytes]) -> Path:
    """Write one folder below ``directory`` and return it; an earlier folder of the same picture is replaced.

    Several runs may write below one directory, also the same picture: the last one stays.

    pictures  file name -> PNG bytes; ``<finding>-<explainer>.png`` is recorded as that explanation's overlay.
    Raises DiskFullError when the disk is full; whatever goes wrong, an earlier folder stays as it was.
    """
    target = directory / folder_name(record)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        temporary = _beside(target)
        try:
            files = dict(_arrays(results)) | {safe_name(name, LONGEST): data for name, data in pictures.items()}
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
            whole = dataclasses.replace(_with_overlays(record, files), files=hashes)
            _write_last(temporary / MANIFEST, json.dumps(to_json(whole), indent=2, ensure_ascii=False, allow_nan=False))
            _put(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)  # after an exchange: the earlier folder
    return target


def load_bundle(folder: Path) -> Bundle:
    """Read a folder back: the same explanations, bit for bit.

    In a folder of an earlier version two explanations may name one file: the arrays are those of the later one, and the
    earlier one reads as skipped. Raises InputError where it has no manifest, where the manifest is not ours, or where a
    file is missing or changed.
    """
    folder = Path(folder)
    record = read_manifest(folder)
    owners = {e.file: (f.finding, e.explainer) for f in record.findings for e in f.explanations}
    files = {name: _checked(folder, name, sha) for name, sha in record.files.items()}
    results = {
        f.finding: {
            e.explainer: _explanation(folder, f, e, files)
            if e.file is None or owners[e.file] == (f.finding, e.explainer)
            else f"the arrays of {owners[e.file][1]} were written over its own; explain the picture again"
            for e in f.explanations
        }
        for f in record.findings
        if f.explanations
    }
    return Bundle(record, results)


def _arrays(results: Results) -> Iterator[tuple[str, bytes]]:
    for finding, made in results.items():
        for label, explanation in made.items():
            arrays = {} if isinstance(explanation, str) else split(explanation)[0]
            if arrays:
                out = io.BytesIO()
                np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
                yield file_name(finding, label, ".npz"), out.getvalue()


def _with_overlays(record: Record, files: Mapping[str, bytes]) -> Record:
    """Each explanation knows its picture, where one was written."""

    def one(finding: FindingRecord, e: ExplanationRecord) -> ExplanationRecord:
        name = file_name(finding.finding, e.explainer, ".png")
        return dataclasses.replace(e, overlay=name) if name in files else e

    return dataclasses.replace(
        record,
        findings=tuple(
            dataclasses.replace(f, explanations=tuple(one(f, e) for e in f.explanations)) for f in record.findings
        ),
    )


def _write_last(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _put(temporary: Path, target: Path) -> None:
    """Rename into place; where a folder is there already, swap the two in one step."""
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        if not _exchange(temporary, target):
            _replace(temporary, target)


def _replace(temporary: Path, target: Path) -> None:
    """The earlier folder aside, the new one in its place; back again where that fails."""
    aside = _beside(target) / "old"
    target.rename(aside)
    try:
        temporary.rename(target)
    except OSError:
        aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Linux's renameat2 with RENAME_EXCHANGE; False where system or file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(a), here, os.fsencode(b), swap) == 0


def _beside(target: Path) -> Path:
    """A new, hidden, empty folder beside the target."""
    folder = target.parent / f".{target.name}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder


def read_manifest(folder: Path) -> Record:
    """The record of a folder. Raises InputError where it has none of ours."""
    try:
        return from_json(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(folder, f"it holds no {MANIFEST}", "give a folder that whyray explain wrote") from None
    except (OSError, ValueError):  # pydantic's ValidationError is a ValueError
        raise InputError(folder, f"its {MANIFEST} is not one whyray wrote", "explain the picture again") from None


def _checked(folder: Path, name: str, sha256: str) -> bytes:
    if Path(name).name != name:
        raise InputError(folder, "its manifest names a file outside the folder", "do not trust this folder")
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise InputError(folder, f"the file {safe_name(name)} is missing", "explain the picture again") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(folder, f"the file {safe_name(name)} was changed", "explain the picture again")
    return data


def _explanation(
    folder: Path, finding: FindingRecord, entry: ExplanationRecord, files: Mapping[str, bytes]
) -> Explanation | str:
    if entry.skipped is not None:
        return entry.skipped
    try:
        arrays: dict[str, Any] = {}
        if entry.file is not None:
            with np.load(io.BytesIO(files[entry.file]), allow_pickle=False) as data:
                arrays = {k: data[k] for k in data.files}
        if "source_shape" in arrays:
            arrays["source_shape"] = tuple(int(v) for v in arrays["source_shape"])
        content = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.content.items()}
        return KINDS[entry.kind](
            finding=finding.finding,
            provenance=Provenance(**entry.provenance),
            notes=entry.notes,
            checks={k: float("nan") if v is None else v for k, v in entry.checks.items()},
            **arrays,
            **content,
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(folder, f"{safe_name(entry.explainer)} cannot be read", "explain the picture again") from None
