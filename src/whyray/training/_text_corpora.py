"""Texts of one split: of our grammar, of a database of explanations, of rule files, or of a file.

Texts that exist are split by a hash of their words, eight of ten for training; a text and its mirror image share a
split. The grammar has phrases of its own for the test split; its split "known" holds new sentences of training phrases.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import DataError, SettingError
from .settings import expanded

if TYPE_CHECKING:
    from ._text_plan import TextSource

Split = Literal["train", "val", "test", "known"]
AUDIENCES = ("clinician", "lay")
RULES = ("findings", "cues", "assertion", "places", "exclusions")
SEEDS: dict[Split, int] = {"train": 0, "val": 1, "test": 2, "known": 3}
MOST = 2_000_000


def split_of(text: str) -> Split:
    """The split of a text that exists: the same on every machine, and for left and right."""
    words = re.sub(r"\b(?:left|right)\b", "side", text.casefold())
    tenth = int(hashlib.sha256(" ".join(words.split()).encode()).hexdigest(), 16) % 10
    return "test" if tenth == 0 else "val" if tenth == 1 else "train"


def texts_of(source: TextSource, split: Split) -> tuple[str, ...]:
    """Different texts of a split, in a fixed order. Raises DataError where there are none."""
    kind, _, rest = source.spec.partition(":")
    if kind in ("phantom", "database") and rest not in AUDIENCES:
        raise SettingError(f"{source.spec} came; write {kind}:clinician or {kind}:lay")
    found = _grammar(source, split) if _drawn(source) else [t for t in _whole(source) if split_of(t) == split]
    if not found:
        raise DataError(f"{source.spec} has no texts for the {split} split; give more texts, or leave it out")
    return tuple(dict.fromkeys(found))


def tests_of(source: TextSource, most: int) -> list[tuple[str, tuple[str, ...]]]:
    """(name, texts) of what is measured after training, ``most`` of each; of a grammar the known phrases apart."""
    apart = [(f"{source.name}, known phrases", texts_of(source, "known")[:most])] if _drawn(source) else []
    return [*apart, (source.name, texts_of(source, "test")[:most])]


def _drawn(source: TextSource) -> bool:
    return source.spec.startswith("phantom:")


def _grammar(source: TextSource, split: Split) -> list[str]:
    """Drawn from the grammar; what is made of training phrases for another split is in no earlier one."""
    from ..datasets._phantom_corpus import grammar_texts

    audience: Literal["clinician", "lay"] = "lay" if source.spec.endswith(":lay") else "clinician"

    def draw(which: Split) -> tuple[str, ...]:
        count = source.copies if which == "train" else max(1, source.copies // 4)
        return grammar_texts(count, audience, test=which == "test", seed=SEEDS[which])

    held: dict[Split, tuple[Split, ...]] = {"val": ("train",), "known": ("train", "val")}
    earlier = held.get(split, ())
    before = {text for which in earlier for text in draw(which)}
    return [text for text in draw(split) if text not in before]


def _whole(source: TextSource) -> list[str]:
    """All texts of a source that exist, mirrored ones behind their own."""
    from ..text.nle_database import mirrored, read_database

    kind, _, rest = source.spec.partition(":")
    if kind == "database":
        texts = [entry.nle for entry in read_database(rest)]
    elif source.spec == "rules":
        texts = _examples()
    else:
        texts = _in_file(Path(expanded(source.spec)).expanduser())
    texts = [text for text in (" ".join(t.split()) for t in texts) if text]
    return [t for text in texts for t in (text, mirrored(text))] if source.mirrored else texts


def _examples() -> list[str]:
    """The sentences that show the rules of ``text/``, without their brackets."""
    from ..text._lexicon import rules

    return [re.sub(r"[\[\]]", "", rule.fields["example"]) for name in RULES for rule in rules(name)]


def _in_file(path: Path) -> list[str]:
    """A line, a row's "nle" or "text", or a JSON line's. Raises DataError for another file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:MOST]
        if path.suffix == ".txt":
            return lines
        rows = list(csv.DictReader(lines)) if path.suffix == ".csv" else [json.loads(x) for x in lines if x.strip()]
        return [str(row["nle"] if "nle" in row else row["text"]) for row in rows]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; name phantom:, database: or a file") from None
    except (ValueError, KeyError, TypeError, csv.Error):
        raise DataError(f"{path.name}: texts come as .txt, or as .csv or .jsonl with nle or text") from None
