"""BiomedCLIP's text tower: embeddings of reports, of their Findings section only.

The labels of MIMIC-CXR and its like are read by a program from the report, most of them from its Impression. A
classifier or pattern that sees the Impression has seen the answer, so it is refused; and where the headings of a report
were not all told apart, a text ends before the first one that opens a conclusion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .._torchvision import ensure_torchvision
from ..errors import DataError, MissingExtra, SettingError, WeightsError
from ..text._lexicon import rows as table
from ..types import Case
from .biomedclip import FILES, HEAD_WIDTH, folder_of, read_config

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

LEAKS = ("impression", "last_paragraph", "full report", "addendum")
BATCH = 32
PREFIX = "text."


@dataclass(frozen=True, eq=False)
class TextTower:
    """Texts -> embeddings float32 ``[n, width]`` of unit length; what is longer than the context is cut at its end."""

    name: str
    width: int
    embed: Callable[[Sequence[str]], NDArray[np.float32]] = field(repr=False)


def findings_text(report: Mapping[str, str], sections: Sequence[str] = ("findings",)) -> str:
    """The Findings of a report (section -> text). Raises DataError where there are none.

    ``sections`` may add others that hold no conclusion ("indication", "comparison"); SettingError for one that does.
    Each ends where a conclusion begins (``before_conclusion``).
    """
    leaking = [s for s in sections if s in LEAKS]
    if leaking:
        raise SettingError(
            f"the section {leaking[0]!r} was asked for: labels are read from the conclusion of the same report, so its "
            "text would give them away; use findings"
        )
    texts = {s: before_conclusion(report.get(s, "")).strip() for s in ("findings", *sections)}
    found = [texts[s] for s in sections if texts[s]]
    if not texts["findings"] or not found:
        held = ", ".join(report) or "no section"
        raise DataError(f"the report has no Findings ({held}); an Impression in their place would leak the labels")
    return "\n".join(found)


def before_conclusion(text: str) -> str:
    """The text of a section up to the first heading of a conclusion or an addendum; all of it where there is none.

    The splitter, whose rules are MIMIC-CXR's own, leaves an Impression in the Findings where its heading is not in
    capitals, has no colon or no line of its own.
    """
    heading = _conclusion().search(text)
    return text[: heading.start()] if heading else text


@cache
def _conclusion() -> re.Pattern[str]:
    """A heading of a conclusion, told from prose ("the impression of a nodule") by where it stands and how it ends."""
    words = sorted((row["heading"] for row in table("headings") if row["section"] in LEAKS), key=len, reverse=True)
    any_case, capitals, titles = (_any_of(map(form, words)) for form in (str.lower, str.upper, str.capitalize))
    begins = r"(?:^|(?<=[.!?;]))[^a-z\n]{0,20}(?=[a-z])"  # a line or a sentence, bullets and numbers before it
    ends = r"(?:[^a-z0-9.\n]*(?:$|[:;])|\s*[–—-]+\s|\s*\d+[.)])"  # its line, or with a colon, a dash, an item's number
    heading = rf"{any_case}{ends}|(?-i:{capitals}\b|{titles}\.)"
    joined = r"(?:[ \t]*(?:and|&|/|\()[^.:\n]{0,40})?"  # "Impression and recommendations:"
    anywhere = rf"(?<![a-z])(?:impression|conclusion)s?{joined}[^a-z0-9.\n]*:"
    return re.compile(rf"{begins}(?:{heading})|{anywhere}", re.IGNORECASE | re.MULTILINE)


def _any_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, words))})[sS]?"


def report_embeddings(
    cases: Sequence[Case], tower: TextTower, sections: Sequence[str] = ("findings",)
) -> tuple[NDArray[np.float32], dict[str, str]]:
    """(embeddings ``[n, d]`` of the cases' Findings, case id -> why it has none); rows without a text are NaN."""
    findings_text({"findings": "-"}, sections)  # a section that leaks is refused before the first case
    texts, without = {}, {}
    for number, case in enumerate(cases):
        try:
            texts[number] = findings_text(case.report, sections)
        except DataError as error:
            without[case.id] = str(error)
    rows = np.full((len(cases), tower.width), np.nan, np.float32)
    if texts:
        rows[list(texts)] = tower.embed(list(texts.values()))
    return rows, without


def text_tower(source: str) -> TextTower:
    """The text tower of a release in open_clip's layout, with the tokenizer's files beside it. Nothing is downloaded.

    Raises SettingError, WeightsError, or MissingExtra without transformers.
    """
    import torch

    folder = folder_of(source)
    config = read_config(folder)["model_cfg"].get("text_cfg", {})
    context, pooler = int(config.get("context_length", 77)), config.get("hf_pooler_type", "")
    if pooler != "cls_last_hidden_state_pooler" or config.get("hf_proj_type") != "mlp":
        raise WeightsError(f"{folder.name}: a BERT with pooler {pooler!r:.40} came; BiomedCLIP's text tower is wanted")
    tensors = _tensors(folder)
    transformer, projection = _filled(tensors, folder.name)
    width = len(tensors["proj.2.weight"])
    tokenizer = _tokenizer(folder)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        for start in range(0, len(texts), BATCH):
            some = list(texts[start : start + BATCH])
            told = tokenizer(some, padding=True, truncation=True, max_length=context, return_tensors="pt")
            with torch.inference_mode():
                seen = transformer(input_ids=told["input_ids"], attention_mask=told["attention_mask"])
                rows.append(torch.nn.functional.normalize(projection(seen.last_hidden_state[:, 0]), dim=-1))
        made: NDArray[np.float32] = torch.cat(rows).float().numpy()
        return made

    return TextTower(folder.name, width, embed)


def _tensors(folder: Path) -> dict[str, Tensor]:
    """The text tower's tensors, without their prefix."""
    from ..io.weights import load_weights

    file = next((folder / f for f in FILES if (folder / f).is_file()), None)
    if file is None:
        raise WeightsError(f"{folder.name} holds neither of {', '.join(FILES)}; download the release whole")
    found = {k.removeprefix(PREFIX): v for k, v in load_weights(file).items() if k.startswith(PREFIX)}
    return {k: v.float() for k, v in found.items() if v.is_floating_point()}


def _filled(tensors: Mapping[str, Tensor], name: str) -> tuple[nn.Module, nn.Sequential]:
    """(BERT, projection) with the sizes that the tensors have."""
    from torch import nn

    from ..io.weights import load_into

    made = _transformers()
    bert = {k.removeprefix("transformer."): v for k, v in tensors.items() if k.startswith("transformer.")}
    proj = {k.removeprefix("proj."): v for k, v in tensors.items() if k.startswith("proj.")}
    try:
        words, width = bert["embeddings.word_embeddings.weight"].shape
        config = made.BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=len({k.split(".")[2] for k in bert if k.startswith("encoder.layer.")}),
            num_attention_heads=max(1, width // HEAD_WIDTH),
            intermediate_size=len(bert["encoder.layer.0.intermediate.dense.weight"]),
            max_position_embeddings=len(bert["embeddings.position_embeddings.weight"]),
            type_vocab_size=len(bert["embeddings.token_type_embeddings.weight"]),
        )
        inside, out = len(proj["0.weight"]), len(proj["2.weight"])
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{name}: the weights hold no BERT under {PREFIX}transformer and {PREFIX}proj") from None
    transformer = made.BertModel(config, add_pooling_layer=False)
    projection = nn.Sequential(nn.Linear(width, inside, bias=False), nn.GELU(), nn.Linear(inside, out, bias=False))
    load_into(transformer, bert, f"{name} (text)")
    load_into(projection, proj, f"{name} (projection of texts)")
    return transformer.eval().requires_grad_(False), projection.eval().requires_grad_(False)


def _tokenizer(folder: Path) -> Any:
    try:
        return _transformers().AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError):
        raise WeightsError(
            f"{folder.name} has no tokenizer (tokenizer.json, vocab.txt); download the release whole"
        ) from None


def _transformers() -> Any:
    ensure_torchvision()
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "the text tower", "text") from None
    return transformers
