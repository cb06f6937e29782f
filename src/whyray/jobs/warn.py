"""What a reader must know before believing anything about one picture: the input, the view, how familiar it is."""

from __future__ import annotations

from ..contracts import Classifier
from ..io.input_report import input_report
from ..types import Frame, Radiograph


def warnings_for(classifier: Classifier, radiograph: Radiograph, frame: Frame) -> tuple[str, ...]:
    """Sentences, the most serious first: the model's and the reader's own, input report, view, window, distance from
    training data."""
    return tuple(
        dict.fromkeys(
            (
                *classifier.warnings,
                *radiograph.warnings,
                *input_report(radiograph),
                *_view(classifier, radiograph),
                *_window(classifier, radiograph),
                *_familiarity(classifier, frame),
            )
        )
    )


def _view(classifier: Classifier, radiograph: Radiograph) -> tuple[str, ...]:
    views = classifier.card.views
    if radiograph.view is None or not views or radiograph.view in views:
        return ()
    return (f"The view is {radiograph.view}; {classifier.name} was trained on {' and '.join(views)} only.",)


def _window(classifier: Classifier, radiograph: Radiograph) -> tuple[str, ...]:
    wanted = classifier.card.preparation.voi
    if wanted == "none" and radiograph.voi not in ("none", ""):
        return (f"{classifier.name} was trained on unwindowed grey values; read the picture with --voi none.",)
    return ()


def _familiarity(classifier: Classifier, frame: Frame) -> tuple[str, ...]:
    limit = classifier.card.unfamiliar_above
    if limit is None:
        return ()
    import torch

    distance = classifier.unfamiliarity(torch.from_numpy(frame.pixels[None].copy()))
    if distance is None or distance[0] <= limit:
        return ()
    return (
        f"This picture is unlike those {classifier.name} was trained on "
        f"(distance {distance[0]:.2f}, limit {limit:.2f}): do not trust its predictions.",
    )
