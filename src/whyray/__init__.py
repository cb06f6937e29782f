"""whyray explains the predictions of chest X-ray classifiers, and measures how far to trust each explanation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import testing
    from .api import Explained, explain, explain_files, load_dataset, load_image, load_model, predict, wrap
    from .contracts import Classifier, Context, Dataset, Explainer
    from .errors import WhyrayError
    from .explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
    from .types import Case, Prediction, Radiograph, radiograph_from_array

__version__ = "0.1.0"

__all__ = [
    "Attribution",
    "Case",
    "Classifier",
    "Context",
    "Counterfactual",
    "Dataset",
    "Explained",
    "Explainer",
    "Explanation",
    "PatternSum",
    "Prediction",
    "Radiograph",
    "Statement",
    "WhyrayError",
    "__version__",
    "explain",
    "explain_files",
    "load_dataset",
    "load_image",
    "load_model",
    "predict",
    "radiograph_from_array",
    "testing",
    "wrap",
]

_HOME = {
    "contracts": ("Classifier", "Context", "Dataset", "Explainer"),
    "errors": ("WhyrayError",),
    "explanations": ("Attribution", "Counterfactual", "Explanation", "PatternSum", "Statement"),
    "types": ("Case", "Prediction", "Radiograph", "radiograph_from_array"),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: ``import whyray`` loads nothing heavy."""
    if name == "testing":
        return importlib.import_module(".testing", __name__)
    if name not in __all__:
        raise AttributeError(f"module 'whyray' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE.get(name, 'api')}", __name__), name)


def __dir__() -> list[str]:
    return __all__
