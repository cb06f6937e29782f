"""Where spaCy 2.3.5's blank English pipeline with its sentencizer begins sentences, without spaCy.

A sentence ends after a token that is a stop mark (in 2.3 also ``:`` and ``;``), once a token follows that is not
punctuation. So it rests on the tokeniser: "p.m." and "May." are one token and end nothing, "1." is two and ends one.
Written anew from the behaviour: white space parts chunks; from both ends of a chunk punctuation is taken off until the
chunk is a known exception or nothing more comes off; a stop between a small and a capital letter parts what is left.

Equal for text in ASCII; beyond it only Latin letters and the commonest marks are known. The test asks spaCy where 2.3
is installed (2.3.9 has the rules of 2.3.5, and wheels for this Python), and holds what spaCy 2.3.9 answered where it is
not. The exceptions are a table of spaCy's own (MIT licence).
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

from ._lexicon import rows

ENDS = frozenset(".!?:;։؟۔।॥。．！？｡")
_PUNCT = r"…,:;!?¿؟¡()\[\]{}<>_#*&。？！，、；：～·।،۔؛٪"
_QUOTES = ",'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉"
_LOWER, _UPPER = "a-zß-öø-ÿ", "A-ZÀ-ÖØ-Þ"
_ALPHA = _LOWER + _UPPER
_CURRENCY = r"US\$|C\$|A\$|\$|£|€|¥"
_UNITS = (
    "km|km²|km³|m|m²|m³|dm|dm²|dm³|cm|cm²|cm³|mm|mm²|mm³|ha|µm|nm|yd|in|ft|kg|g|mg|µg|t|lb|oz|m/s|km/h|kmh|mph|hPa|Pa|"
    "mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%"
)
_ICON = r"[¦©®°]"
_PREFIX = re.compile(rf"§|%|=|—|–|\+(?![0-9])|……|[{_PUNCT}]|\.\.+|[{_QUOTES}]|{_CURRENCY}|{_ICON}")
_SUFFIX = re.compile(
    rf"(?:……|[{_PUNCT}]|\.\.+|[{_QUOTES}]|{_ICON}|['’][sS]|—|–|(?<=[0-9])\+|(?<=°[FfCcKk])\."
    rf"|(?<=[0-9])(?:{_CURRENCY})|(?<=[0-9])(?:{_UNITS})"
    rf"|(?<=[0-9{_LOWER}%²\-+|:?'\"”“`‘´’‚„»«{_PUNCT}])\.|(?<=[{_UPPER}][{_UPPER}])\.)$"
)
_INFIX = re.compile(
    rf"\.\.+|…|{_ICON}|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{_LOWER}{_QUOTES}])\.(?=[{_UPPER}{_QUOTES}])"
    rf"|(?<=[{_ALPHA}]),(?=[{_ALPHA}])|(?<=[{_ALPHA}])(?:---|--|-|–|——|—|~)(?=[{_ALPHA}])"
    rf"|(?<=[{_ALPHA}0-9])[:<>=/](?=[{_ALPHA}])"
)
_URL = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+(?::\S*)?@)?"
    r"(?:(?!(?:10|127)(?:\.\d{1,3}){3})(?!(?:169\.254|192\.168)(?:\.\d{1,3}){2})(?!172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})"
    r"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4])"
    r"|(?:(?:[A-Za-z0-9¡-￿][A-Za-z0-9¡-￿_-]{0,62})?[A-Za-z0-9¡-￿]\.)+"
    rf"[{_LOWER}]{{2,63}})(?::\d{{2,5}})?(?:[/?#]\S*)?"
)
_CHUNK = re.compile(r"\s+|\S+")


def sentence_starts(text: str) -> list[int]:
    """The character at which each sentence begins; the first is 0. None for an empty text."""
    starts = [0] if text else []
    ended = False
    for start, token in _tokens(text):
        if token in ENDS:
            ended = True
        elif ended and not _is_punct(token):
            starts.append(start)
            ended = False
    return starts


def tokens(text: str) -> list[str]:
    """The tokens by which `sentence_starts` decides; contractions, which end nothing, stay whole."""
    return [token for _, token in _tokens(text)]


def _tokens(text: str) -> list[tuple[int, str]]:
    out: list[tuple[int, str]] = []
    for number, chunk in enumerate(_CHUNK.finditer(text)):
        at, piece = chunk.start(), chunk.group()
        if piece.isspace():
            # one blank after a word belongs to it; more are a token of their own
            rest = piece[1:] if piece[0] == " " and number else piece
            if rest:
                out.append((at + len(piece) - len(rest), rest))
            continue
        for token in _parts(piece):
            out.append((at, token))
            at += len(token)
    return out


@lru_cache(maxsize=16384)
def _parts(chunk: str) -> tuple[str, ...]:
    """Tokens of one chunk without white space."""
    front: list[str] = []
    back: list[str] = []
    known = _exceptions()
    while chunk and chunk not in known:
        prefix, suffix = _PREFIX.match(chunk), _SUFFIX.search(chunk)
        before = len(prefix[0]) if prefix else 0
        after = len(suffix[0]) if suffix else 0
        if before and chunk[before:] in known:
            front.append(chunk[:before])
            chunk = chunk[before:]
            break
        if after and chunk[:-after] in known:
            back.append(chunk[-after:])
            chunk = chunk[:-after]
            break
        if not before and not after:
            break
        if before and after and before + after > len(chunk):
            after = 0
        if before:
            front.append(chunk[:before])
        if after:
            back.append(chunk[-after:])
        chunk = chunk[before : len(chunk) - after]
    return (*front, *_middle(chunk, known), *reversed(back))


def _middle(chunk: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What is left between the affixes: an exception, an address, or words that infixes part."""
    if not chunk:
        return ()
    if chunk in known:
        return known[chunk]
    if _URL.fullmatch(chunk):
        return (chunk,)
    out: list[str] = []
    at = 0
    for infix in _INFIX.finditer(chunk):
        if infix.start() == 0:
            continue
        if infix.start() > at:
            out.append(chunk[at : infix.start()])
        out.append(infix[0])
        at = infix.end()
    return (*out, chunk[at:]) if at < len(chunk) else tuple(out)


@cache
def _is_punct(token: str) -> bool:
    return all(unicodedata.category(c).startswith("P") for c in token)


@cache
def _exceptions() -> dict[str, tuple[str, ...]]:
    table = {row["chunk"]: tuple(row["tokens"].split(" ")) for row in rows("exceptions")}
    hours = {f"{h}{half}": (str(h), half) for h in range(1, 13) for half in ("a.m.", "p.m.", "am", "pm")}
    return table | hours | {f"{c}.": (f"{c}.",) for c in "abcdefghijklmnopqrstuvwxyzäöü"}
