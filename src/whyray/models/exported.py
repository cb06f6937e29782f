"""A torch.export ``.pt2``, TorchScript ``.pt`` or single-file ``.onnx`` model, with a small JSON card beside it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cards import Card
from ..contracts import Capability, Classifier
from ..errors import InputError, SettingError, WeightsError
from ..types import Frame, Radiograph
from ._predict import chosen_columns

if TYPE_CHECKING:
    from torch import Tensor

    from ._torch import TorchClassifier


class OnnxClassifier(Classifier):
    """An ONNX model: logits only, no gradients, no features."""

    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, session: Any, labels: list[str], card: Card, sha256: str, path: Path) -> None:
        self._session, self.card, self.name, self.path = session, card, card.name, path
        self.columns, self.findings = chosen_columns(labels)
        self._outputs, self._sha256, self.taps = len(labels), sha256, {}

    @property
    def backend(self) -> str:  # type: ignore[override]
        """The engine and its precision."""
        return "onnxruntime/float32/cpu"

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """sha256 of the file, the preparation and the finding order."""
        from ._torch import fingerprint_of

        about = {"architecture": f"onnx:{self._sha256}", "findings": self.findings, "columns": self.columns}
        return fingerprint_of({**about, "preparation": asdict(self.card.preparation)}, {})

    def program(self) -> bytes:
        """The ONNX file, for another engine; raises WeightsError where it is no longer the one that was loaded."""
        from ..io.weights import read_bytes

        data = read_bytes(self.path)
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise WeightsError(f"{self.path.name} has changed since it was loaded; load it again")
        return data

    def prepare(self, radiograph: Radiograph) -> Frame:
        """The model input for one radiograph, as the card's preparation says."""
        from ._prepare import prepare

        return prepare(radiograph, self.card.preparation)

    def logits(self, x: Tensor) -> Tensor:
        """``[b, c, h, w]`` -> ``[b, f]``; no gradient."""
        output = self.outputs(x)
        return output if self.columns is None else output[:, list(self.columns)]

    def outputs(self, x: Tensor) -> Tensor:
        """All columns of the output, float32."""
        import numpy as np
        import torch

        feed = self._session.get_inputs()[0]
        pixels = x.detach().float().cpu().numpy()
        if pixels.ndim != 4 or pixels.shape[1:] != (self.card.preparation.channels, *self.card.preparation.size):
            raise InputError(self.name, f"an input of shape {pixels.shape} came", "give the shape its card declares")
        step = feed.shape[0] if isinstance(feed.shape[0], int) else max(1, len(pixels))
        parts = (pixels[i : i + step] for i in range(0, len(pixels), step))
        rows = [self._session.run(None, {feed.name: part})[0] for part in parts]
        return torch.from_numpy(np.concatenate(rows)).float()


def load(argument: str, *, card: str | None = None) -> Classifier:
    """The exported file at a path; its card is ``NAME.json`` beside it, unless given.

    The card has "findings" (one an output, in order), "preparation", and any other field of a model card.
    """
    from .wrapped import card_file

    path = Path(argument)
    if not path.is_file():
        raise WeightsError(f"no exported model at {argument}; give exported:FILE")
    beside = Path(card) if card is not None else path.with_suffix(".json")
    if not beside.is_file():
        wanted = f'put {beside.name} beside it, with "findings" and "preparation"'
        raise WeightsError(f"{path.name} needs a card: {wanted}")
    labels, facts = card_file(beside, f"exported:{path.name}")
    return _onnx(path, labels, facts) if path.suffix == ".onnx" else _program(path, labels, facts)


def _onnx(path: Path, labels: list[str], card: Card) -> OnnxClassifier:
    import torch

    from ..io.exports import load_onnx
    from ._endings import LINEAR_ONNX, bounded, refuse_ending
    from ._layers import probe_input

    session, sha256, last = load_onnx(path)
    made = OnnxClassifier(session, labels, card, sha256, path)
    wanted = (card.preparation.channels, *card.preparation.size)
    try:
        came = tuple(session.run(None, {session.get_inputs()[0].name: torch.zeros(1, *wanted).numpy()})[0].shape)
    except Exception as error:  # onnxruntime has a class of its own for every fault
        raise SettingError(f"{path.name} does not take an input of {wanted}; correct the card's preparation") from error
    if came != (1, len(labels)):
        named = f"its card names {len(labels)} findings"
        shown = f"outputs of shape {list(came)} for one picture"
        raise SettingError(f'{path.name} gives {shown} and {named}; name one a logit, and "" for one to be dropped')
    refuse_ending(last, path.name)
    if last not in LINEAR_ONNX:
        made.warnings = bounded(made.outputs, probe_input(wanted, torch.zeros(())), path.name)
    return made


def _program(path: str | os.PathLike[str], labels: list[str], card: Card) -> TorchClassifier:
    """Gradients, but no features: the layers of an exported program are not modules any more."""
    import torch

    from ..io.exports import load_program
    from ._batches import OneByOne, takes_batches
    from ._endings import check_ending
    from ._layers import probe_input
    from ._torch import TorchClassifier, Wiring
    from .wrapped import check_outputs

    module, sha256 = load_program(path)
    shape = (card.preparation.channels, *card.preparation.size)
    if not takes_batches(module, shape):
        module = OneByOne(module)
    x = probe_input(shape, torch.zeros(()))
    check_outputs(module, x, labels, card)
    columns, known = chosen_columns(labels)
    wiring = Wiring(columns=columns, warnings=check_ending(module, x, Path(path).name))
    return TorchClassifier(module, known, card, architecture=f"exported:{sha256}", wiring=wiring)
