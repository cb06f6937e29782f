"""BERTScore with a model from a local path: greedy matching of contextual token vectors (Zhang et al., ICLR 2020)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._torchvision import ensure_torchvision
from ..errors import DataError, MissingExtra
from ._likeness import unit
from ._terms import Term, mean_term

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]
    Flags = NDArray[np.bool_]
    Tokens = tuple[Array, Flags]

LAYERS = {"distilbert-base-uncased": 5, "roberta-large": 17, "bert-base-uncased": 9}  # the paper's, else the last


def bertscore_term(
    texts: Sequence[str], references: Sequence[str], model: str | Path, layer: int | None = None
) -> Term:
    """F1 without idf weights and without rescaling, about 0..1; the tokens that begin and end a text weigh nothing.

    model  folder of a transformers encoder with its tokenizer; nothing is downloaded.
    layer  hidden state to use (0 = the embeddings).
    Raises MissingExtra, and DataError for a folder that holds no encoder.
    """
    folder = Path(model)
    encode, layers = _encoder(folder)
    at = layer if layer is not None else LAYERS.get(folder.name, layers)
    if not 0 <= at <= layers:
        raise DataError(f"layer {at} was asked of {folder.name}, which has 0 to {layers}; give one of these")
    held: dict[str, Tokens] = {}
    for text in dict.fromkeys((*texts, *references)):
        held[text] = encode(text, at) if text.strip() else (np.zeros((0, 1)), np.zeros(0, bool))
    values = [f1(*held[t], *held[r]) for t, r in zip(texts, references, strict=True)]
    facts = f"model:{folder.name}@{_digest(folder)}|layer:{at}|idf:no|special:0|rescaled:no"
    return mean_term("bertscore", f"BERTScore-F1|{facts}", values)


def f1(candidate: Array, counts: Flags, reference: Array, counts_too: Flags) -> float:
    """Harmonic mean of precision and recall by greedy matching of token vectors ``[t, d]``; 0 where one is empty.

    counts, counts_too  bool ``[t]``: the tokens of each that are averaged. The two that only begin and end a text are
    not (they are alike in all texts), but others may match them, as in the published program.
    """
    if not counts.any() or not counts_too.any():
        return 0.0
    cosine = unit(candidate) @ unit(reference).T
    precision, recall = float(cosine.max(axis=1)[counts].mean()), float(cosine.max(axis=0)[counts_too].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _encoder(folder: Path) -> tuple[Any, int]:
    """(text, layer) -> vectors ``[t, d]`` of its tokens, and which of them are not special ``[t]``; its layers.

    One text at a time, so that there is no padding to leave out.
    """
    ensure_torchvision()
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        raise MissingExtra("transformers", "BERTScore", "text") from None
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder.name or folder} holds no config.json; give the folder of a transformers encoder")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    module = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()

    special = [i for i in (tokenizer.cls_token_id, tokenizer.sep_token_id) if i is not None]

    def encode(text: str, layer: int) -> Tokens:
        with torch.no_grad():
            inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
            states = module(**inputs, output_hidden_states=True).hidden_states
            vectors, ids = states[layer][0].double().numpy(), inputs["input_ids"][0].numpy()
            return vectors, ~np.isin(ids, special)

    return encode, int(module.config.num_hidden_layers)


def _digest(folder: Path) -> str:
    """Eight digits that tell weights apart."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()[:8]
