"""The analysis of a reader study from file to figures, as a user meets it."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from whyray import api
from whyray.cli import main
from whyray.errors import DataError, SettingError
from whyray.io.ratings import COLUMNS


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """Two readers, 24 cases, two questions; the animation adds 0.8 on right predictions and nothing on wrong ones."""
    rng, path = np.random.default_rng(0), tmp_path / "ratings.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "comment"])
        for reader, case, arm, question in itertools.product(
            "AB", range(24), ("animation", "maps"), ("confidence", "feature")
        ):
            right = case % 2
            gain = 0.8 * right * (arm == "animation") * (question == "confidence")
            read = 1 + ((case < 12) == (arm == "maps"))
            rating = 3 + gain + rng.normal(0, 0.4)
            writer.writerow(
                [
                    reader,
                    read,
                    case,
                    arm,
                    "TP" if right else "FP",
                    ("mass", "edema")[case % 3 == 0],
                    question,
                    rating,
                    "x",
                ]
            )
    return path


def test_the_second_arm_gains_on_right_predictions_only(ratings: Path) -> None:
    study = api.analyse_study(ratings, arms="maps,animation")
    gains = {(g.question, g.slice, g.finding): g for g in study.gains}
    right, wrong = gains["confidence", "right", "all"], gains["confidence", "wrong", "all"]
    assert right.n == wrong.n == 24 and right.difference > 0.5 and right.low > 0 and abs(wrong.difference) < 0.3
    assert gains["feature", "right", "all"].low < 0 < gains["feature", "right", "all"].high
    assert [r["question"] for r in study.reliance] == ["confidence", "feature"] and study.reliance[0]["low"] > 0
    assert {a.between for a in study.agreement} == {"A and B", "A, reads 1 and 2", "B, reads 1 and 2"}
    assert any("2 readers" in note for note in study.notes)
    swapped = api.analyse_study(ratings)  # alphabetical: animation first
    assert swapped.gains[0].difference == pytest.approx(-study.gains[0].difference)


def test_text_and_json_say_the_same(ratings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["study", "analyse", str(ratings), "--arms", "maps,animation", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert not stop.value.code and told["arms"] == ["maps", "animation"]
    with pytest.raises(SystemExit):
        main(["study", "analyse", str(ratings), "--arms", "maps,animation"])
    text = capsys.readouterr().out
    assert f"{told['gains'][0]['difference']:+.3f}" in text and "over-reliance, confidence" in text
    with pytest.raises(SystemExit):
        main(["study", "size", "--difference", "0.25", "--sd", "1", "--json"])
    assert json.loads(capsys.readouterr().out)["pairs"] == 132


def test_plots_show_the_figures_of_the_analysis(ratings: Path, tmp_path: Path) -> None:
    study = api.analyse_study(ratings, arms="maps,animation")
    with pytest.raises(SystemExit) as stop:
        main(["study", "analyse", str(ratings), "--arms", "maps,animation", "-o", str(tmp_path / "out")])
    assert not stop.value.code
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        "study.json",
        *(f"{n}.{k}" for n in ("gains", "over-reliance", "agreement") for k in ("svg", "png")),
    }
    told = {n: (tmp_path / "out" / f"{n}.svg").read_text() for n in ("gains", "over-reliance", "agreement")}
    for g in study.gains:
        number = f"{g.difference:+.2f} [{g.low:+.2f}, {g.high:+.2f}] n = {g.n}"
        assert (number in told["gains"]) or g.slice != "all", g
        assert (number in told["over-reliance"]) or g.slice == "all" or g.finding != "all", g
    right, wrong = (told["over-reliance"].index(f">{w} predictions<") for w in ("right", "wrong"))
    assert right < wrong < told["over-reliance"].index(">right less wrong<")
    r = study.reliance[0]
    assert f"{r['difference']:+.2f} [{r['low']:+.2f}, {r['high']:+.2f}]" in told["over-reliance"]
    for a in study.agreement:
        assert f"{a.icc:+.2f} [{a.icc_low:+.2f}, {a.icc_high:+.2f}] n = {a.n}" in told["agreement"]
    assert json.loads((tmp_path / "out/study.json").read_text())["arms"] == ["maps", "animation"]


def test_a_study_of_one_reader_has_plots_without_agreement(ratings: Path, tmp_path: Path) -> None:
    lines = ratings.read_text().splitlines()
    alone = [line for line in lines[1:] if line.startswith("A,") and ",TP," in line]
    ratings.write_text("\n".join([lines[0], *(f"A,1,{line.split(',', 2)[2]}" for line in alone)]) + "\n")
    folder = api.analyse_study(ratings).save(tmp_path / "out")
    assert {p.stem for p in folder.glob("*.png")} == {"gains", "over-reliance"}
    assert ">none<" in (folder / "over-reliance.svg").read_text()


def test_arms_that_cannot_be_compared_are_said(ratings: Path) -> None:
    with pytest.raises(SettingError, match="give two"):
        api.analyse_study(ratings, arms="maps")
    with pytest.raises(DataError, match="no reader rated"):
        api.analyse_study(ratings, arms="maps,video")
    ratings.write_text(ratings.read_text() + "A,3,1,video,TP,mass,confidence,3,\n", encoding="utf-8")
    with pytest.raises(DataError, match="3 arms came"):
        api.analyse_study(ratings)
