"""Forms out, filled forms in: blinded, balanced, and the figures that come of them."""

from __future__ import annotations

import base64
import csv
import html
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray import api
from whyray.cli import main
from whyray.errors import DataError, SettingError
from whyray.jobs.study_forms import LEVELS, QUESTION, SHORTCOMINGS, export_forms, import_forms

Fill = Callable[[dict[str, str]], tuple[str, str]]


@pytest.fixture
def arms(tmp_path: Path) -> dict[str, Path]:
    """Twelve cases with two arms; every third prediction is wrong; one case that only the first arm has."""
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))).save(tmp_path / "picture.png")
    files = {}
    for arm in ("learned", "template"):
        count = 13 if arm == "learned" else 12
        lines = [
            {"case": f"c{i}", "diagnosis": "Pneumonia", "nle": f"{arm} says <{i}>", "right": int(i % 3 > 0)}
            | {"image": "picture.png"}
            for i in range(count)
        ]
        files[arm] = tmp_path / f"{arm}.jsonl"
        files[arm].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return files


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill(folder: Path, answer: Fill) -> list[Path]:
    """Fill every form with ``answer(row of the key)``."""
    key = {row["item"]: row for row in rows(folder / "key.csv")}
    forms = sorted(folder.glob("form-*.csv"))
    for form in forms:
        lines = rows(form)
        with open(form, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            for line in lines:
                said, marked = answer(key[line["item"]])
                writer.writerow({**line, QUESTION: said, "shortcomings": marked})
    return forms


def test_every_reader_sees_every_case_with_every_arm_once(tmp_path: Path, arms: dict[str, Path]) -> None:
    made = export_forms(arms, tmp_path / "out", readers=["A", "B"], seed=1)
    key = rows(tmp_path / "out/key.csv")
    assert (made.items, made.reads, made.readers) == (12, 2, 2) and len(key) == 48
    assert len({row["item"] for row in key}) == 48
    for reader in "AB":
        mine = [row for row in key if row["reader"] == reader]
        assert Counter((r["case"], r["arm"]) for r in mine) == Counter(
            {(f"c{i}", arm): 1 for i in range(12) for arm in arms}
        )
        assert all(n == 1 for n in Counter((r["case"], r["read"]) for r in mine).values()), "one arm a read"
        assert Counter((r["read"], r["arm"]) for r in mine) == Counter({(k, a): 6 for k in "12" for a in arms})
    orders = [[row["case"] for row in key if (row["reader"], row["read"]) == who] for who in (("A", "1"), ("B", "1"))]
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])
    assert any("learned: 1 explanations have no counterpart" in line for line in made.lines())


def test_a_form_does_not_say_which_arm_it_shows(tmp_path: Path, arms: dict[str, Path]) -> None:
    for arm, path in arms.items():
        path.write_text(path.read_text().replace(f"{arm} says", "An opacity"))
    export_forms(arms, tmp_path / "out", readers=["A"], pictures=tmp_path)
    for form in (tmp_path / "out").glob("form-*"):
        text = form.read_text()
        assert not any(word in text for word in (*arms, "truth")), form.name
    first, second = (tmp_path / f"{n}" for n in "xy")
    export_forms(arms, first, readers=["A"], seed=0), export_forms(arms, second, readers=["A"], seed=0)
    a, b = (rows(folder / "key.csv") for folder in (first, second))
    assert [r["case"] for r in a] == [r["case"] for r in b], "the draw is seeded"
    assert not {r["item"] for r in a} & {r["item"] for r in b}, "the names are not"


def test_the_page_is_whole_and_needs_no_network(tmp_path: Path, arms: dict[str, Path]) -> None:
    export_forms(arms, tmp_path / "out", readers=["A"], pictures=tmp_path, limit=3)
    page = (tmp_path / "out/form-A-1.html").read_text()
    assert page.count("<fieldset") == 3 and page.count('type="radio"') == 12 and "says &lt;" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page) and "default-src 'none'" in html.unescape(page)
    (first, *_) = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    assert base64.b64decode(first).startswith(b"\x89PNG")
    assert [r["item"] for r in rows(tmp_path / "out/form-A-1.csv")] == re.findall(r'data-item="(\w+)"', page)


def test_scores_by_hand(tmp_path: Path, arms: dict[str, Path]) -> None:
    export_forms(arms, tmp_path / "out", readers=["A", "B"])

    def answer(key: dict[str, str]) -> tuple[str, str]:
        if key["arm"] == "template":
            return "Weak  No", "Insufficient justification | confusing sentence"
        return ("yes", "none") if key["truth"] == "1" else ("weak yes", "")

    made = import_forms(tmp_path / "out", fill(tmp_path / "out", answer), tmp_path / "ratings.csv", replicates=200)
    scores = {(s.arm, s.slice): s for s in made.scores}
    assert scores["template", "all"].score == pytest.approx(1 / 3) and scores["template", "all"].n == 24
    learned = scores["learned", "all"]
    assert learned.score == pytest.approx((16 + 8 * 2 / 3) / 24) and learned.low < learned.score < learned.high
    assert learned.counts == {"yes": 16, "weak yes": 8, "weak no": 0, "no": 0}
    assert scores["learned", "wrong"].score == pytest.approx(2 / 3) and scores["learned", "right"].score == 1
    assert scores["template", "all"].shortcomings == {
        "incorrect description": 0, "insufficient justification": 1, "confusing sentence": 1
    }  # fmt: skip
    between = {a.between for a in made.agreement if a.question == QUESTION}
    assert "A and B" in between


