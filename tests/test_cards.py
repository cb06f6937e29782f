"""A card's values: numbers for lists as in ``wrap``, everything else that does not fit in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whyray.cards import Card, Operation, Preparation, preparation_of
from whyray.errors import SettingError, WeightsError

FULL = Card(
    "net",
    preparation=Preparation((64, 48), 3, "pad", -1, 1, (0.1, 0.2, 0.3), (1.0,), (40.0, 400.0)),
    operations={"mass": Operation(2, -1.0, 0.1, 0.3)},
    unfamiliar_above=1.5,
    results=({"finding": "mass", "value": 0.7, "n": 12},),
    limits=("none",),
)


def test_a_card_comes_back_from_json() -> None:
    assert Card.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL


def test_numbers_stand_for_lists() -> None:
    made = preparation_of({"size": 224, "mean": 0.5, "std": 1})
    assert made == Preparation((224, 224), mean=(0.5,), std=(1,)) and preparation_of({}) == Preparation()


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"preparation": {"size": "224"}}, "preparation.size = '224'; give a side, or"),
        ({"preparation": {"size": [224]}}, "preparation.size = .*; give a side, or"),
        ({"preparation": {"size": [224.5, 224]}}, "give a side, or"),
        ({"preparation": {"size": 4}}, "sides of 16 to 4096"),
        ({"preparation": {"channels": "1"}}, "preparation.channels = '1'; give a whole number"),
        ({"preparation": {"channels": True}}, "give a whole number"),
        ({"preparation": {"mean": ["a"]}}, "preparation.mean = .*; give a number, or a list"),
        ({"preparation": {"mean": []}}, "one number or one a channel"),
        ({"preparation": {"std": None}}, "give a number, or a list"),
        ({"preparation": {"std": 0}}, "std be above 0"),
        ({"preparation": {"low": float("nan")}}, "no finite number"),
        ({"preparation": {"fit": "squish"}}, 'preparation.fit = \'squish\'; give "crop", "pad" or "squash"'),
        ({"preparation": {"voi": "window"}}, "centre, width"),
        ({"preparation": {"sise": 224}}, "preparation: the unknown field 'sise'; known: size"),
        ({"preparation": []}, "preparation = .*; give a table"),
        ({"operations": []}, "operations = .*; give a table"),
        ({"operations": {"mass": 0.5}}, "operations.mass = 0.5; give a table"),
        ({"operations": {"mass": {"threshold": "0.5"}}}, "operations.mass.threshold = '0.5'; give a number or null"),
        ({"views": "PA"}, "views = 'PA'; give a list of texts"),
        ({"unfamiliar_above": [1]}, "unfamiliar_above = .*; give a number or null"),
        ({"name": 5}, "name = 5; give a text"),
        ({"colour": "red"}, "unknown field 'colour'; known: name"),
    ],
)
def test_what_does_not_fit_a_card_is_said(card: dict[str, Any], says: str) -> None:
    with pytest.raises(WeightsError, match=f"a model card has .*{says}"):
        Card.from_dict({"name": "net", **card})


@pytest.mark.parametrize("values", [{"size": 224, "mean": 0.5}, {"size": "224"}, {"mean": ["a"]}, {"fit": "squish"}])
def test_a_card_on_the_command_line_takes_what_wrap_takes(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import nn

    from whyray.models._resolve import load_model
    from whyray.models.wrapped import wrap

    (tmp_path / "carded_net.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))\n"
    )
    (tmp_path / "card.json").write_text(json.dumps({"findings": ["Mass"], "preparation": values}))
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1))
    if values.get("size") == 224:
        wanted = wrap(module, findings=["Mass"], **values).card.preparation
        assert load_model("carded_net:make", card="card.json").card.preparation == wanted
        return
    with pytest.raises(WeightsError):
        load_model("carded_net:make", card="card.json")
    with pytest.raises(SettingError):
        wrap(module, findings=["Mass"], **values)


def test_wrap_takes_the_numbers_of_numpy() -> None:
    from torch import nn, tensor

    from whyray.models.wrapped import wrap

    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), tensor(0.5)
    made = wrap(module, findings=["Mass"], size=np.int64(64), mean=mean, std=std, low=np.float32(-1))  # type: ignore[arg-type]
    assert made.card.preparation.size == (64, 64) and made.card.preparation.std == (0.5,)
    assert np.allclose(made.card.preparation.mean, mean)
