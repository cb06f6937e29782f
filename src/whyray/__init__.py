"""whyray explains the predictions of chest X-ray classifiers, and measures how far to trust each explanation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Attribution": "explanations", "Case": "types", "Classifier": "contracts", "Context": "contracts",
    "Counterfactual": "explanations", "Dataset": "contracts", "Explainer": "contracts", "Explanation": "explanations",
    "PatternSum": "explanations", "Prediction": "types", "Radiograph": "types", "Statement": "explanations",
    "WhyrayError": "errors", "explain": "api", "explain_files": "api", "load_dataset": "api", "load_image": "api",
    "load_model": "api", "predict": "api", "radiograph_from_array": "types", "testing": "", "wrap": "api",
}
__all__ = sorted(["__version__", *_HOME])

if TYPE_CHECKING:
    from . import testing
    from .api import explain, explain_files, load_dataset, load_image, load_model, predict, wrap
    from .contracts import Classifier, Context, Dataset, Explainer
    from .errors import WhyrayError
    from .explanations import Attribution, Counterfactual, Explanation, PatternSum, Statement
    from .types import Case, Prediction, Radiograph, radiograph_from_array


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'whyray' has no attribute {name!r}")
    home = importlib.import_module(f".{_HOME[name] or name}", __name__)
    return getattr(home, name) if _HOME[name] else home


def __dir__() -> list[str]:
    return __all__
