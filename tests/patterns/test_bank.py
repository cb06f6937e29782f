"""The bank against its members one by one, and through its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from banks import CELLS, MEMBERS, WIDTH, bank, basis, members, tokens

from whyray.errors import FingerprintError, UnknownName, WeightsError
from whyray.patterns.bank import load_bank, save_bank
from whyray.patterns.members import codes


@pytest.mark.parametrize(("kind", "k"), [("topk", 3), ("matryoshka", 1), ("jumprelu", 3), ("topk", WIDTH)])
def test_codes_are_those_of_the_members(kind: str, k: int) -> None:
    image = tokens(1)[0]
    wanted = [codes(m, basis().project(image)).toarray() for m in members(kind, k)]
    np.testing.assert_allclose(bank(kind, k).codes(image).toarray(), np.concatenate(wanted, axis=1), atol=1e-6)


def test_a_pattern_is_the_mean_over_members_of_the_sum_of_its_latents() -> None:
    made, images = bank(), tokens(3)
    maps = made.maps(images)
    assert maps.shape == (3, 5, CELLS)
    for i, image in enumerate(images):
        active = made.codes(image).toarray()
        for p in range(5):
            np.testing.assert_allclose(maps[i, p], active[:, made.cluster == p].sum(axis=1) / MEMBERS, atol=1e-5)
    np.testing.assert_array_equal(made.activations(images), maps.max(axis=2))


def test_a_bank_comes_back_from_its_file(tmp_path: Path) -> None:
    made = bank("jumprelu")
    save_bank(tmp_path, made)
    owner = SimpleNamespace(fingerprint=made.fingerprint)
    again = load_bank(tmp_path, owner)  # type: ignore[arg-type]
    np.testing.assert_array_equal(again.cluster, made.cluster)
    np.testing.assert_allclose(again.encoder, made.encoder, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(again.site.weights, made.site.weights)
    assert again.patterns[2].id == "p0002" and np.isnan(again.patterns[2].density)
    assert (again.kind, again.k, again.members, again.width) == ("jumprelu", 3, MEMBERS, WIDTH)
    with pytest.raises(FingerprintError):
        load_bank(tmp_path, SimpleNamespace(fingerprint="0" * 64))  # type: ignore[arg-type]
    with pytest.raises(WeightsError):
        load_bank(tmp_path / "none", owner)  # type: ignore[arg-type]


def test_a_bank_is_known_by_what_it_computes_not_by_its_names(tmp_path: Path) -> None:
    made = bank("jumprelu")
    save_bank(tmp_path, made)
    kept = load_bank(tmp_path, SimpleNamespace(fingerprint=made.fingerprint))  # type: ignore[arg-type]
    save_bank(tmp_path, replace(kept, patterns=tuple(replace(p, name="rim") for p in kept.patterns)))
    named = load_bank(tmp_path, SimpleNamespace(fingerprint=made.fingerprint))  # type: ignore[arg-type]
    assert named.patterns[0].name and named.sha256 == kept.sha256
    assert made.threshold is not None and made.basis is not None
    others = [
        replace(made, cluster=np.roll(made.cluster, 1)),
        replace(made, encoder_bias=made.encoder_bias + 1),
        replace(made, threshold=made.threshold + 1),
        replace(made, basis=replace(made.basis, mean=made.basis.mean + 1)),
        replace(made, site=replace(made.site, tap_in="embedding")),
        replace(made, k=2),
    ]
    assert len({made.sha256, *(other.sha256 for other in others)}) == 7


def test_an_unknown_pattern_says_which_are_near() -> None:
    assert bank().index("p0003") == 3
    with pytest.raises(UnknownName, match="did you mean p000"):
        bank().index("p00003")
