"""Plans from TOML: every key is known or refused, with the nearest one."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.errors import SettingError, UnknownName
from whyray.training.plan import ClassifierPlan, load_plan, plan_from
from whyray.training.settings import expanded, read_toml, stage_table, with_changes

RECIPE = Path(__file__).parents[2] / "recipes/mini.toml"
SMALL = {
    "name": "t",
    "findings": ["Effusion", "mass"],
    "architecture": {"network": "densenet"},
    "data": [{"spec": "phantom", "name": "phantom"}],
}


def test_the_bundled_recipe_is_a_plan() -> None:
    plan = load_plan(RECIPE)
    assert plan.name == "mini" and len(plan.findings) >= 8 and set(plan.prevalences) == set(plan.findings)
    assert {f for s in plan.data for f in s.calibrates} == set(plan.findings)
    assert plan.side(0) == plan.size == 224
    first = plan_from(stage_table(read_toml(RECIPE)["stage"], "pretraining"))
    assert first.side(0) == 160 and first.side(first.loop.epochs - 1) == 224
    assert plan.loop.batch == first.loop.batch and plan.loop.epochs != first.loop.epochs


def test_labels_become_canonical_and_defaults_fill_the_rest() -> None:
    plan = plan_from(SMALL)
    assert plan.findings == ("pleural_effusion", "mass") and plan.uncertain == "ignore" and plan.side(5) == plan.size
    assert isinstance(plan, ClassifierPlan)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epoch=3", "epoch"),
        ("loop.epoch=3", "did you mean epochs"),
        ("augment.rotat=1", "did you mean rotate"),
        ("uncertain=maybe", "uncertain"),
        ("loop.epochs=0", "epochs"),
        ("prevalences.mass=1.5", "prevalences.mass"),
        ("size=8", "32 pixels"),
        ("size=big", "size"),
        ("loop.precision=float16", "precision"),
        ("size", "key=value"),
        ("findings=[]", "at least one finding"),
    ],
)
def test_what_does_not_fit_is_refused(change: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        plan_from(SMALL, [change])


def test_an_unknown_finding_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="pneumonia"):
        plan_from({**SMALL, "findings": ["pneumonja"]})


def test_changes_reach_tables_and_leave_the_caller_alone() -> None:
    before = {"loop": {"lr": 1.0}}
    made = with_changes(before, ["loop.lr=2e-3", "init=timm:densenet121"])
    assert made == {"loop": {"lr": 0.002}, "init": "timm:densenet121"}
    assert before == {"loop": {"lr": 1.0}}


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        load_plan(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(SettingError, match="not TOML"):
        load_plan(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(SettingError, match="lacks"):
        load_plan(tmp_path / "empty.toml")


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYRAY_TEST_PLACE", "/x")
    assert expanded("folder:$WHYRAY_TEST_PLACE/dev") == "folder:/x/dev" == expanded("folder:${WHYRAY_TEST_PLACE}/dev")
    monkeypatch.delenv("WHYRAY_TEST_PLACE")
    with pytest.raises(SettingError, match="WHYRAY_TEST_PLACE"):
        expanded("folder:$WHYRAY_TEST_PLACE/dev")
