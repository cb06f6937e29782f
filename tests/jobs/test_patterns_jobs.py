"""From activations and a bank to its description, page and names, on phantoms seen by the bundled classifier."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator_server import Reply, Server, said
from scipy.linalg import qr

from whyray.contracts import Classifier
from whyray.errors import DataError, FingerprintError, UnknownName
from whyray.jobs import patterns_name, patterns_page
from whyray.jobs.patterns import bank_folder, browse_patterns, list_patterns, pattern_lines
from whyray.jobs.patterns_describe import GALLERIES, Described, describe, fired_on, subjects_of
from whyray.jobs.patterns_name import NAMES, case_in_words, describer, name_patterns
from whyray.patterns.activations import ActivationStore, Part, write_activations
from whyray.patterns.annotator import Annotator, Budget
from whyray.patterns.bank import Pattern, PatternBank, load_bank, save_bank
from whyray.patterns.galleries import load_galleries
from whyray.patterns.naming import Checked, cases_of
from whyray.types import Case

SPEC = "phantom:train=40,val=24,test=2,size=64"
PATTERNS, WIDTH = 3, 6


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    from whyray.models._resolve import load_model

    return load_model("mini")


@pytest.fixture(scope="module")
def activations(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from whyray.datasets._resolve import load_dataset

    folder = tmp_path_factory.mktemp("activations")
    return write_activations(classifier, [Part(SPEC, load_dataset(SPEC).cases())], folder)


@pytest.fixture(scope="module")
def made(classifier: Classifier, activations: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Described]:
    """A bank of one member whose latents read single channels, each above a level that two images in ten reach."""
    store = ActivationStore(activations)
    site, tokens = store.site, store.tokens(range(len(store)))
    peaks = tokens.max(axis=1)
    channels = qr(peaks - peaks.mean(axis=0), mode="r", pivoting=True)[1][:WIDTH]  # as unlike as can be
    rows = np.eye(site.d_in, dtype=np.float32)[channels]
    bank = PatternBank(
        fingerprint=classifier.fingerprint,
        findings=classifier.findings,
        site=site,
        basis=None,
        members=1,
        k=WIDTH,
        kind="jumprelu",
        encoder=rows,
        encoder_bias=np.zeros(WIDTH, np.float32),
        threshold=np.quantile(peaks[:, channels], 0.8, axis=0).astype(np.float32),
        readout=(rows @ site.weights.T).astype(np.float32),
        base=np.zeros(len(classifier.findings)),
        cluster=np.arange(WIDTH) % PATTERNS,
        patterns=tuple(
            Pattern(f"p{i:04d}", relevance=1.0 - i / 10, density=0.1, stability=0.5, findings=("edema",) if i else ())
            for i in range(PATTERNS)
        ),
        facts={"funnel": [{"gate": "density", "after": 6}, {"gate": "stability", "after": 3}]},
    )
    folder = save_bank(tmp_path_factory.mktemp("bank"), bank)
    return folder, describe(folder, activations, classifier, anatomy=6)


def test_a_description_is_of_pictures_outside_the_test_split(made: tuple[Path, Described], activations: Path) -> None:
    _, described = made
    assert {case.split for case in described.subjects.cases} == {"train", "val"}
    assert len(described.subjects.rows) == 64
    assert len(subjects_of(ActivationStore(activations), 20).rows) == 20


def test_strengths_are_those_of_the_bank_and_effects_add_up(made: tuple[Path, Described], activations: Path) -> None:
    _, described = made
    store, rows = ActivationStore(activations), described.subjects.rows[:5]
    assert described.fired.strengths[:5] == pytest.approx(described.bank.activations(store.tokens(rows)), rel=1e-3)
    strengths = described.fired.strengths[:, 0]
    top = np.argsort(-strengths, kind="stable")[:20]
    maps = described.bank.maps(store.tokens(described.subjects.rows[top[strengths[top] > 0]]))
    activity = maps.mean(axis=2).mean(axis=0)
    assert activity[0] > 0 and np.isfinite(described.effects).all()
    latents = np.flatnonzero(described.bank.cluster == 0)
    column = described.bank.findings.index("edema")
    bounds = np.sort(described.bank.readout[latents, column] * activity[0])
    assert bounds[0] - 1e-6 <= described.effects[0, column] <= bounds[-1] + 1e-6


def test_galleries_name_cases_that_exist_and_fire(made: tuple[Path, Described], classifier: Classifier) -> None:
    folder, described = made
    shown, about = load_galleries(folder / GALLERIES, classifier.fingerprint)
    assert list(described.galleries) == shown and len(about) == PATTERNS
    for gallery in shown:
        assert len(gallery.top) == 12 and len(gallery.near_misses) == 6
        assert all(f.dataset == SPEC and f.region and f.cell in f.region for f in gallery.top)
        assert [f.activation for f in gallery.top] == sorted((f.activation for f in gallery.top), reverse=True)
    assert all({"effects", "evidence", "origin"} <= set(facts) for facts in about)


def test_what_was_computed_is_kept(
    made: tuple[Path, Described], activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, described = made
    monkeypatch.setattr("whyray.jobs.patterns_describe.decompose", lambda *_a: pytest.fail("computed again"))
    _, again, effects = fired_on(folder, load_bank(folder, classifier), ActivationStore(activations))
    assert np.array_equal(again.strengths, described.fired.strengths)
    assert effects == pytest.approx(described.effects, rel=1e-5)


def test_activations_of_another_classifier_are_refused(
    made: tuple[Path, Described], activations: Path, classifier: Classifier, tmp_path: Path
) -> None:
    folder, _ = made
    other = shutil.copytree(activations, tmp_path / "other")
    head = json.loads((other / "activations.json").read_text())
    (other / "activations.json").write_text(json.dumps({**head, "fingerprint": "e" * 64}))
    with pytest.raises(FingerprintError, match="whyray activations"):
        describe(folder, other, classifier)


def test_a_store_of_test_pictures_describes_nothing(classifier: Classifier, tmp_path: Path) -> None:
    from whyray.datasets._resolve import load_dataset

    spec = "phantom:test=2,size=64"
    write_activations(classifier, [Part(spec, load_dataset(spec).cases("test"))], tmp_path)
    with pytest.raises(DataError, match="test pictures only"):
        subjects_of(ActivationStore(tmp_path), 10)


def test_the_list_filters_and_tells_one_in_full(made: tuple[Path, Described], classifier: Classifier) -> None:
    folder, _ = made
    rows = list_patterns(classifier, folder)
    assert [row["id"] for row in rows] == ["p0000", "p0001", "p0002"]
    assert [row["id"] for row in list_patterns(classifier, folder, finding="Edema")] == ["p0001", "p0002"]
    assert list_patterns(classifier, folder, category="device") == [r for r in rows if r["category"] == "device"]
    (one,) = list_patterns(classifier, folder, pattern="p0001")
    text = "\n".join(pattern_lines([one], in_full=True))
    assert one["gallery"]["top"][0]["case"] in text and "to the logit of" in text
    assert len(list(pattern_lines(rows))) == 4
    for wrong in ({"pattern": "p0009"}, {"category": "lungs"}):
        with pytest.raises(UnknownName):
            list_patterns(classifier, folder, **wrong)
    assert bank_folder(classifier, folder) == folder


def test_the_page_draws_phantoms_again_and_copies_nothing_else(
    made: tuple[Path, Described], classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, described = made
    text = browse_patterns(classifier, tmp_path / "page" / "bank.html", folder).read_text()
    images = {f.case for g in described.galleries for group in vars(g).values() for f in group}
    assert text.count("data:image/jpeg") == len(images) and "not copied" not in text.partition("<template")[0]
    assert "density" in text and "stability" in text
    few = patterns_page.browse(folder, tmp_path / "few.html", classifier, most=3).read_text()
    assert few.count("data:image/jpeg") == 3 and f"{len(images) - 3} of {len(images)} images are named" in few


def test_other_pictures_are_copied_with_consent_only(
    made: tuple[Path, Described], classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same gallery, as if it came from a hospital's folder."""
    folder, _ = made
    phantoms = patterns_page.cases_by_id(SPEC)
    opened: list[str] = []

    def hospital(spec: str) -> Any:
        opened.append(spec)
        return phantoms

    kept = load_galleries
    private = "folder:/hospital"

    def renamed(path: Path, fingerprint: str) -> Any:
        shown, about = kept(path, fingerprint)
        moved = [
            type(g)(*(tuple(f._replace(dataset=private) for f in group) for group in vars(g).values())) for g in shown
        ]
        return moved, about

    monkeypatch.setattr(patterns_page, "load_galleries", renamed)
    monkeypatch.setattr(patterns_page, "cases_by_id", hospital)
    text = browse_patterns(classifier, tmp_path / "a.html", folder).read_text()
    assert "data:image/jpeg" not in text and opened == [], "neither copied nor read"
    assert '"src":null' in text
    text = browse_patterns(classifier, tmp_path / "b.html", folder, embed=True).read_text()
    assert "data:image/jpeg" in text and opened == [private]


