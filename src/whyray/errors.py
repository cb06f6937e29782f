"""Every error whyray raises on purpose. Each says what came, what was wanted and what to do.

WhyrayError
├── InputError        a radiograph, folder or array that cannot be explained
├── UnknownName       a finding, explainer, model, data set or metric nobody knows
├── SettingError      a setting or option that does not exist, or a value out of range
├── UnmetNeed         this explainer cannot work with this classifier (reported as a skip)
├── MissingExtra      an optional package is not installed
├── WeightsError      a weights file that is refused
├── FingerprintError  an artefact that belongs to another classifier
├── DataError         a data set that is not laid out as its format says
├── AnnotatorError    a model asked over the network gave no usable answer, or its budget is spent
├── LockedError       another run holds the folder
└── DiskFullError     no room left to write

Stopped               cancelled by the user or the time budget; no WhyrayError, as going on with the next is no answer
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence


class WhyrayError(Exception):
    """Base of every error whyray raises on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 2


class InputError(WhyrayError):
    """One input that is refused: ``source`` (its file name), ``reason`` and ``remedy``, in one sentence.

    The sentence never holds a tag value or a parser's own message: either may identify a patient.
    """

    def __init__(self, source: str | os.PathLike[str], reason: str, remedy: str) -> None:
        self.source = clipped(printable(os.path.basename(os.fspath(source)) or os.fspath(source)), 48)
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{self.source}: {reason}; {remedy}.")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.source, self.reason, self.remedy)


class UnknownName(WhyrayError):
    """A name nobody knows, with the nearest known ones, and another way out where there is one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        self.kind, self.name, self.known, self.remedy = kind, name, tuple(known), remedy
        near = suggestion(name, self.known)
        ways = f"{near} ({remedy})" if remedy else near
        super().__init__(f"unknown {kind} {clipped(printable(name), 64)!r}; {ways}")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...], str]]:
        return type(self), (self.kind, self.name, self.known, self.remedy)


class SettingError(WhyrayError):
    """A setting that does not exist, or whose value is out of range."""


class UnmetNeed(WhyrayError):
    """An explainer needs something this classifier, or this installation, does not have."""


class MissingExtra(WhyrayError):
    """An optional package is needed: says which, why, and the command that installs it."""

    def __init__(self, package: str, why: str, extra: str) -> None:
        self.package, self.why, self.extra = package, why, extra
        super().__init__(f"{why} needs the package {package!r}: pip install -c constraints.txt 'whyray[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        return type(self), (self.package, self.why, self.extra)


class WeightsError(WhyrayError):
    """A weights file that is refused, and what would be accepted."""


class FingerprintError(WhyrayError):
    """An artefact (autoencoder, pattern bank ...) that belongs to another classifier."""


class DataError(WhyrayError):
    """A data set that is not laid out as its format says."""


class AnnotatorError(WhyrayError):
    """A model asked over the network gave no usable answer, or its budget is spent; what was answered is kept."""


class LockedError(WhyrayError):
    """Another run holds the folder."""

    exit_code = 3


class DiskFullError(WhyrayError):
    """No room left to write."""

    exit_code = 5


class Stopped(BaseException):
    """Cancelled by the user (Ctrl-C) or by the time budget; what was finished is kept.

    Like KeyboardInterrupt no Exception: Ctrl-C raises it wherever the program is, and there, in whyray or in a library,
    an ``except Exception`` or ``except WhyrayError`` would take it for one failed input and go on.
    """

    exit_code = 130


def suggestion(name: str, known: Sequence[str]) -> str:
    """``did you mean …?`` where something is near, else the choices (at most twelve)."""
    by_lower = {k.lower(): k for k in known}
    near = [by_lower[k] for k in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.55)]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known: {listed(known)}" if known else "none is known"


def listed(names: Sequence[str], most: int = 100) -> str:
    """The names with commas between them: whole ones, in about ``most`` characters, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if shown and sum(len(n) + 2 for n in shown) + len(name) > most:
            return f"{', '.join(shown)}, … {len(names) - len(shown)} more"
        shown.append(name)
    return ", ".join(shown)


def printable(text: str) -> str:
    """The text with control characters (newlines, escapes) replaced by ``?``."""
    return "".join(c if c.isprintable() else "?" for c in text)


def clipped(text: str, most: int) -> str:
    """The text, cut in the middle to at most ``most`` characters."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"
