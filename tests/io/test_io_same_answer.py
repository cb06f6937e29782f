"""The same picture in many encodings gives the same answer: probabilities to 1e-3, maps with r >= 0.99."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from corpus import corpus

import whyray
from whyray.explainers.gradcam import class_activation


def test_encodings_of_one_picture_get_one_answer(tmp_path: Path) -> None:
    model = whyray.load_model("mini")
    same = [c for c in corpus() if c.outcome == "same" and c.within <= 1e-3]  # lossless, up to quantisation
    assert len(same) >= 25
    pictures = [whyray.load_image(c.write(tmp_path)) for c in same]
    x = torch.from_numpy(np.stack([model.prepare(p).pixels for p in pictures]))
    chances = np.array([[p.probability for p in row] for row in whyray.predict(model, pictures)])
    assert np.ptp(chances, axis=0).max() <= 1e-3, same[int(np.abs(chances - chances[0]).max(1).argmax())].name
    exact = chances[[i for i, case in enumerate(same) if case.within <= 1e-6]]  # lossless, and of the same depth
    assert len(exact) >= 20 and np.ptp(exact, axis=0).max() <= 1e-6
    maps = torch.cat([class_activation(model, part, range(len(model.findings)))[0] for part in x.split(16)]).flatten(2)
    for column in range(maps.shape[1]):
        rows = maps[:, column].numpy()
        if rows[0].std() > 1e-6:
            worst = min(float(np.corrcoef(rows[0], row)[0, 1]) for row in rows[1:])
            assert worst >= 0.99, (model.findings[column], worst)