class Voice:
    """Answers as a model would: it names, then says yes where ``knows`` says so of (words, picture)."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self.knows, self.asked, self.pictures = knows, 0, 0

    def __call__(self, annotator: Annotator, body: bytes) -> Any:
        self.asked += 1
        content = json.loads(body)["messages"][0]["content"]
        self.pictures += sum(part["type"] == "image_url" for part in content)
        words = content[-1]["text"] if content[-1]["type"] == "text" else content[-2]["text"]
        naming = "Find the ONE visible feature" in content[0]["text"]
        said = {"name": "bright rim", "confident": True} if naming else {"shows": self.knows(words)}
        return {"choices": [{"message": {"content": json.dumps(said)}}], "usage": {"total_tokens": 100}}


def named(
    folder: Path,
    activations: Path,
    classifier: Classifier,
    budget: Budget,
    pictures: bool = False,
    url: str = "http://127.0.0.1:9/v1",
) -> Any:
    service = Annotator(url, "voice", pictures)
    return name_patterns(folder, activations, classifier, service, budget, sleep=lambda _s: None)


@pytest.fixture
def copy(made: tuple[Path, Described], tmp_path: Path) -> Path:
    return shutil.copytree(made[0], tmp_path / "bank")


def test_an_annotator_that_always_says_yes_names_nothing(
    copy: Path, activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_bank(copy, classifier).patterns
    voice = Voice(lambda _words: True)
    monkeypatch.setattr("whyray.patterns.annotator._post", voice)
    found = named(copy, activations, classifier, Budget(10_000, 10**7))
    assert found.adopted == 0 and voice.pictures == 0, "no picture without consent"
    checked = [one for one in found.names.values() if one.name]
    assert checked and all(one.accuracy == 0.5 and one.hits == one.positives for one in checked)
    assert repr(load_bank(copy, classifier).patterns) == repr(before), "the names are as they were"


def test_names_that_hold_are_adopted_with_their_figures(
    copy: Path, made: tuple[Path, Described], activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voice that knows the truth: it looks up whether the described case was a positive."""
    truth: list[bool] = []
    original = patterns_name.describer

    def telling(bank: Any, subjects: Any, fired: Any, model: Any, pictures: bool) -> Any:
        describe = original(bank, subjects, fired, model, pictures)

        def told(image: int, pattern: int) -> Any:
            truth.append(pattern == current[-1])
            return describe(image, pattern)

        return told

    current: list[int] = []
    cases_of = patterns_name.cases_of

    def noted(fired: Any, pattern: int, patients: Any) -> Any:
        current.append(pattern)
        return cases_of(fired, pattern, patients)

    monkeypatch.setattr(patterns_name, "describer", telling)
    monkeypatch.setattr(patterns_name, "cases_of", noted)
    voice = Voice(lambda _words: truth[-1])
    monkeypatch.setattr("whyray.patterns.annotator._post", voice)
    found = named(copy, activations, classifier, Budget(10_000, 10**7), pictures=True)
    assert found.adopted == PATTERNS and voice.pictures >= voice.asked, "each question shows its cases"
    assert all(one.accuracy == 1 and 0.6 < one.low < 1 for one in found.names.values())
    bank = load_bank(copy, classifier)
    assert {p.name for p in bank.patterns} == {"bright rim"}
    _, about = load_galleries(copy / GALLERIES, classifier.fingerprint)
    assert all("balanced accuracy 1.00 [0." in facts["origin"] for facts in about)
    gap = found.names["p0000"].gap
    told = f"mean gap {gap:.2f}"
    assert 0 <= gap <= 1 and told in about[0]["origin"] and told in next(found.lines())
    asked = voice.asked
    assert named(copy, activations, classifier, Budget(0, 0), pictures=True).adopted == PATTERNS
    assert voice.asked == asked, "what was answered is not asked again"


