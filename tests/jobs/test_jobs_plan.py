"""The plan: TOML both ways, unknown keys with the choices, names made canonical."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.errors import SettingError, UnknownName
from whyray.jobs._faithful import Trial
from whyray.jobs.plan import EvaluationPlan, Localise, load_plan, mapping_from, plan_from, signs_from, to_toml

PLAN = EvaluationPlan(
    dataset='folder:/a "b"#test',
    model="mini",
    explainers=("gradcam", "lime:segments=40"),
    findings=("Effusion", "pneumonia"),
    map={"Lung Opacity": ("Pneumonia", "some lesion")},
    limit=7,
    localisation=Localise(signs={"gradient": "absolute", "lrp:rule=x": "negative"}, cutoff=0.0, tolerance_mm=5.0),
    faithfulness=Trial(steps=8, sizes=(0.1, 0.3)),
)


def test_toml_and_back(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(to_toml(PLAN))
    assert load_plan(tmp_path / "plan.toml") == PLAN
    assert load_plan(tmp_path / "plan.toml", ["limit=3", "localisation.share=0.1"]).localisation.share == 0.1
    (tmp_path / "recipe.toml").write_text('[stage.classifier]\nname = "x"\n[evaluate]\ndataset = "phantom"\n')
    assert load_plan(tmp_path / "recipe.toml") == EvaluationPlan("phantom")


def test_names_are_canonical() -> None:
    assert PLAN.findings == ("pleural_effusion", "pneumonia")
    assert PLAN.map == {"lung_opacity": ("pneumonia", "some_lesion")}


def test_explainers_as_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/data")
    given = {
        "dataset": "folder:$SOMEWHERE",
        "explainers": ["lrp", {"name": "gradcam", "relu": False}],
        "map": {"mass": "nodule"},
    }
    plan = plan_from(given)
    assert plan.explainers == ("lrp", "gradcam:relu=false") and plan.dataset == "folder:/data"
    assert plan.map == {"mass": ("nodule",)}
    with pytest.raises(SettingError, match="name"):
        plan_from({"dataset": "phantom", "explainers": [{"segments": 3}]})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataset": "phantom", "explainer": ["lime"]}, "explainers"),
        ({"dataset": "phantom", "localisation": {"mode": "tuned"}}, "modes"),
        ({"dataset": "phantom", "faithfulness": {"step": 3}}, "steps"),
        ({"model": "mini"}, "dataset"),
        ({"dataset": "phantom", "seed": -1}, "seed"),
        ({"dataset": "phantom", "localisation": {"cutoff": 2.0}}, "cutoff"),
        ({"dataset": "phantom", "localisation": {"tolerance_px": 2.0, "tolerance_mm": 2.0}}, "one of them"),
        ({"dataset": "phantom", "localisation": {"modes": []}}, "at least one"),
    ],
)
def test_what_is_wrong_fails_with_the_choices(values: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        plan_from(values)


def test_options() -> None:
    assert mapping_from(["lung_opacity=pneumonia, infiltration", "mass=nodule", "mass=mass"]) == {
        "lung_opacity": ("pneumonia", "infiltration"),
        "mass": ("nodule", "mass"),
    }
    for bad in ("pneumonia", "pneumonia=", "=x"):
        with pytest.raises(SettingError, match="FINDING=REGION"):
            mapping_from([bad])
    assert signs_from(["absolute", "lrp:rule=a=negative"]) == {"sign": "absolute", "signs": {"lrp:rule=a": "negative"}}
    with pytest.raises(UnknownName):
        Localise(sign="both")  # type: ignore[arg-type]
    local = Localise(signs={"gradient": "absolute", "gradient:smooth=3": "negative"})
    assert [local.sign_of(x) for x in ("gradcam", "gradient", "gradient:smooth=1", "gradient:smooth=3")] == [
        "positive", "absolute", "absolute", "negative",
    ]  # fmt: skip


def test_the_full_scale_recipe_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from whyray.findings import crosswalk
    from whyray.training.plan import load_plan as training_plan

    monkeypatch.setenv("CHEXPERT", "/data/chexpert")
    monkeypatch.setenv("CHEXLOCALIZE", "/data/chexlocalize")
    recipe = Path(__file__).parents[2] / "recipes/shamsul-chexpert.toml"
    plan, training = load_plan(recipe), training_plan(recipe)
    assert plan.dataset == "chexlocalize:/data/chexlocalize#test" and plan.model in recipe.read_text()
    assert {x.partition(":")[0] for x in plan.explainers} >= {"gradcam", "lime", "lrp", "shap"}
    assert set(plan.findings) == set(crosswalk("chexlocalize-10").values()) <= set(training.findings)


def test_the_plan_in_the_docs_has_every_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import dataclasses
    import re
    import tomllib

    monkeypatch.setenv("DATA", "/data")
    page = (Path(__file__).parents[2] / "docs/evaluate.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "plan.toml").write_text(text)
    assert load_plan(tmp_path / "plan.toml").dataset == "folder:/data#test"
    told = tomllib.loads(text)
    assert set(told) == {f.name for f in dataclasses.fields(EvaluationPlan)}
    assert set(told["localisation"]) == {f.name for f in dataclasses.fields(Localise)} - {"tolerance_mm"}
