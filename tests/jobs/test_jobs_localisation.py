"""Localisation on a classifier whose true maps are known: figures are those of the metrics, nothing is made twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whyray
from whyray.contracts import Dataset
from whyray.errors import DataError, InputError, LockedError, SettingError, UnknownName, UnmetNeed
from whyray.explainers.gradcam import GradCam
from whyray.io.chexlocalize_csv import read_table, read_thresholds
from whyray.jobs import localisation as job
from whyray.jobs._located import nothing_drawn
from whyray.jobs.evaluate import localisation_into
from whyray.jobs.localisation import evaluate_localisation, most_specific
from whyray.jobs.plan import EvaluationPlan, Localise
from whyray.jobs.store import Store
from whyray.metrics import localisation as metric
from whyray.training.lock import locked
from whyray.types import Case, Radiograph, Region

SIDE, CELL = 256, 16  # source pixels; a cell of the analytic classifier covers 16 of them
BOXES = {"nodule": (3, 3, 6, 6), "pleural_effusion": (12, 1, 15, 5)}  # top, left, bottom, right in cells


def picture(seed: int, *bright: str) -> Radiograph:
    """Dark noise with the boxes of some findings lit."""
    pixels = np.random.default_rng(seed).uniform(0.05, 0.3, (SIDE, SIDE))
    for finding in bright:
        top, left, bottom, right = (CELL * v for v in BOXES[finding])
        pixels[top:bottom, left:right] = 0.95
    return Radiograph(pixels.astype(np.float32), name=f"p{seed}")


def box(finding: str, as_mask: bool = False, kind: Any = "finding", shift: int = 0) -> Region:
    top, left, bottom, right = (CELL * v for v in BOXES[finding])
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : bottom + shift, left : right + shift] = True
    where = (float(left), float(top), float(right - left + shift), float(bottom - top + shift))
    return Region(finding, where, mask if as_mask else None, kind)


def case(seed: int, bright: Sequence[str], regions: Sequence[Region], split: str = "test", **labels: float) -> Case:
    return Case(
        id=f"case-{seed}",
        open=lambda: picture(seed, *bright),
        labels=labels,
        patient=f"patient-{seed // 2}",
        split=split,
        open_regions=lambda: tuple(regions),
        facts={"dataset": "ours" if seed % 2 else "theirs"},
    )


@dataclass(frozen=True)
class Small(Dataset):
    """Cases made here."""

    members: tuple[Case, ...]
    name: str = "small"
    findings: tuple[str, ...] = tuple(BOXES)
    licence: str = "none"

    def cases(self, split: str | None = None) -> Sequence[Case]:
        chosen = [c for c in self.members if split in (None, c.split)]
        if not chosen:
            raise DataError(f"no split {split}")
        return chosen


def small() -> Small:
    """Six test pictures: two nodules, an effusion in two parts, both together, a false call, a wrong region."""
    return Small(
        (
            case(0, ["nodule"], [box("nodule")], nodule=1, pleural_effusion=0),
            case(1, ["nodule"], [box("nodule", as_mask=True, shift=8)], nodule=1, pleural_effusion=0),
            case(2, ["pleural_effusion"], [box("pleural_effusion")], nodule=0, pleural_effusion=1),
            case(
                3,
                ["nodule", "pleural_effusion"],
                [box("nodule"), box("pleural_effusion", as_mask=True), box("nodule", kind="machine", shift=60)],
                nodule=1,
                pleural_effusion=1,
            ),
            case(4, ["nodule"], [], nodule=0, pleural_effusion=0),
            case(5, ["nodule"], [replace(box("nodule"), finding="some_lesion")], nodule=1),
        )
    )


@pytest.fixture(scope="module")
def model() -> whyray.Classifier:
    return whyray.load_model("analytic")


PLAN = EvaluationPlan("small", explainers=("gradcam",), replicates=200)
MODES = ("otsu_filled", "area_matched", "top_k")


def test_figures_are_those_of_the_metrics(model: whyray.Classifier, tmp_path: Path) -> None:
    """Every value of the table, computed again from maps made without jobs, cells or counts."""
    data = small()
    found = evaluate_localisation(model, data, replace(PLAN, localisation=Localise(modes=MODES)), Store(tmp_path))
    values, findings = found.tables.values["gradcam"], found.tables.findings
    assert findings == ("nodule", "pleural_effusion") and len(found.measured.subjects) == 5
    for row, subject in enumerate(found.measured.subjects):
        radiograph = subject.case.radiograph()
        said = {p.finding: p for p in whyray.predict(model, radiograph)}
        made = GradCam().explain(model, [radiograph], findings, whyray.contracts.Context())[0]
        for column, finding in enumerate(findings):
            drawn = [r for r in subject.case.regions() if r.finding == finding and r.kind == "finding"]
            cell = {m: values[m][row, column] for m in values}
            if not drawn:
                false = said[finding].positive and subject.case.labels.get(finding) == 0
                assert np.isnan(cell["hit"]) and np.isnan(cell["iou_true_positive:top_k"])
                assert cell["iou:top_k"] == 0 if false else np.isnan(cell["iou:top_k"])
                continue
            truth = np.zeros((SIDE, SIDE), bool)
            for region in drawn:
                x, y, w, h = (int(v) for v in region.box)
                truth[y : y + h, x : x + w] = True
            values_at_source = made[finding].at_source()  # type: ignore[attr-defined]
            strength = metric.saliency(values_at_source, "positive")
            assert cell["hit"] == metric.hit(strength, truth)
            assert cell["mass_in"] == pytest.approx(metric.mass_in(strength, truth), rel=1e-6)
            assert cell["energy"] == pytest.approx(metric.energy(strength, truth), rel=1e-6)
            for mode in MODES:
                mask = metric.Masking("positive", mode).mask(values_at_source, area=int(truth.sum()))  # type: ignore[arg-type]
                assert cell[f"iou_true_positive:{mode}"] == pytest.approx(metric.iou_true_positive(mask, truth))
                full = metric.iou(mask, truth) if said[finding].positive else 0.0
                assert cell[f"iou:{mode}"] == pytest.approx(full)
                assert cell[f"precision:{mode}"] == pytest.approx(metric.precision(mask, truth))
                assert cell[f"recall:{mode}"] == pytest.approx(metric.recall(mask, truth))


def test_the_true_map_wins_over_every_control_and_rows_say_what_they_are(
    model: whyray.Classifier, tmp_path: Path
) -> None:
    found = evaluate_localisation(model, small(), PLAN, Store(tmp_path))
    rows = {(r.explainer, r.finding, r.metric, r.slice): r for r in found.tables.scores}
    ours = rows["gradcam", "nodule", "mass_in", "all"]
    assert ours.value > 0.5 and ours.n == 3 and ours.low <= ours.value <= ours.high and ours.baseline is None
    for control in ("edges", "centre", "random"):
        row = rows[control, "nodule", "mass_in", "all"]
        assert row.baseline == control and row.value < ours.value
    assert {r.explainer for r in found.tables.scores} == {"gradcam", "edges", "centre", "random"}
    both = {m for (_, _, m, _) in rows}
    assert all(f"iou:{m.partition(':')[2]}" in both for m in both if m.startswith("iou_true_positive"))
    assert rows["gradcam", "nodule", "hit", "multi-label"].n == 1
    assert rows["gradcam", "nodule", "hit", "single-label"].n == 2


def test_what_counts_as_truth_is_told(model: whyray.Classifier, tmp_path: Path) -> None:
    found = evaluate_localisation(model, small(), PLAN, Store(tmp_path))
    assert found.facts["regions_not_used"] == {"some_lesion": 1}
    assert found.facts["present_without_region"] == {"nodule": 1}
    mapped = replace(PLAN, map={"nodule": ("some_lesion", "nodule")})
    more = evaluate_localisation(model, small(), mapped, Store(tmp_path))
    assert more.facts["regions_not_used"] == {} and more.facts["map"]["nodule"] == ["some_lesion", "nodule"]
    assert sum(r.n for r in more.tables.scores if (r.explainer, r.finding, r.metric, r.slice) == HIT) == 4
    only = evaluate_localisation(model, small(), replace(PLAN, findings=("effusion",)), Store(tmp_path))
    assert only.tables.findings == ("pleural_effusion",)
    with pytest.raises(UnknownName, match="finding of analytic"):
        evaluate_localisation(model, small(), replace(PLAN, map={"edema": ("nodule",)}), Store(tmp_path))
    nothing = Small((case(0, ["nodule"], [replace(box("nodule"), finding="some_lesion")]), small().members[4]))
    with pytest.raises(DataError, match=r"some_lesion \(1\).*--map \w+=some_lesion"):
        evaluate_localisation(model, nothing, PLAN, Store(tmp_path))


HIT = ("gradcam", "nodule", "hit", "all")


class Counted:
    """How often Grad-CAM was asked, and for how many pictures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Radiograph], Exception | None] | None = None):
        self.pictures: list[str] = []
        whole = GradCam.explain

        def explain(this: GradCam, classifier: Any, radiographs: Any, findings: Any, context: Any) -> Any:
            for radiograph in radiographs:
                if fail and (error := fail(radiograph)):
                    raise error
            self.pictures += [r.name for r in radiographs]
            return whole(this, classifier, radiographs, findings, context)

        monkeypatch.setattr(GradCam, "explain", explain)