def test_a_spent_budget_ends_the_run_and_keeps_what_was_answered(
    copy: Path, activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Voice(lambda _words: False)
    monkeypatch.setattr("whyray.patterns.annotator._post", voice)
    found = named(copy, activations, classifier, Budget(30, 10**7))
    assert voice.asked <= 30 and found.requests <= 30 and "raise --most-requests" in found.ended
    assert 1 <= len(found.names) < PATTERNS and set(json.loads((copy / NAMES).read_text())["names"]) == set(found.names)
    assert "budget is spent" in list(found.lines())[-1]


def test_a_bank_built_anew_in_the_folder_gets_none_of_the_old_names(
    copy: Path, activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Voice(lambda _words: False)
    monkeypatch.setattr("whyray.patterns.annotator._post", voice)
    answered = named(copy, activations, classifier, Budget(10_000, 10**7)).names
    assert set(named(copy, activations, classifier, Budget(0, 0)).names) == set(answered)
    bank = load_bank(copy, classifier)
    save_bank(copy, replace(bank, cluster=np.roll(bank.cluster, 1)))
    assert named(copy, activations, classifier, Budget(0, 0)).names == {}


def test_answers_to_other_questions_are_not_kept(
    copy: Path, activations: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whyray.patterns.annotator._post", Voice(lambda _words: False))
    nothing = Budget(0, 0)
    answered = set(named(copy, activations, classifier, Budget(10_000, 10**7)).names)
    assert answered and set(named(copy, activations, classifier, nothing).names) == answered
    assert set(named(copy, activations, classifier, nothing, url="http://127.0.0.1:9/v1/").names) == answered
    assert named(copy, activations, classifier, nothing, pictures=True).names == {}
    assert named(copy, activations, classifier, nothing, url="http://127.0.0.1:8/v1").names == {}
    service = Annotator("http://127.0.0.1:9/v1", "voice")
    assert name_patterns(copy, activations, classifier, service, nothing, images=40).names == {}
    for constant, value in (("prompt", str.upper), ("SHOWN", 7), ("CONTROLS", 3), ("CHECKED", 10)):
        with monkeypatch.context() as patch:
            patch.setattr(patterns_name, constant, value)
            assert named(copy, activations, classifier, nothing).names == {}, constant
    assert set(named(copy, activations, classifier, nothing).names) == answered


def test_a_file_of_names_of_another_form_is_asked_anew(tmp_path: Path) -> None:
    asked, one = {"model": "voice"}, Checked("tube", 0.9, 0.7, 1.0, 11, 12, 11, 12, 0.1)
    patterns_name._keep(tmp_path, asked, {"p0000": one, "p0001": Checked(trouble="no answer")})
    assert patterns_name._kept(tmp_path, asked) == {"p0000": one}
    held = json.loads((tmp_path / NAMES).read_text())["names"]
    old = {"model": "voice", "bank": "b" * 64, "names": held}
    odd = ({"asked": asked, "names": names} for names in (list(held), {"p0000": "tube"}, {"p0000": {"title": "tube"}}))
    for content in ("", "[]", "1", *map(json.dumps, (old, *odd))):
        (tmp_path / NAMES).write_text(content)
        assert patterns_name._kept(tmp_path, asked) == {}, content


def test_names_come_through_a_real_server(copy: Path, activations: Path, classifier: Classifier) -> None:
    """Over HTTP, in the protocol of chat completions: a model that knows each pattern by the pictures it was sent, and
    is busy once. Nothing of ours is replaced."""
    bank = load_bank(copy, classifier)
    subjects, fired, _ = fired_on(copy, bank, ActivationStore(activations))
    describe = describer(bank, subjects, fired, classifier, True)
    order = range(PATTERNS)  # by relevance, which falls with the number
    shows = {
        (f"feature {p}", describe(image, p).png)
        for p in order
        for image in cases_of(fired, p, subjects.patients).positives
    }
    names: list[str] = []

    def answer(question: dict[str, Any]) -> Reply:
        content = question["messages"][0]["content"]
        if "Find the ONE visible feature" in content[0]["text"]:
            names.append(f"feature {len(names)}")
            return said(json.dumps({"name": names[-1], "confident": True}), tokens=900)
        picture = base64.b64decode(content[-1]["image_url"]["url"].partition(",")[2])
        fits = (names[-1], picture) in shows and f'"{names[-1]}"' in content[0]["text"]
        return said(f"Sure: {json.dumps({'shows': fits})}", tokens=100)

    server = Server([(503, {"Retry-After": "3"}, b"busy"), answer])
    try:
        waits: list[float] = []
        annotator, budget = Annotator(server.url, "some-model", pictures=True), Budget(1000, 10**6)
        found = name_patterns(copy, activations, classifier, annotator, budget, sleep=waits.append)
    finally:
        server.close()
    checks = sum(one.positives + one.negatives for one in found.names.values())
    assert found.adopted == PATTERNS and all(one.accuracy == 1 for one in found.names.values())
    assert len(server.asked) == found.requests == 1 + PATTERNS + checks and waits == [3.0]
    assert budget.used_tokens == found.tokens > 900 * PATTERNS + 100 * checks, "the busy answer is an estimate"
    assert set(server.paths) == {"/v1/chat/completions"} and {q["model"] for q in server.asked} == {"some-model"}
    assert [p.name for p in load_bank(copy, classifier).patterns] == [f"feature {p}" for p in order]
    _, about = load_galleries(copy / GALLERIES, classifier.fingerprint)
    assert all(facts["origin"].startswith("Named by some-model; right on ") for facts in about)
    assert set(json.loads((copy / NAMES).read_text())["names"]) == {p.id for p in bank.patterns}


def test_a_case_in_words_tells_labels_and_view_only() -> None:
    case = Case(
        "secret-id", pytest.fail, {"edema": 1.0, "mass": 0.0, "hernia": float("nan")}, "jane", facts={"view": "AP"}
    )
    assert case_in_words(case) == "View AP. Present: edema. Absent: mass."
