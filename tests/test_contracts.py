"""What an explainer is handed: where an artefact comes from."""

from __future__ import annotations

import pytest

import whyray
from whyray.contracts import Context
from whyray.errors import UnmetNeed


def loaded(classifier: whyray.Classifier, folder: str) -> str:
    return f"{classifier.name} from {folder or 'disk'}"


def test_an_artefact_is_the_named_one_then_the_contexts_own_then_that_on_disk() -> None:
    analytic = whyray.load_model("analytic")
    own = Context(artefact=lambda kind, fingerprint: f"{kind} {fingerprint[:4]}")
    assert own.resolved("patterns", analytic, loaded, "bank") == "analytic from bank"
    assert own.resolved("patterns", analytic, loaded) == f"patterns {analytic.fingerprint[:4]}"
    assert Context().resolved("patterns", analytic, loaded) == "analytic from disk"


def test_what_the_context_lacks_is_not_looked_for_elsewhere() -> None:
    def none(kind: str, _fingerprint: str) -> str:
        raise UnmetNeed(f"no {kind}")

    with pytest.raises(UnmetNeed, match="no patterns"):
        Context(artefact=none).resolved("patterns", whyray.load_model("analytic"), loaded)
