"""What a reader must know before believing anything about one picture: the input, the view, how familiar it is."""

from __future__ import annotations

from ..contracts import Classifier
from ..io.input_report import input_report
from ..text.numbers import apart
from ..types import Frame, Radiograph

MOST_CROPPED = 0.25  # share of the picture that the model does not see


def warnings_for(classifier: Classifier, radiograph: Radiograph, frame: Frame) -> tuple[str, ...]:
    """Sentences, the most serious first: the model's and the reader's own, input report, what is cropped off, view,
    window, distance from training data."""
    return tuple(
        dict.fromkeys(
            (
                *classifier.warnings,
                *radiograph.warnings,
                *input_report(radiograph),
                *_cropped(classifier, frame),
                *_view(classifier, radiograph),
                *_window(classifier, radiograph),
                *_familiarity(classifier, frame),
            )
        )
    )


def _cropped(classifier: Classifier, frame: Frame) -> tuple[str, ...]:
    """Where much of the picture lies outside the model's input."""
    (height, width), (rows, columns) = frame.source_shape, frame.pixels.shape[1:]
    high, wide = abs(frame.to_source[1, 1]) * rows, abs(frame.to_source[0, 0]) * columns
    seen = min(1.0, high / height) * min(1.0, wide / width)
    if 1 - seen <= MOST_CROPPED:
        return ()
    return (f"{classifier.name} sees a middle part of the picture alone: {1 - seen:.0%} of it is cropped off.",)


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
    far, most = apart(float(distance[0]), limit, 2)
    return (
        f"This picture is unlike those {classifier.name} was trained on "
        f"(distance {far}, limit {most}): do not trust its predictions.",
    )
