"""The table of a bank beside its controls: a small run on phantoms, and again without work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import whyray
from whyray.contracts import Context
from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError, UnmetNeed
from whyray.jobs import _control_units, _units
from whyray.jobs._patterns_rows import _chosen, planted_rows
from whyray.jobs._units import inside_cells
from whyray.jobs.patterns_measured import patterns_into
from whyray.jobs.run import Cell, Ran
from whyray.jobs.store import Store
from whyray.patterns.bank import PatternBank, save_bank
from whyray.patterns.site import Basis, site_of
from whyray.types import Case, Radiograph, Region


def test_every_row_has_its_controls_and_nothing_is_made_twice(
    with_artefacts: Callable[[whyray.Classifier], Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini = whyray.load_model("mini")
    context = with_artefacts(mini)
    assert context.artefact is not None
    save_bank(tmp_path / "bank", context.artefact("patterns", mini.fingerprint))
    data = load_dataset("phantom:val=10,test=10")
    made = patterns_into(tmp_path / "out", mini, data, tmp_path / "bank")
    by = {(r.finding, r.metric, r.explainer): r for r in made.scores if r.slice is None}
    aucs = {k for k in by if k[1] == "planted_auc"}
    assert {k[2] for k in aucs} == {"patterns", "neurons", "random_weights", "ica", "generic"}
    assert list(made.skipped) == ["pca"] and made.facts["ica"]["components"] == 64
    scored = {name: {k[:2] for k in by if k[2] == name} for name in ("neurons", "ica", "generic")}
    assert scored["ica"] == scored["generic"] == scored["neurons"] and ("mass_ratio" in {m for _, m in scored["ica"]})
    assert {k[0] for k in aucs if k[2] == "patterns"} == {k[0] for k in aucs if k[2] == "neurons"}
    assert all(r.low <= r.value <= r.high and r.n == 10 for k, r in by.items() if k in aucs)
    test = data.cases("test")
    for row in (r for r in made.scores if r.slice == "severity 0.5 or more"):
        seen = [c.facts["severities"].get(row.finding, 0) for c in test]  # type: ignore[attr-defined]
        assert row.note and row.note.endswith(f", {sum(s >= 0.5 for s in seen)} positives")
        assert row.n == sum(c.labels[row.finding] == 0 or s >= 0.5 for c, s in zip(test, seen, strict=True))
        assert row.note.startswith(str(by[row.finding, "planted_auc", row.explainer].note).partition(",")[0])
    assert {r.finding for r in made.scores if r.slice} < {k[0] for k in aucs}
    assert by["all", "sum_gap", "patterns"].value < 1e-4
    assert by["edema", "size", "patterns"].n == 10 and by["edema", "logit_recovered", "patterns"].value <= 1
    assert json.loads((tmp_path / "out/scores.json").read_text())["skipped"]["pca"]
    monkeypatch.setattr(_units, "_piece", lambda *_: pytest.fail("made twice"))
    monkeypatch.setattr(_control_units, "_sample", lambda *_: pytest.fail("made twice"))
    again = patterns_into(tmp_path / "out", mini, data, tmp_path / "bank")
    assert [(r.metric, r.n) for r in again.scores] == [(r.metric, r.n) for r in made.scores]


def test_cells_cover_a_region_as_its_mask_does() -> None:
    mini = whyray.load_model("mini")
    case = next(c for c in load_dataset("phantom#test").cases() if any(r.kind == "finding" for r in c.regions()))
    frame = mini.prepare(case.radiograph())
    cells = inside_cells(case.regions(), frame, (14, 14))
    assert cells and cells.keys() == {r.finding for r in case.regions() if r.kind == "finding"}
    for finding, inside in cells.items():
        mask = np.logical_or.reduce([r.mask for r in case.regions() if r.finding == finding])
        assert inside.mean() == pytest.approx(mask.mean(), abs=0.01)


def test_independent_components_are_those_of_the_tokens_themselves(
    with_artefacts: Callable[[whyray.Classifier], Context], tmp_path: Path
) -> None:
    """Their sources are white over the very tokens they were found in, and the units are both signs of them."""
    mini = whyray.load_model("mini")
    bank = with_artefacts(mini).artefact("patterns", mini.fingerprint)  # type: ignore[misc]
    cases = list(load_dataset("phantom:val=6").cases("val"))
    one, found = _control_units.independent(mini, bank, cases, Store(tmp_path), 0)
    tokens = _control_units._sample(mini, bank.site, cases, 0)
    assert tokens.shape == (6 * 196, 392)
    sources = found.project(tokens).astype(np.float64)
    np.testing.assert_allclose(sources.T @ sources / len(sources), np.eye(64), atol=1e-2)
    maps = one.maps(tokens[:196])
    np.testing.assert_allclose(maps, np.concatenate([sources[:196].T, -sources[:196].T]), atol=1e-5)
    assert one.names[64] == "component 0 -" and len(one.names) == 128
    again, _ = _control_units.independent(mini, bank, cases[:5], Store(tmp_path), 0)
    assert again.key != one.key


def test_the_generic_embedding_is_the_latent_and_never_one_that_the_classifier_taught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from whyray.models import _autoencoders

    mini = whyray.load_model("mini")
    one, made = _control_units.generic(mini), _autoencoders.autoencoder_for(mini)
    frame = mini.prepare(whyray.load_image(Path(__file__).parents[2] / "examples/phantom.png"))
    read = one.tokens(torch.from_numpy(frame.pixels[None]))[0]
    grey = _autoencoders.to_grey(torch.from_numpy(frame.pixels[None]), mini.card.preparation)
    z = made.encode(grey)[0].numpy()
    assert one.site.grid == z.shape[1:] == (7, 7) and read.shape == (1, 49, 128)
    np.testing.assert_allclose(one.maps(read[0]).reshape(256, 7, 7), np.concatenate([z, -z]), atol=1e-5)
    facts = {"provenance": {"plan": {"features": 1.0}}}
    monkeypatch.setattr(_autoencoders, "autoencoder_for", lambda *_: dataclasses.replace(made, facts=facts))
    with pytest.raises(UnmetNeed, match="more than grey values"):
        _control_units.generic(mini)


@pytest.fixture
def small(with_artefacts: Callable[[whyray.Classifier], Context]) -> tuple[whyray.Classifier, PatternBank]:
    mini = whyray.load_model("mini")
    context = with_artefacts(mini)
    assert context.artefact is not None
    return mini, context.artefact("patterns", mini.fingerprint)


def named_alike(seed: int, marked: bool = False, n: int = 2) -> list[Case]:
    def read(i: int) -> Radiograph:
        return Radiograph(np.random.default_rng([seed, i]).random((64, 64)).astype(np.float32))

    mask = np.zeros((64, 64), bool)
    mask[: 32 if marked else 16] = True
    region = Region("edema", (0, 0, 64, 32), mask)
    return [Case(str(i), partial(read, i), open_regions=lambda: (region,)) for i in range(n)]


def test_strengths_are_those_of_the_pictures_regions_and_site_that_are_asked_for(
    small: tuple[whyray.Classifier, PatternBank], tmp_path: Path
) -> None:
    """Out of a store that others with the same names have filled comes what an empty one gives."""
    mini, bank = small
    elsewhere = replace(bank, site=site_of(mini, "embedding"), basis=None)
    turned = replace(bank, encoder_bias=bank.encoder_bias + 1)
    runs = [
        ("patterns", bank, named_alike(1)),
        ("patterns", bank, named_alike(2)),
        ("patterns", bank, named_alike(2, marked=True)),
        ("patterns", turned, named_alike(2)),
        ("neurons", bank, named_alike(2)),
        ("neurons", elsewhere, named_alike(2)),
    ]

    def measured(number: int, store: Store) -> dict[str, np.ndarray]:
        name, of, cases = runs[number]
        one = next(r for r in _units.representations(mini, of, cases, {}, 0) if r.name == name)
        made = _units.measure([one], of, cases, store, lambda *_: None)[name]
        return {**made.strengths, **made.sums}

    for number in range(len(runs)):
        filled, empty = measured(number, Store(tmp_path / "all")), measured(number, Store(tmp_path / str(number)))
        np.testing.assert_equal(filled, empty)


def test_a_damaged_cell_never_shifts_rows_against_cases(
    small: tuple[whyray.Classifier, PatternBank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini, bank = small
    monkeypatch.setattr(_units, "PIECE", 2)
    cases, store, real = named_alike(1, n=6), Store(tmp_path), _units.run
    one = next(_units.representations(mini, bank, cases, {}, 0))

    def strengths() -> np.ndarray:
        made = _units.measure([one], bank, cases, store, lambda *_: None)["patterns"]
        return np.stack([made.strengths[reading] for reading in _units.READINGS])

    whole = strengths()

    def damaging(groups: list[list[Cell]], *given: Any, **more: Any) -> Ran:
        ran = real(groups, *given, **more)
        store.path(groups[1][0].key).write_bytes(b"torn")
        return ran

    monkeypatch.setattr(_units, "run", damaging)
    with pytest.raises(DataError, match="damaged while it ran; run again"):
        strengths()
    monkeypatch.setattr(_units, "run", real)
    np.testing.assert_array_equal(strengths(), whole)


def test_a_unit_is_read_as_told_the_finding_best_on_validation(small: tuple[whyray.Classifier, PatternBank]) -> None:
    """Wide and faint against small and bright: the mean tells one, the strongest cell the other, and the test pictures
    have no say."""
    mini, bank = small
    labels = [1.0, 1.0, 0.0, 0.0]
    cases = [Case(str(i), lambda: Radiograph(np.zeros((32, 32))), {"edema": y}) for i, y in enumerate(labels)]
    told = np.array([[3.0], [2.0], [1.0], [0.0]], np.float32)
    untold = 3 - told
    one = next(_units.representations(mini, bank, cases, {}, 0))
    for best in _units.READINGS:
        mass = {"mass:edema": np.ones((4, 1), np.float32)}
        val = _units.Measured({r: told if r == best else untold for r in _units.READINGS}, mass)
        test = _units.Measured(
            {r: untold if r == best else told for r in _units.READINGS}, {"mass:edema": np.ones((4, 1))}
        )
        rows = planted_rows(one, {"val": val, "test": test}, {"val": cases, "test": cases}, 0)
        auc = next(r for r in rows if r.metric == "planted_auc" and r.slice is None)
        assert auc.value == 0 and f"{one.names[0]}, {best}, " in str(auc.note)


def test_of_units_that_tell_a_finding_alike_the_one_that_lies_on_it_is_taken() -> None:
    aucs = dict(zip(_units.READINGS, np.array([[0.95, 0.945, 0.93, np.nan], [0.5, 0.948, 0.6, np.nan]]), strict=True))
    mass = np.array([[1.0, 3.0, 9.0, np.nan], [np.nan] * 4, [2.0, 5.0, 9.0, np.nan]], np.float32)
    assert _chosen(aucs, mass) == (
        "mean of cells",
        1,
    )  # not the third, which is less sure; of equal maps the surer reading
    assert _chosen(aucs, mass * np.nan) == ("strongest cell", 0)  # nothing is marked: the surest


def test_a_picture_is_read_by_its_strongest_cell_and_by_the_mean_of_its_cells(
    small: tuple[whyray.Classifier, PatternBank], tmp_path: Path
) -> None:
    mini, bank = small
    cases = named_alike(1)
    one = next(_units.representations(mini, bank, cases, {}, 0))
    made = _units.measure([one], bank, cases, Store(tmp_path), lambda *_: None)["patterns"]
    frames = [mini.prepare(c.radiograph()).pixels for c in cases]
    maps = np.stack([one.maps(t) for t in one.tokens(torch.from_numpy(np.stack(frames)))[0]])
    np.testing.assert_allclose(made.strengths["strongest cell"], maps.max(2), rtol=1e-6)
    np.testing.assert_allclose(made.strengths["mean of cells"], maps.mean(2), rtol=1e-5)


def test_channels_that_go_below_zero_are_units_of_either_sign() -> None:
    """Where no ReLU has the last word, a channel that is low on a finding tells it as well as one that is high."""
    torch.manual_seed(0)
    inputs = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
    for last, names in ((nn.Identity(), 6), (nn.ReLU(), 3)):
        body = nn.Sequential(nn.Conv2d(1, 3, 8, 8), last)
        module = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
        model = whyray.wrap(module.eval(), findings=["edema"], size=32)
        one = _units._neurons("neurons", model, site_of(model), inputs)
        read = one.tokens(torch.from_numpy(inputs))[0][0]
        assert one.maps(read).shape == (names, 16) and len(one.names) == names
        assert (one.key == "neurons") == (names == 3)


def test_a_case_is_opened_once_for_all_representations(
    small: tuple[whyray.Classifier, PatternBank], tmp_path: Path
) -> None:
    mini, bank = small
    opened: list[str] = []

    class Counted:
        def __init__(self, what: str, real: Any) -> None:
            self.what, self.real, self.source = what, real, real.source

        def __call__(self) -> Any:
            opened.append(self.what)
            return self.real()

    plain = load_dataset("phantom:val=3").cases("val")
    cases = [
        replace(c, open=Counted(f"picture {c.id}", c.open), open_regions=Counted(f"regions {c.id}", c.open_regions))
        for c in plain
    ]
    ones = list(_units.representations(mini, bank, plain, {}, 0))
    made = _units.measure(ones, bank, cases, Store(tmp_path), lambda *_: None)
    assert made.keys() == {one.name for one in ones} and len(ones) >= 3
    assert sorted(opened) == sorted(f"{what} {c.id}" for what in ("picture", "regions") for c in plain)


def test_a_bank_that_reads_tokens_as_they_are_gets_as_many_components_as_they_vary_in(
    with_artefacts: Callable[[whyray.Classifier], Context], tmp_path: Path
) -> None:
    mini = whyray.load_model("mini")
    context = with_artefacts(mini)
    assert context.artefact is not None
    bank: PatternBank = context.artefact("patterns", mini.fingerprint)
    width = bank.site.d_in
    whole = replace(bank, basis=Basis(np.zeros(width, np.float32), np.eye(width, dtype=np.float32)))
    cases = load_dataset("phantom:val=4").cases("val")
    one, found = _control_units.independent(mini, whole, cases, Store(tmp_path), seed=0)
    assert found.rows.shape == (_control_units.COMPONENTS, width) and len(one.names) == 2 * len(found.rows)