def test_the_ratings_are_those_of_study_analyse(tmp_path: Path, arms: dict[str, Path]) -> None:
    export_forms(arms, tmp_path / "out", readers=["A", "B"])
    forms = fill(tmp_path / "out", lambda key: ("yes" if key["arm"] == "learned" else "no", "none"))
    import_forms(tmp_path / "out", forms, tmp_path / "ratings.csv", replicates=100)
    study = api.analyse_study(tmp_path / "ratings.csv")
    (gain,) = (g for g in study.gains if (g.question, g.finding, g.slice) == (QUESTION, "all", "all"))
    assert gain.difference == -1 and gain.n == 24 and study.arms == ("learned", "template")
    assert {g.question for g in study.gains} == {QUESTION, *SHORTCOMINGS}


def test_what_the_page_saves_can_be_read(tmp_path: Path, arms: dict[str, Path]) -> None:
    export_forms(arms, tmp_path / "out", readers=["A"])
    items = [row["item"] for row in rows(tmp_path / "out/form-A-1.csv")]
    saved = tmp_path / "saved.csv"
    saved.write_text("item,justifies,shortcomings,comment\n" + "".join(f'"{i}","no","none","a ""b"""\n' for i in items))
    made = import_forms(tmp_path / "out", [saved], tmp_path / "ratings.csv", replicates=50)
    assert {s.score for s in made.scores} == {0.0} and made.ratings == 4 * 12


def test_what_is_left_empty_is_counted(tmp_path: Path, arms: dict[str, Path]) -> None:
    export_forms(arms, tmp_path / "out", readers=["A"])
    forms = fill(tmp_path / "out", lambda key: ("" if key["case"] == "c3" else "yes", ""))
    made = import_forms(tmp_path / "out", forms[:1], tmp_path / "ratings.csv", replicates=50)
    assert made.notes == ("1 items were left empty", "12 items of the study are in none of these forms")
    assert made.ratings == 11, "no shortcoming was answered"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (("perhaps", ""), "'perhaps' came; yes, weak yes, weak no, no was wanted"),
        (("yes", "ugly"), "the shortcoming 'ugly' came"),
        (("", ""), "no form holds an answer"),
    ],
)
def test_what_cannot_be_read_names_the_row(
    tmp_path: Path, arms: dict[str, Path], answer: tuple[str, str], why: str
) -> None:
    export_forms(arms, tmp_path / "out", readers=["A"])
    with pytest.raises(DataError, match=why):
        import_forms(tmp_path / "out", fill(tmp_path / "out", lambda _: answer), tmp_path / "ratings.csv")


def test_a_form_of_another_study_is_refused(tmp_path: Path, arms: dict[str, Path]) -> None:
    for name in "xy":
        export_forms(arms, tmp_path / name, readers=["A"])
    forms = fill(tmp_path / "x", lambda _: ("yes", ""))
    with pytest.raises(DataError, match="is not of this study"):
        import_forms(tmp_path / "y", forms, tmp_path / "ratings.csv")
    with pytest.raises(DataError, match="or stands twice"):
        import_forms(tmp_path / "x", [forms[0], forms[0]], tmp_path / "ratings.csv")


def test_arms_that_cannot_be_compared(tmp_path: Path, arms: dict[str, Path]) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"case": "z", "diagnosis": "edema", "nle": "x", "right": 1}\n')
    with pytest.raises(DataError, match="no case and diagnosis is explained by every arm"):
        export_forms({**arms, "other": other}, tmp_path / "out", readers=["A"])
    other.write_text('{"case": "c1", "diagnosis": "Pneumonia", "nle": "x"}\n')
    with pytest.raises(DataError, match="says nowhere whether the prediction was right"):
        export_forms({**arms, "other": other}, tmp_path / "out", readers=["A"])
    with pytest.raises(DataError, match="need names of their own"):
        export_forms(arms, tmp_path / "out", readers=["A", "A"])
    with pytest.raises(SettingError, match=r"write NAME=FILE\.jsonl"):
        api.export_study(["x.jsonl"], tmp_path / "out", readers=["A"])


def test_references_are_an_arm_and_say_what_is_right(tmp_path: Path) -> None:
    labels = [[1, 0, 0]] * 8 + [[0, 1, 0]] + [[1, 0, 0]]
    real = {"sentence_ID": "s1#0", "nle": "Opacity may be pneumonia.", "img_labels": labels}
    (tmp_path / "real.jsonl").write_text(json.dumps({**real, "diagnosis_label": [0] * 8 + [1, 0]}) + "\n")
    made = {"sentence_ID": "s1#0", "diagnosis": "pneumonia", "nle": "Opacity."}
    (tmp_path / "made.jsonl").write_text(json.dumps(made) + "\n")
    files = {"made": tmp_path / "made.jsonl", "real": tmp_path / "real.jsonl"}
    export_forms(files, tmp_path / "out", readers=["A"], references=tmp_path / "real.jsonl")
    assert {row["truth"] for row in rows(tmp_path / "out/key.csv")} == {"1"}


def test_the_commands(tmp_path: Path, arms: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"{arm}={path}" for arm, path in arms.items()]
    with pytest.raises(SystemExit) as done:
        main(["study", "export", *files, "-o", str(tmp_path / "out"), "--readers", "A,B", "--limit", "4"])
    assert done.value.code == 0 and "keep it from the readers" in capsys.readouterr().out
    forms = fill(tmp_path / "out", lambda _: ("weak yes", "none"))
    with pytest.raises(SystemExit) as done:
        main(["study", "import", str(tmp_path / "out"), *map(str, forms), "-o", str(tmp_path / "r.csv"), "--json"])
    assert done.value.code == 0 and json.loads(capsys.readouterr().out)["scores"][0]["n"] == 8
    assert LEVELS == {"yes": 1, "weak yes": 2 / 3, "weak no": 1 / 3, "no": 0}
