"""The explainers of a measurement of maps: those asked for and the controls, and none that has no map to measure."""

from __future__ import annotations

from collections.abc import Sequence

from ..contracts import Explainer
from ..errors import SettingError
from ..explanations import Statement
from ..registry import explainer as explainer_from


def mapped(specs: Sequence[str], controls: Sequence[str]) -> dict[str, Explainer]:
    """Specification -> explainer, each once, controls last. Raises UnknownName, SettingError for one that speaks."""
    asked = {spec: explainer_from(spec) for spec in dict.fromkeys((*specs, *controls))}
    speaking = [label for label, explainer in asked.items() if explainer.kind == Statement.kind]
    if speaking:
        raise SettingError(
            f"{' and '.join(speaking)} came as -x, which writes sentences: only maps are measured here; leave it out, "
            "or measure sentences with `whyray evaluate language`"
        )
    return asked
