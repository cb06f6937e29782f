"""The bundled classifier: a small DenseNet that needs no download."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnknownName, WeightsError
from ._store import load_bundle
from ._torch import TorchClassifier

CARD = Path(__file__).parent / "weights" / "mini.json"


def load(argument: str = "") -> TorchClassifier:
    """The bundled classifier; ``argument`` must be empty. Raises WeightsError where the package lacks its weights."""
    if argument:
        raise UnknownName("variant of mini", argument, ("(none)",))
    if not CARD.is_file():
        raise WeightsError("the bundled weights are not in this installation; install whyray again")
    return load_bundle(CARD)
