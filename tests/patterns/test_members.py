"""An ensemble on disk, and codes against the formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whyray.errors import WeightsError
from whyray.patterns.members import Member, codes, load_members, write_ensemble, write_member
from whyray.patterns.site import Basis, Site


def member(seed: int, *, threshold: bool = False) -> Member:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    decoder = draw(12, 5)
    decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    limit = np.abs(draw(12)) if threshold else None
    return Member(draw(12, 4), draw(12), decoder, draw(5), 3, "jumprelu" if threshold else "topk", limit)


def slow(one: Member, token: np.ndarray) -> np.ndarray:
    """The largest k that are above 0, or those above their thresholds."""
    before = one.encoder @ token + one.encoder_bias
    if one.threshold is not None:
        return np.where(before > one.threshold, before, 0)
    kept = sorted(range(len(before)), key=lambda i: -before[i])[: one.k]
    return np.array([v if i in kept and v > 0 else 0 for i, v in enumerate(before)])


@pytest.mark.parametrize("threshold", [False, True])
def test_codes_equal_the_formula(threshold: bool) -> None:
    one = member(1, threshold=threshold)
    tokens = np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32)
    found = codes(one, tokens)
    np.testing.assert_allclose(found.toarray(), [slow(one, t) for t in tokens], atol=1e-6)
    assert (found.data > 0).all()


@pytest.fixture
def ensemble(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    site = Site("features", "features", (2, 2), 5, 5, rng.normal(size=(2, 5)), rng.normal(size=2))
    basis = Basis(np.zeros(5, np.float32), np.eye(4, 5, dtype=np.float32))
    made = [{"sha256": write_member(tmp_path, i, member(i)), "results": {"dead": 0.0}} for i in range(3)]
    plan = {"kind": "topk", "k": 3}
    return write_ensemble(tmp_path, fingerprint="f", site=site, basis=basis, plan=plan, members=made)


def test_members_come_back_as_they_were(ensemble: Path) -> None:
    found = load_members(ensemble)
    assert (len(found), found.site.grid, found.basis.rows.shape, found.results[2]) == (3, (2, 2), (4, 5), {"dead": 0.0})
    for i, one in enumerate(found):
        for name in ("encoder", "encoder_bias", "decoder", "decoder_bias"):
            np.testing.assert_array_equal(getattr(one, name), getattr(member(i), name))
    assert len(found[1:]) == 2 and found[-1].k == 3


def test_a_damaged_member_and_no_ensemble_are_refused(ensemble: Path, tmp_path: Path) -> None:
    path = ensemble / "member-001.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    found = load_members(ensemble)
    assert found[0].width == 12
    with pytest.raises(WeightsError, match="sha256"):
        found[1]
    with pytest.raises(WeightsError, match="train one"):
        load_members(tmp_path / "nothing")
