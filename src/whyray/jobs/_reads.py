"""What a kept result depends on besides pictures, settings and the classifier's fingerprint."""

from __future__ import annotations

from typing import Any

from ..contracts import Classifier, Explainer
from ..errors import WhyrayError
from ..types import content


def read_by(explainer: Explainer, classifier: Classifier) -> dict[str, Any]:
    """Facts of every cell that is made with this explainer: "reads", the content of what it reads, and "operations".

    Calibration and operating points are no part of a fingerprint. An attribution explains logits, and keeps its cells
    when they change; the other kinds aim by them, or speak of them.
    """
    try:
        found = dict(explainer.reads(classifier))
    except WhyrayError:  # said again, with the reason, where it is read
        found = {}
    facts: dict[str, Any] = {"reads": found} if found else {}
    if explainer.kind != "attribution":
        facts["operations"] = content(dict(sorted(classifier.card.operations.items())))
    return facts