def test_nothing_is_explained_twice(model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    store = Store(tmp_path)
    first = evaluate_localisation(model, small(), replace(PLAN, limit=2), store)
    assert sorted(counted.pictures) == ["case-0", "case-1"] and first.measured.kept == 0
    second = evaluate_localisation(model, small(), PLAN, store)
    assert sorted(counted.pictures) == ["case-0", "case-1", "case-2", "case-3"]
    assert second.measured.kept == 8 and second.measured.made == 8
    other = replace(PLAN, localisation=Localise(sign="absolute", share=0.1))  # other scores, the same maps
    assert evaluate_localisation(model, small(), other, store).measured.made == 16
    assert len(counted.pictures) == 4
    third = evaluate_localisation(model, small(), PLAN, store)
    assert third.measured.made == 0 and len(counted.pictures) == 4
    assert [replace(r, note=None) for r in third.tables.scores] == [replace(r, note=None) for r in second.tables.scores]
    store.path(second.measured.subjects[0].maps["gradcam"].key).write_bytes(b"damaged")
    store.path(second.measured.subjects[0].scores["gradcam"]).unlink()
    evaluate_localisation(model, small(), PLAN, store)
    assert counted.pictures[4:] == ["case-0"], "what is damaged is made again, and nothing else"
    evaluate_localisation(model, small(), replace(PLAN, explainers=("gradcam:relu=false",)), store)
    assert len(counted.pictures) == 9, "another setting is another cell"


def test_a_map_that_fails_stays_in_the_mean_as_an_empty_one(
    model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(radiograph: Radiograph) -> Exception | None:
        return InputError(radiograph.name, "it cannot be explained", "give another") if "1" in radiograph.name else None

    Counted(monkeypatch, fail)
    found = evaluate_localisation(model, small(), PLAN, Store(tmp_path))
    assert len(found.failures) == 1 and "case-1" in found.failures[0] and "gradcam" in found.failures[0]
    rows = {(r.explainer, r.finding, r.metric, r.slice): r for r in found.tables.scores}
    assert rows[HIT].n == 3 and rows[HIT].value == pytest.approx(2 / 3) and "count as empty" in (rows[HIT].note or "")
    overlap = rows["gradcam", "nodule", "iou_true_positive:otsu_filled", "all"]
    assert overlap.n == 2, "an empty mask has no true-positive IoU"


def test_controls_alone_are_no_answer(
    model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GradCam, "needs", frozenset({"telepathy"}))
    with pytest.raises(UnmetNeed, match=r"no explainer is left\. gradcam needs telepathy.*these work with it"):
        evaluate_localisation(model, small(), PLAN, Store(tmp_path))
    both = replace(PLAN, explainers=("gradcam", "occlusion"))
    assert set(evaluate_localisation(model, small(), both, Store(tmp_path)).skipped) == {"gradcam"}


def test_a_picture_that_cannot_be_read_is_listed_and_an_unmet_need_is_a_skip(
    model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Radiograph:
        raise InputError("bad.png", "it is no picture", "give another")

    bad = replace(case(9, ["nodule"], [box("nodule")], nodule=1), open=refuse)
    found = evaluate_localisation(model, Small((*small().members, bad)), PLAN, Store(tmp_path))
    assert [f for f in found.failures if f.startswith("case-9: bad.png")] and found.measured.pictures == 6
    Counted(monkeypatch, lambda _: UnmetNeed("no gradients here"))
    skipped = evaluate_localisation(model, small(), PLAN, Store(tmp_path / "other"))
    assert skipped.skipped == {"gradcam": "no gradients here"} and not skipped.failures
    assert {r.explainer for r in skipped.tables.scores} == {"edges", "centre", "random"}
    localisation_into(tmp_path / "controls", model, small(), PLAN)
    assert "(control)" in (tmp_path / "controls" / "report.html").read_text(), "pictures of the controls alone"


def test_thresholds_come_from_the_validation_split_alone(model: whyray.Classifier, tmp_path: Path) -> None:
    shifted = [box("nodule", as_mask=True, shift=40)]
    validation = [case(10 + i, ["nodule"], shifted, split="val", nodule=1) for i in range(3)]
    data = Small((*small().members, *validation))
    test_only = job  # the split is chosen as on the command line
    from whyray.datasets._resolve import OneSplit

    part = OneSplit(data, "test", "small#test", data.findings, data.licence)
    told: list[tuple[int, int, str]] = []
    found = evaluate_localisation(model, part, PLAN, Store(tmp_path), report=lambda *count: told.append(count))
    assert [item for done, total, item in told if done == total == 0] == [job.TUNING.format(most=3, all=3)]
    assert told[0][2] == "pictures" and told[-1] == (3, 3, "pictures of the validation split"), told
    told.clear()
    evaluate_localisation(model, part, PLAN, Store(tmp_path), report=lambda *count: told.append(count))
    assert told[-1][:2] == (0, 0), "what is kept is not counted again"
    tried = [metric.threshold_ious(_map(model, c), c.regions()[0].mask, "positive") for c in validation]  # type: ignore[arg-type]
    assert found.tables.thresholds["gradcam"]["nodule"] == metric.best(np.array(tried), metric.THRESHOLDS).value
    assert np.isnan(found.tables.thresholds["gradcam"]["pleural_effusion"]), "validation has none"
    rows = {(r.explainer, r.finding, r.metric, r.slice): r for r in found.tables.scores}
    assert rows["gradcam", "pleural_effusion", "iou:tuned", "all"].n == 0
    assert rows["gradcam", "nodule", "iou_true_positive:tuned", "all"].n == 3
    mixed = evaluate_localisation(model, data, PLAN, Store(tmp_path))
    assert "validation split" in mixed.facts["not_tuned"] and not mixed.tables.thresholds
    assert not [r for r in mixed.tables.scores if r.metric.endswith(":tuned")]
    assert test_only.TUNING_CASES >= 3


def test_a_validation_picture_that_cannot_be_read_is_listed(model: whyray.Classifier, tmp_path: Path) -> None:
    def broken() -> Radiograph:
        raise InputError("bad.png", "it is broken", "copy it again")

    from whyray.datasets._resolve import OneSplit

    validation = (
        replace(case(10, [], [], split="val"), open=broken),
        case(11, ["nodule"], [box("nodule")], split="val"),
    )
    data = Small((*small().members, *validation))
    part = OneSplit(data, "test", "small#test", data.findings, data.licence)
    found = evaluate_localisation(model, part, PLAN, Store(tmp_path))
    assert [f.partition(":")[0] for f in found.failures] == ["case-10"]
    assert not np.isnan(found.tables.thresholds["gradcam"]["nodule"])


def test_nothing_drawn_names_whole_findings_and_what_fits() -> None:
    wanted = [f.id for f in whyray.findings.FINDINGS]
    said = str(nothing_drawn("theirs", wanted, {"blob": 1, "spot": 3}))
    named = said.partition("a region of ")[2].partition(", … ")[0].split(", ")
    assert set(named) <= set(wanted) and "spot (3), blob (1)" in said and f"--map {wanted[0]}=spot" in said
    said = str(nothing_drawn("theirs", wanted, {}))
    assert "--map" not in said and "evaluate faithfulness" in said


def _map(model: whyray.Classifier, case: Case) -> np.ndarray:
    made = whyray.explain(model, case.radiograph(), findings=["nodule"], explainers=["gradcam"])["nodule", "gradcam"]
    return np.asarray(made.at_source())  # type: ignore[attr-defined]


def test_tolerance_signs_where_and_the_published_scheme(model: whyray.Classifier, tmp_path: Path) -> None:
    local = Localise(modes=("otsu_filled",), tolerance_px=300.0, signs={"gradcam": "negative"}, cutoff=0.0)
    plan = replace(PLAN, localisation=local, where={"dataset": "ours"})
    found = evaluate_localisation(model, small(), plan, Store(tmp_path))
    assert found.measured.pictures == 3 and found.facts["signs"]["gradcam"] == "negative"
    rows = {(r.explainer, r.finding, r.metric, r.slice): r for r in found.tables.scores}
    assert rows["random", "nodule", "hit_tolerance", "all"].value == 1.0
    assert rows["gradcam", "nodule", "hit_tolerance", "all"].value == 0.0, "nothing speaks against: an empty map"
    published = replace(plan, localisation=replace(local, scheme="chexlocalize"))
    again = evaluate_localisation(model, small(), published, Store(tmp_path))
    assert again.measured.made == 0, "intervals are no part of a cell"
    with pytest.raises(DataError, match="no case has"):
        evaluate_localisation(model, small(), replace(plan, where={"dataset": "nobody's"}), Store(tmp_path))


def test_a_parent_is_no_second_finding() -> None:
    assert most_specific(["lung_opacity", "consolidation"]) == ("consolidation",)
    assert most_specific(["lung_lesion", "nodule", "mass", "no_finding"]) == ("nodule", "mass")
    assert most_specific(["lung_opacity"]) == ("lung_opacity",)


def test_the_folder_is_whole(model: whyray.Classifier, tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = localisation_into(out, model, small(), PLAN)
    told = json.loads((out / "scores.json").read_text())
    assert len(told["rows"]) == len(found.tables.scores) and told["facts"]["map"] and told["differences"]["hit"]
    assert (out / "scores.csv").read_text().count("\n") == len(found.tables.scores) + 1
    table = read_table(out / "chexlocalize" / "gradcam" / "iou_results_per_cxr.csv")
    assert table.ids == ("case-0", "case-1", "case-2", "case-3") and set(table.findings) == set(BOXES)
    assert not (out / "chexlocalize" / "gradcam" / "tuning_results.csv").exists()
    page = (out / "report.html").read_text()
    for word in (
        "Not for clinical use",
        "(control)",
        "IoU true-positive",
        "IoU full",
        "n=3",
        "Holm",
        "several findings",
    ):
        assert word.lower() in page.lower(), word
    assert page.count("<svg") >= 5 and page.count("data:image/jpeg") >= 10
    assert "<script" not in page and "http://www.w3.org" in page and "https://" not in page
    assert (out / "plan.toml").read_text().startswith('dataset = "small"')
    with locked(out), pytest.raises(LockedError):
        localisation_into(out, model, small(), PLAN)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError):
        localisation_into(tmp_path / "file", model, small(), PLAN)


def test_tuned_thresholds_are_written_as_chexlocalize_does(model: whyray.Classifier, tmp_path: Path) -> None:
    from whyray.datasets._resolve import OneSplit

    validation = case(10, ["nodule"], [box("nodule")], split="val", nodule=1)
    whole = Small((*small().members, validation))
    localisation_into(tmp_path, model, OneSplit(whole, "test", "small#test", whole.findings, ""), PLAN)
    assert set(read_thresholds(tmp_path / "chexlocalize" / "gradcam" / "tuning_results.csv")) == {"nodule"}


def test_another_engine_is_another_cell(
    model: whyray.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same settings ("auto") run on another backend where one is installed: the maps differ, so do the keys."""
    from types import SimpleNamespace

    from whyray.engine import backends
    from whyray.jobs._maps import Maker
    from whyray.registry import explainer

    asked, keys = {"occlusion": explainer("occlusion"), "edges": explainer("edges")}, []
    for name in ("torch/float32/cpu", "openvino/bfloat16/cpu"):
        monkeypatch.setattr(backends, "runner_for", lambda *_, name=name: SimpleNamespace(name=name))
        maker = Maker(model, asked, 0, Store(tmp_path))
        keys.append({label: maker.cell(label, picture(0), ["nodule"], "f" * 64).key for label in asked})
    assert keys[0]["occlusion"] != keys[1]["occlusion"] and keys[0]["edges"] == keys[1]["edges"]
